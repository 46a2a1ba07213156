// Hard pictures, kept on the device when the user agrees: where the device was unsure, or differs from the server.
// They leave it as a zip file, or to the server's folder for what has no label yet.

import { zipSync } from "fflate";
import type { Answer } from "./answers";
import { hexadecimal, sha256 } from "./documents";
import { forKeeping } from "./pictures";
import { failureOf, ServerFailure } from "./server";
import { picturesTable } from "./storage";

export type Why = "disagreement" | "low confidence";

const MOST = 200; // pictures; the oldest make room

export interface KeptPicture {
  name: string; // sha256 of its bytes, with its ending: the same picture is kept once
  kept: string; // UTC, ISO 8601
  why: Why[];
  device: Opinion | null;
  cloud: Opinion | null;
  data: ArrayBuffer;
}

type Opinion = Pick<Answer, "model" | "label" | "confidence">;

const table = picturesTable<KeptPicture>();

/** Keeps a picture. What the server said of it before stays, when it was not asked this time. */
export async function keep(picture: Blob, why: Why[], device: Answer | null, server: Answer | null): Promise<void> {
  const image = await forKeeping(picture);
  const data = await image.arrayBuffer();
  const name = `${hexadecimal(await sha256(new Uint8Array(data)))}.${image.type === "image/png" ? "png" : "jpg"}`;
  const before = await table.get(name);
  const opinions = {
    why: [...new Set([...(before?.why ?? []), ...why])].sort(),
    device: device ? opinion(device) : (before?.device ?? null),
    cloud: server ? opinion(server) : (before?.cloud ?? null),
  };
  await table.put({ [name]: { name, kept: new Date().toISOString(), ...opinions, data } });
  const all = await list();
  for (const old of all.slice(MOST)) await table.delete(old.name);
}

/** Returns what was kept, newest first. */
export async function list(): Promise<KeptPicture[]> {
  return (await table.all()).sort((one, other) => other.kept.localeCompare(one.kept));
}

export async function forget(name: string): Promise<void> {
  await table.delete(name);
}

/** Returns a zip file: unlabelled/NAME.jpg, and what both models said of it in NAME.json beside it. */
export function zip(pictures: KeptPicture[]): Blob {
  const files: Record<string, Uint8Array> = {};
  for (const picture of pictures) {
    files[`unlabelled/${picture.name}`] = new Uint8Array(picture.data);
    files[`unlabelled/${noteName(picture)}`] = new TextEncoder().encode(note(picture));
  }
  return new Blob([zipSync(files, { level: 0 }) as Uint8Array<ArrayBuffer>], { type: "application/zip" });
}

/**
 * Sends pictures to a server's folder, by PUT, each before its note; forgets those that arrived, returns how many.
 * One that the server refuses for what it is holds up no other; rejects with the first failure.
 */
export async function upload(pictures: KeptPicture[], folder: string): Promise<number> {
  const place = folder.replace(/\/$/, "");
  let refused: ServerFailure | null = null;
  for (const picture of pictures) {
    try {
      await put(`${place}/${picture.name}`, picture.name.endsWith("png") ? "image/png" : "image/jpeg", picture.data);
      await put(`${place}/${noteName(picture)}`, "application/json", note(picture));
      await table.delete(picture.name);
    } catch (error) {
      if (!(error instanceof ServerFailure) || error.rests) throw error;
      refused ??= error;
    }
  }
  if (refused) throw refused;
  return pictures.length;
}

async function put(address: string, type: string, body: BodyInit): Promise<void> {
  const response = await fetch(address, { method: "PUT", headers: { "Content-Type": type }, body });
  if (!response.ok) throw failureOf(response.status, await response.text());
}

function noteName(picture: KeptPicture): string {
  return picture.name.replace(/\.\w+$/, ".json");
}

function note({ kept, why, device, cloud }: KeptPicture): string {
  return `${JSON.stringify({ why, device, cloud, kept }, null, 1)}\n`;
}

function opinion({ model, label, confidence }: Answer): Opinion {
  return { label, confidence: Math.round(confidence * 1e4) / 1e4, model };
}

// The signed manifest of a model and the signed pointer of a channel, and what must hold before either is followed.
// The same rules in Python, which also signs: pipeline/serving/device_manifest.py.

import * as ed25519 from "@noble/ed25519";
import type { InputSpec } from "./input";

/** A document or a model that must not be acted on: the page keeps the model that it has. */
export class Refused extends Error {}

/** A device model: what it is made of, and what an app has to do with it. Never changes. */
export interface Manifest {
  model: string; // name of the task
  tag: string; // release that it belongs to, such as model-3
  created: string;
  file: string; // name beside the manifest
  bytes: number;
  sha256: string;
  labels: string[]; // in the order of the model's probabilities
  input: InputSpec;
  quantization: string;
  metrics: { accuracy: number; images: number };
  escalation_threshold: number | null; // confidence below which the server is asked; null: never
  minimum_app_version: string; // "" for any
}

/** A channel: the release that its devices are to have. Replaced by one with a larger serial. */
export interface Pointer {
  model: string;
  channel: string;
  serial: number;
  issued: string;
  expires: string;
  tag: string;
  percent: number; // of devices that get `tag`
  previous: string | null; // release that the others get; null: they keep what they have
}

const LARGEST_DOCUMENT = 4 << 20; // bytes
const FORMAT = 1;
const TAIL = /^,\n "signature": "([A-Za-z0-9+/]{86}==)"\n\}\n$/;
const TAIL_BYTES = ',\n "signature": ""\n}\n'.length + 88;
const NAME = /^[\w-][\w.-]*$/; // a tag or a file: one part of an address, and no way out of its folder

/** Returns the pointer of a channel. Rejects with Refused unless a device may act on it. */
export async function readPointer(
  content: Uint8Array<ArrayBuffer>,
  publicKey: string,
  expected: { model: string; channel: string; lastSerial: number; now: number },
): Promise<Pointer> {
  const pointer = (await read(content, publicKey, "spanloop-device-channel")) as unknown as Pointer;
  if (pointer.model !== expected.model || pointer.channel !== expected.channel) {
    throw new Refused(
      `it is channel ${pointer.channel} of ${pointer.model}, not ${expected.channel} of ${expected.model}`,
    );
  }
  if (!(pointer.serial >= expected.lastSerial)) {
    throw new Refused(`its serial is ${pointer.serial}, older than ${expected.lastSerial}, which was accepted before`);
  }
  if (!(Date.parse(pointer.expires) > expected.now)) throw new Refused(`it expired at ${pointer.expires}`);
  if (![pointer.tag, pointer.previous ?? "none"].every((tag) => NAME.test(tag)) || !Number.isFinite(pointer.percent)) {
    throw new Refused("it names no release");
  }
  return pointer;
}

/** Returns the manifest of a release. Rejects with Refused unless a device may act on it. */
export async function readManifest(
  content: Uint8Array<ArrayBuffer>,
  publicKey: string,
  expected: { model: string; tag: string; appVersion: string },
): Promise<Manifest> {
  const manifest = (await read(content, publicKey, "spanloop-device-manifest")) as unknown as Manifest;
  if (manifest.model !== expected.model || manifest.tag !== expected.tag) {
    throw new Refused(`it is of ${manifest.tag} of ${manifest.model}, not of ${expected.tag} of ${expected.model}`);
  }
  if (isOlder(expected.appVersion, manifest.minimum_app_version)) {
    throw new Refused(`${manifest.tag} is for pages from version ${manifest.minimum_app_version} on`);
  }
  const { dtype, range, resize } = manifest.input;
  if (dtype !== "float32" || resize !== "bilinear-antialias" || range[0] !== 0 || range[1] !== 1) {
    throw new Refused(`${manifest.tag} takes an input that this page cannot make`);
  }
  if (!NAME.test(manifest.file)) throw new Refused(`${manifest.tag} has no file beside its manifest`);
  return manifest;
}

/** Rejects with Refused unless `data` are the bytes of the model that the manifest describes. */
export async function checkModel(manifest: Manifest, data: Uint8Array<ArrayBuffer>): Promise<void> {
  if (data.length !== manifest.bytes || hexadecimal(await sha256(data)) !== manifest.sha256) {
    throw new Refused(`the file of ${manifest.tag} is not the one that its manifest describes`);
  }
}

/** Returns the release that a device is to have; null: it keeps what it has. */
export async function tagFor(pointer: Pointer, device: string): Promise<string | null> {
  return (await position(device, pointer.tag)) < pointer.percent ? pointer.tag : pointer.previous;
}

/** Returns a device's position in the rollout of a release, evenly distributed in [0, 100). */
export async function position(device: string, tag: string): Promise<number> {
  const digest = await sha256(utf8(`${device}\n${tag}`));
  return (new DataView(digest.buffer).getUint32(0) * 100) / 2 ** 32;
}

/** Returns the SHA-256 of bytes: 32 bytes. */
export async function sha256(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

export function hexadecimal(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the fields of a document that the key has signed. Nothing of it is read before the signature is checked. */
async function read(content: Uint8Array<ArrayBuffer>, publicKey: string, kind: string) {
  const signed = content.subarray(0, -TAIL_BYTES);
  const tail = TAIL.exec(String.fromCharCode(...content.subarray(-TAIL_BYTES)));
  if (content.length > LARGEST_DOCUMENT || !tail?.[1] || signed[0] !== "{".charCodeAt(0)) {
    throw new Refused("it has no signature");
  }
  const message = utf8(`spanloop ${hexadecimal(await sha256(signed))}`);
  if (!(await isSigned(message, fromBase64(tail[1]), fromBase64(publicKey)))) {
    throw new Refused("it was altered, or signed with another key");
  }
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(`${new TextDecoder().decode(signed)}\n}`);
  } catch (error) {
    throw new Refused(`it cannot be read (${error})`);
  }
  if (fields.kind !== kind || fields.format !== FORMAT) {
    throw new Refused(`it is ${fields.kind}, format ${fields.format}, not ${kind}`);
  }
  return fields;
}

/** Checks an Ed25519 signature by WebCrypto, or in JavaScript where a browser lacks it (Chrome before 137). */
async function isSigned(message: Bytes, signature: Bytes, publicKey: Bytes): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    if ((error as Error).name !== "NotSupportedError") throw error;
    return await ed25519.verifyAsync(signature, message, publicKey);
  }
}

/** True when a version, such as 2.1.0, comes before another one; "2.1" and "2.1.0" are the same. */
function isOlder(version: string, minimum: string): boolean {
  const [given, needed] = [version, minimum].map((text) => text.split(".").filter((part) => /^\d+$/.test(part)));
  for (let place = 0; place < Math.max(given?.length ?? 0, needed?.length ?? 0); place++) {
    const difference = Number(given?.[place] ?? 0) - Number(needed?.[place] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

type Bytes = Uint8Array<ArrayBuffer>;

function utf8(text: string): Bytes {
  return new TextEncoder().encode(text) as Bytes;
}

function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

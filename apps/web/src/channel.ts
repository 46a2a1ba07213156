// The channel that the page follows: installs the model that the signed pointer names, and keeps the one that it has
// whenever anything about the new one is wrong. The rules: docs/devices.md, "What an app must check".

import type { Config } from "./config";
import { DeviceModel } from "./device";
import { checkModel, type Manifest, Refused, readManifest, readPointer, tagFor } from "./documents";
import { modelsTable } from "./storage";

/** What is kept of a channel. The bytes of the model lie beside it, and are written in the same transaction. */
interface Installed {
  device: string; // random text that decides on this device's place in rollouts
  serial: number; // the largest that was accepted
  manifest: Manifest | null;
}

/** What a look at the channel came to. */
export type Look =
  | { kind: "unchanged"; tag: string | null }
  | { kind: "installed"; tag: string }
  | { kind: "refused"; why: string } // the channel or the model
  | { kind: "unreachable"; why: string };

const PATIENCE = { document: 10_000, model: 120_000 }; // milliseconds

export class Channel {
  model: DeviceModel | null = null;
  private readonly address: URL;
  private readonly name: string; // such as stable
  private readonly tabs: BroadcastChannel;
  private readonly records = modelsTable<Installed>();

  /** `onModel` is called with each model that takes the place of another. */
  constructor(
    address: string,
    private readonly task: string,
    private readonly publicKey: string,
    private readonly onModel: (model: DeviceModel) => void,
  ) {
    this.address = new URL(address, document.baseURI);
    this.name = /([^/]+)\.json$/.exec(this.address.pathname)?.[1] ?? "";
    this.tabs = new BroadcastChannel(`spanloop ${this.address.href}`);
    this.tabs.onmessage = () => this.restore().catch(console.warn);
  }

  /** Returns the channel that a configuration names; null when it names none. */
  static of(config: Config, onModel: (model: DeviceModel) => void): Channel | null {
    const { channel, task, publicKey } = config;
    return channel && task && publicKey ? new Channel(channel, task, publicKey, onModel) : null;
  }

  /** Looks at the channel and installs what it names; one tab at a time. Never leaves the page with less than it had. */
  async look(): Promise<Look> {
    return await this.locked(async () => {
      try {
        return await this.follow(await this.installed());
      } catch (error) {
        const why = (error as Error).message ?? String(error);
        return { kind: error instanceof Refused ? "refused" : "unreachable", why };
      }
    });
  }

  private async follow(before: Installed): Promise<Look> {
    const pointer = await this.read("the channel", this.address, (content) =>
      readPointer(content, this.publicKey, {
        model: this.task,
        channel: this.name,
        lastSerial: before.serial,
        now: Date.now(),
      }),
    );
    const tag = await tagFor(pointer, before.device);
    await this.restore().catch(() => undefined); // what is installed and does not run is downloaded again
    if (tag === null || tag === this.model?.manifest.tag) {
      if (pointer.serial !== before.serial) await this.keep({ ...before, serial: pointer.serial });
      return { kind: "unchanged", tag: this.model?.manifest.tag ?? null };
    }
    const home = new URL(`../${tag}/manifest.json`, this.address);
    const manifest = await this.read(`the manifest of ${tag}`, home, (content) =>
      readManifest(content, this.publicKey, { model: this.task, tag, appVersion: APP_VERSION }),
    );
    const data = await download(new URL(manifest.file, home), PATIENCE.model, manifest.bytes);
    await checkModel(manifest, data);
    const model = await this.tried(manifest, data);
    await this.keep({ ...before, serial: pointer.serial, manifest }, data);
    this.use(model);
    this.tabs.postMessage(tag);
    return { kind: "installed", tag };
  }

  /** Loads a model that was not run here before. If it stops the runtime, the one before is loaded again. */
  private async tried(manifest: Manifest, data: Uint8Array): Promise<DeviceModel> {
    try {
      return await DeviceModel.load(manifest, data);
    } catch (error) {
      if (this.model && !(await this.model.isAlive())) {
        this.model = null;
        await this.restore();
      }
      throw error;
    }
  }

  /** Uses what is installed, which another tab may have changed. Waits for no other tab. */
  async restore(): Promise<void> {
    const manifest = (await this.records.get(this.address.href))?.manifest;
    if (!manifest || manifest.tag === this.model?.manifest.tag) return;
    const [installed, data] = await modelsTable<unknown>().beginning(this.address.href); // of one moment
    this.use(await DeviceModel.load((installed as Installed).manifest as Manifest, data as Uint8Array));
  }

  private use(model: DeviceModel): void {
    this.model?.delete();
    this.model = model;
    this.onModel(model);
  }

  /** Returns what is installed. Called by one tab at a time, because the first call makes the record. */
  private async installed(): Promise<Installed> {
    const found = await this.records.get(this.address.href);
    if (found) return found;
    const first = { device: crypto.randomUUID(), serial: 0, manifest: null };
    await this.keep(first);
    return first;
  }

  private async keep(installed: Installed, data?: Uint8Array): Promise<void> {
    const record = { [this.address.href]: installed };
    await modelsTable<Installed | Uint8Array>().put(data ? { ...record, [`${this.address.href} data`]: data } : record);
  }

  private async read<Document>(
    what: string,
    address: URL,
    parse: (content: Uint8Array<ArrayBuffer>) => Promise<Document>,
  ): Promise<Document> {
    const content = await download(address, PATIENCE.document);
    try {
      return await parse(content);
    } catch (error) {
      throw error instanceof Refused ? new Refused(`${what} is refused: ${error.message}`) : error;
    }
  }

  private locked<Result>(run: () => Promise<Result>): Promise<Result> {
    return navigator.locks.request(`spanloop ${this.address.href}`, run) as Promise<Result>;
  }
}

/** Downloads a file, and no more than `most` bytes of it. */
async function download(address: URL, patience: number, most = 4 << 20): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (!response.ok) throw new Error(`${address.pathname}: HTTP ${response.status}`);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    length += part.value.length;
    if (length > most) {
      await reader?.cancel();
      throw new Refused(`the file ${address.pathname} is larger than ${most.toLocaleString("en")} bytes`);
    }
    parts.push(part.value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

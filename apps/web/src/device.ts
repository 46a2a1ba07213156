// The device model, run by LiteRT.js: WebAssembly on one thread. https://ai.google.dev/edge/litert/web

import { type CompiledModel, loadAndCompile, loadLiteRt, supportsFeature, Tensor, unloadLiteRt } from "@litertjs/core";
import type { Answer } from "./answers";
import { type Manifest, Refused } from "./documents";
import { pixels } from "./input";

/** The address of the runtime that this browser can run: `compat` is for those without relaxed SIMD. */
export async function runtimeScript(): Promise<string> {
  return `${LITERT}/litert_wasm${(await supportsFeature("relaxedSimd")) ? "" : "_compat"}_internal.js`;
}

let runtime: Promise<unknown> | undefined;

function startRuntime(): Promise<unknown> {
  runtime ??= runtimeScript()
    .then((script) => loadLiteRt(script))
    .catch((error) => {
      runtime = undefined; // a network that was cut: the next model tries again
      throw error;
    });
  return runtime;
}

/** Throws the runtime away, after a model that made it stop. Models that it had loaded are gone. */
function stopRuntime(): void {
  runtime = undefined;
  try {
    unloadLiteRt();
  } catch {
    // what has stopped cannot free its memory either
  }
}

/** A device model, compiled and warm. */
export class DeviceModel {
  private running: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly manifest: Manifest,
    private readonly network: CompiledModel,
  ) {}

  /** Compiles a model and runs it once. Rejects with Refused for one that does not give what its manifest says. */
  static async load(manifest: Manifest, data: Uint8Array): Promise<DeviceModel> {
    await startRuntime();
    let model: DeviceModel | undefined;
    try {
      model = new DeviceModel(manifest, await loadAndCompile(data, { accelerator: "wasm" }));
      const probabilities = await model.run(model.blank());
      if (probabilities.length !== manifest.labels.length || !probabilities.every(Number.isFinite)) {
        throw new Error(`it gives ${probabilities.length} numbers for ${manifest.labels.length} labels`);
      }
      return model;
    } catch (error) {
      model?.delete();
      throw new Refused(`the model of ${manifest.tag} does not run here: ${(error as Error).message ?? error}`);
    }
  }

  /** Classifies a picture. Rejects when it cannot be decoded. */
  async classify(picture: Blob): Promise<Answer> {
    const start = performance.now();
    const outputs = await this.run(await pixels(picture, this.manifest.input));
    const probabilities = outputs.map((share) => (Number.isFinite(share) ? share : 0)); // so that the server is asked
    const best = probabilities.indexOf(Math.max(...probabilities));
    return {
      by: "device",
      model: this.manifest.tag,
      label: this.manifest.labels[best] ?? "",
      confidence: probabilities[best] ?? 0,
      probabilities: this.manifest.labels.map((label, number) => [label, probabilities[number] ?? 0]),
      milliseconds: performance.now() - start,
    };
  }

  /** True when the model still runs, which it does not when another one made the runtime stop. */
  async isAlive(): Promise<boolean> {
    return await this.run(this.blank()).then(
      () => true,
      () => {
        stopRuntime();
        return false;
      },
    );
  }

  private blank(): Float32Array {
    return new Float32Array(this.manifest.input.shape.reduce((product, side) => product * side, 1));
  }

  /** Frees the model's memory once what runs has ended. */
  delete(): void {
    this.running = this.running.then(() => this.network.delete()).catch(() => undefined);
  }

  /** Runs the network on float32 of the manifest's shape, one call after the other; returns its probabilities. */
  private run(input: Float32Array): Promise<number[]> {
    const result = this.running.then(async () => {
      const tensor = new Tensor(input, this.manifest.input.shape);
      const outputs = await this.network.run(tensor).finally(() => tensor.delete());
      try {
        return Array.from((outputs[0] as Tensor).toTypedArray() as Float32Array);
      } finally {
        for (const output of outputs) output.delete();
      }
    });
    this.running = result.catch(() => undefined);
    return result;
  }
}

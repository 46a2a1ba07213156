// The server's model, asked by the :predict protocol of Vertex AI and TensorFlow Serving.

import type { Answer } from "./answers";
import { forServer } from "./pictures";

export type FailureKind = "none" | "offline" | "slow" | "busy" | "broken" | "refused";

/** Why the server has not answered. */
export class ServerFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
    readonly retryAfter = 0, // milliseconds that the server asked for
  ) {
    super(message);
  }

  /** True when the next picture would fare no better. */
  get rests(): boolean {
    return this.kind !== "refused";
  }
}

/** What a model answers for an image: modules/classification/model.py, signature serving_default. */
interface Prediction {
  label: string;
  confidence: number;
  probabilities?: number[];
  all_classes?: string[];
}

const OF_THE_PICTURE = new Set([400, 413, 415, 422]); // refusals that say nothing about the next picture
const REST = { first: 1000, longest: 60_000 }; // milliseconds after a failure, doubled with each further one

/** The server. After a failure it is left alone for a while, so that the device answers at its own speed. */
export class Server {
  private rest = REST.first;
  private until = 0; // by performance.now()
  private why: ServerFailure | null = null;

  constructor(private readonly address: string) {}

  /**
   * Asks for one picture, in `budget` milliseconds. A server that is busy is asked once more when it says so in time.
   * With `insist` it is asked although it failed a moment ago, but not before a busy one says so.
   * Calls `onSent` with the bytes of each request. Rejects with ServerFailure.
   */
  async predict(picture: Blob, budget: number, insist: boolean, onSent: (bytes: number) => void): Promise<Answer> {
    const start = performance.now();
    const deadline = start + budget;
    if (!navigator.onLine) throw new ServerFailure("offline", "there is no network");
    if (start < this.until && this.why && !(insist && this.why.kind !== "busy")) {
      const seconds = Math.ceil((this.until - start) / 1000);
      throw new ServerFailure(this.why.kind, `it is not asked again for ${seconds} s: ${this.why.message}`);
    }
    const body = JSON.stringify({ instances: [{ image: { b64: await base64(await forServer(picture)) } }] });
    try {
      const response = await this.patiently(() => this.post(body, deadline, onSent), deadline);
      const answer = await this.read(response, deadline);
      this.wake();
      return { ...answer, milliseconds: performance.now() - start };
    } catch (error) {
      if (error instanceof ServerFailure && error.rests) this.leaveAlone(error);
      throw error;
    }
  }

  /** Forgets failures: the network is there again. */
  wake(): void {
    this.rest = REST.first;
    this.until = 0;
  }

  private leaveAlone(failure: ServerFailure): void {
    this.why = failure;
    this.until = performance.now() + Math.max(this.rest, Math.min(failure.retryAfter, REST.longest));
    this.rest = Math.min(2 * this.rest, REST.longest);
  }

  /** Repeats a request that came to a busy server once, if that is soon enough. */
  private async patiently(post: () => Promise<Response>, deadline: number): Promise<Response> {
    const response = await post();
    if (!isBusy(response)) return response;
    const wait = retryAfter(response);
    if (performance.now() + wait < deadline) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      const second = await post();
      if (!isBusy(second)) return second;
    }
    throw new ServerFailure("busy", "it is busy", wait);
  }

  private async post(body: string, deadline: number, onSent: (bytes: number) => void): Promise<Response> {
    onSent(body.length);
    return await inTime(deadline, (signal) =>
      fetch(this.address, { method: "POST", headers: { "Content-Type": "application/json" }, body, signal }),
    );
  }

  private async read(response: Response, deadline: number): Promise<Omit<Answer, "milliseconds">> {
    const text = await inTime(deadline, () => response.text());
    if (!response.ok) throw failureOf(response.status, text);
    try {
      const reply = JSON.parse(text);
      const { label, confidence, probabilities, all_classes }: Prediction = reply.predictions[0];
      if (typeof label !== "string" || !Number.isFinite(confidence))
        throw new TypeError("no label with its confidence");
      const shares = (all_classes ?? []).map((name, number): [string, number] => [name, probabilities?.[number] ?? 0]);
      const model = reply.modelDisplayName ?? response.headers.get("X-Model-Release");
      return {
        by: "server",
        model: String(model ?? "the server's model"),
        label,
        confidence,
        probabilities: shares.length ? shares : [[label, confidence]],
      };
    } catch (error) {
      throw new ServerFailure("broken", `its answer cannot be read (${(error as Error).message})`);
    }
  }
}

/** Runs what takes an AbortSignal until the deadline. Rejects with ServerFailure, also for a network that was cut. */
async function inTime<Result>(deadline: number, run: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const left = Math.max(0, deadline - performance.now());
  const control = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ServerFailure("slow", "it did not answer in time")); // before fetch says that it was aborted
      control.abort();
    }, left);
  });
  try {
    return await Promise.race([run(control.signal), late]);
  } catch (error) {
    if (error instanceof ServerFailure) throw error;
    throw new ServerFailure("offline", "it cannot be reached");
  } finally {
    clearTimeout(timer);
  }
}

function isBusy(response: Response): boolean {
  return response.status === 429 || (response.status === 503 && response.headers.has("Retry-After"));
}

/** Returns the milliseconds that Retry-After names, in seconds or as a date; a second where it is missing. */
function retryAfter(response: Response): number {
  const given = response.headers.get("Retry-After") ?? "1";
  const wait = /^\d+$/.test(given) ? 1000 * Number(given) : Date.parse(given) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : 1000;
}

/** Returns what a response without success says. */
export function failureOf(status: number, text: string): ServerFailure {
  const kind = OF_THE_PICTURE.has(status) ? "refused" : "broken";
  return new ServerFailure(kind, `it answered HTTP ${status}${message(text)}`);
}

/** Returns the server's own words of an error, in brackets. */
function message(text: string): string {
  try {
    const { error } = JSON.parse(text);
    const words = typeof error === "string" ? error : error?.message;
    return words ? ` (${String(words).slice(0, 200)})` : "";
  } catch {
    return "";
  }
}

async function base64(data: Blob): Promise<string> {
  const address = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(data);
  });
  return address.slice(address.indexOf(",") + 1);
}

// Who answers: the device, the server, or one after the other.

import type { DeviceModel } from "./device";
import { type Server, ServerFailure } from "./server";

export type Mode = "device" | "cloud" | "escalate" | "layered";

export interface Answer {
  by: "device" | "server";
  model: string; // its release, or what the server calls it
  label: string;
  confidence: number; // probability of the label
  probabilities: [label: string, probability: number][];
  milliseconds: number;
}

/** Why the answer is the one it is. */
export type Reason =
  | "only" // the mode asks nobody else
  | "sure" // the device is sure enough
  | "no" // the device says that the picture is none of the labels that the server is asked about
  | "asked" // the server has answered
  | "failed" // the server has not, so the device's answer counts
  | "none"; // nobody has an answer

export interface Outcome {
  answer: Answer | null; // the one that counts
  device: Answer | null;
  server: Answer | null;
  reason: Reason;
  failure: ServerFailure | null; // of the server, if it was to be asked
  yes: number | null; // of the layered mode: probability that the picture is one of the labels in question
  calls: number;
  bytes: number; // sent to the server
}

export interface Choice {
  mode: Mode;
  question: ReadonlySet<string>; // of the layered mode: labels that the server is asked about
  budget: number; // milliseconds for all of it
}

/** Answers for a picture. `onDevice` is called with the device's answer when the server is asked after it. */
export async function answer(
  picture: Blob,
  choice: Choice,
  device: DeviceModel | null,
  server: Server | null,
  onDevice: (answer: Answer) => void,
): Promise<Outcome> {
  const start = performance.now();
  const outcome: Outcome = {
    answer: null,
    device: null,
    server: null,
    reason: "none",
    failure: null,
    yes: null,
    calls: 0,
    bytes: 0,
  };
  if (choice.mode !== "cloud" || !server) outcome.device = (await device?.classify(picture)) ?? null;
  if (choice.mode === "layered" && outcome.device) answerQuestion(outcome, outcome.device, choice.question);
  if (choice.mode !== "cloud" && outcome.device) {
    const alone = withoutServer(choice.mode, outcome, device?.manifest.escalation_threshold ?? null);
    if (alone) return { ...outcome, answer: outcome.device, reason: alone };
    onDevice(outcome.device);
  }
  if (choice.mode === "device") return outcome;
  // of the cloud mode the device only comments, meanwhile
  const comment = choice.mode === "cloud" && server ? device?.classify(picture).catch(() => null) : undefined;
  await ask(picture, server, choice.budget - (performance.now() - start), !outcome.device, outcome);
  if (comment) outcome.device = (await comment) ?? null;
  if (outcome.server) return { ...outcome, answer: outcome.server, reason: "asked" };
  if (choice.mode === "cloud" || !outcome.device) return outcome;
  return { ...outcome, answer: outcome.device, reason: "failed" };
}

/** Asks the server, with `insist` also after a failure, and notes in `outcome` what it said, or why it did not, and what that cost. */
export async function ask(
  picture: Blob,
  server: Server | null,
  budget: number,
  insist: boolean,
  outcome: Outcome,
): Promise<void> {
  outcome.failure = null;
  try {
    if (!server) throw new ServerFailure("none", "config.json names no server");
    outcome.server = await server.predict(picture, budget, insist, (bytes) => {
      outcome.calls += 1;
      outcome.bytes += bytes;
    });
  } catch (error) {
    if (!(error instanceof ServerFailure)) throw error;
    outcome.failure = error;
  }
}

/** Returns why the server need not be asked; null when it has to be. */
function withoutServer(mode: Mode, outcome: Outcome, threshold: number | null): Reason | null {
  if (mode === "device") return "only";
  if (mode === "layered") return (outcome.yes ?? 1) < 0.5 ? "no" : null;
  return isUnsure(outcome.device, threshold) ? null : "sure";
}

export function isUnsure(answer: Answer | null, threshold: number | null): boolean {
  return answer !== null && threshold !== null && answer.confidence < threshold;
}

/**
 * Notes the device's answer to the question of the layered mode. It is a yes where the labels in question have at least
 * half of the probability; the label is the most probable one of them, or else of the others.
 */
function answerQuestion(outcome: Outcome, device: Answer, question: ReadonlySet<string>): void {
  const inQuestion = device.probabilities.filter(([label]) => question.has(label));
  outcome.yes = inQuestion.reduce((sum, [, share]) => sum + share, 0);
  const among = outcome.yes < 0.5 ? device.probabilities.filter(([label]) => !question.has(label)) : inQuestion;
  const [label, confidence] = among.reduce((best, other) => (other[1] > best[1] ? other : best));
  outcome.device = { ...device, label, confidence };
}

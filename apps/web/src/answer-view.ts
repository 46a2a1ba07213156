// The answer card: who answered, how sure, how long it took, why, and what the other one says.

import { type Answer, isUnsure, type Outcome } from "./answers";
import { duration, find, make, percent, size } from "./elements";

const NAMES = { device: "the device", server: "the server" };
const SHOWN = 3; // most probable labels

/** Shows that an answer is on its way: from the server, if the device has said something already. */
export function showWaiting(device: Answer | null): void {
  const card = find("answer");
  card.setAttribute("aria-busy", "true");
  find("answer-who").textContent = device ? "The device says this, and asks the server …" : "Looking …";
  find("answer-label").textContent = device?.label ?? "";
  find("answer-why").textContent = device ? `${percent(device.confidence)} sure.` : "";
  for (const id of ["answer-shares", "answer-facts", "answer-other"]) find(id).replaceChildren();
  find("ask-server").hidden = true;
}

export function showError(words: string): void {
  showWaiting(null);
  find("answer").removeAttribute("aria-busy");
  find("answer").dataset.by = "nobody";
  find("answer-who").textContent = "No answer";
  find("answer-why").textContent = words;
}

/** Shows an outcome. `labels` are those that the layered mode asks the server about. */
export function showOutcome(outcome: Outcome, threshold: number | null, labels: string[], mayAsk: boolean): void {
  const card = find("answer");
  const { answer } = outcome;
  card.removeAttribute("aria-busy");
  card.dataset.by = answer?.by ?? "nobody";
  card.dataset.reason = outcome.reason;
  if (!answer) {
    showError(whyNot(outcome));
    return;
  }
  const isNo = outcome.reason === "no";
  find("answer-who").textContent = answer.by === "device" ? "Answered by the device" : "Answered by the server";
  find("answer-label").textContent = isNo ? `Not ${alternatives(labels)}` : answer.label;
  find("answer-why").textContent = why(outcome, threshold, labels);
  find("answer-shares").replaceChildren(...shares(answer));
  const sureness = isNo ? 1 - (outcome.yes ?? 0) : answer.confidence;
  find("answer-facts").replaceChildren(
    ...fact("Sure", percent(sureness)),
    ...fact("Took", duration(answer.milliseconds)),
    ...fact("Sent", outcome.calls ? size(outcome.bytes) : "nothing"),
    ...fact("Model", answer.model),
  );
  find("answer-other").replaceChildren(...other(outcome));
  find("ask-server").hidden = !(mayAsk && answer.by === "device" && !outcome.server && !outcome.failure);
}

function why(outcome: Outcome, threshold: number | null, labels: string[]): string {
  const { device, failure } = outcome;
  const needed = threshold === null ? "" : `, ${percent(threshold)} are enough`;
  switch (outcome.reason) {
    case "only":
      return isUnsure(device, threshold) ? `It is not sure${needed}, but you ask nobody else.` : "You ask nobody else.";
    case "sure":
      return `It is ${percent(device?.confidence ?? 0)} sure${needed}: the server was not asked.`;
    case "no":
      return "So the server was not asked.";
    case "failed":
      return `The server was to be asked, but ${failure?.message ?? "has not answered"}.`;
    default:
      if (outcome.yes !== null)
        return `The device says that it is ${alternatives(labels)}: ${percent(outcome.yes)} sure.`;
      return device && isUnsure(device, threshold) ? `The device was ${percent(device.confidence)} sure${needed}.` : "";
  }
}

function whyNot({ failure }: Outcome): string {
  return failure
    ? `The server was to be asked, but ${failure.message}. Choose another way to answer, or try again.`
    : "There is no model on this device yet, and no server to ask. Connect once to install it.";
}

/** What the other model says, next to the answer that counts. */
function other({ answer, device, server }: Outcome): (Node | string)[] {
  const said = answer?.by === "device" ? server : device;
  if (!answer || !said) return [];
  const verdict = said.label === answer.label ? "agrees" : "differs";
  return [
    make("span", { class: `badge ${verdict}` }, verdict),
    ` ${NAMES[said.by].replace("the", "The")} says `,
    make("strong", {}, said.label),
    `, ${percent(said.confidence)} sure, in ${duration(said.milliseconds)} (${said.model}).`,
  ];
}

function shares(answer: Answer): Node[] {
  const best = [...answer.probabilities].sort(([, one], [, two]) => two - one).slice(0, SHOWN);
  return best.map(([label, share]) =>
    make(
      "li",
      {},
      make("span", { class: "share-label" }, label),
      make("meter", { min: "0", max: "1", value: String(share), "aria-label": `${label}: ${percent(share)}` }),
      make("span", { class: "share-value" }, percent(share)),
    ),
  );
}

function fact(name: string, value: string): Node[] {
  return [make("div", {}, make("dt", {}, name), make("dd", {}, value))];
}

function alternatives(labels: string[]): string {
  return labels.length > 1 ? `${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}` : (labels[0] ?? "");
}

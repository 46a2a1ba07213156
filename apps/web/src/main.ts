// The page: takes pictures, has them answered, follows the channel, and tells the user about all of it.

import { showError, showOutcome, showWaiting } from "./answer-view";
import { type Answer, answer, ask, isUnsure, type Mode, type Outcome } from "./answers";
import { Camera } from "./camera";
import { Channel, type Look } from "./channel";
import { type Config, loadConfig } from "./config";
import type { DeviceModel } from "./device";
import { find, make, percent, size } from "./elements";
import { keep, type Why } from "./kept";
import { showKept, startKept } from "./kept-view";
import { Server } from "./server";
import { loadSettings, NO_TOTALS, saveSettings } from "./settings";

const LONGEST_PAUSE = 3_600_000; // milliseconds between two looks at a channel that is broken or away

class Page {
  private readonly camera = new Camera(find("view"));
  private readonly server: Server | null;
  private channel: Channel | null;
  private picture: Blob | null = null;
  private outcome: Outcome | null = null;
  private turn = 0; // of the picture that is answered; what comes late for an earlier one is not shown

  constructor(private readonly config: Config) {
    this.server = config.predict ? new Server(config.predict) : null;
    this.channel = Channel.of(config, (model) => this.showModel(model));
  }

  async start(): Promise<void> {
    if (this.config.task) find("task").textContent = this.config.task;
    this.listen();
    this.showNetwork();
    this.showMode();
    this.showTotals();
    startKept(this.config.unlabelled);
    await showKept(this.config.unlabelled);
    if (!this.channel) {
      this.showLook({ kind: "refused", why: "no channel is followed: config.json names none, or no key" });
      return;
    }
    await this.channel.restore().catch((error) => this.showLook({ kind: "refused", why: error.message }));
    await this.look();
    this.watch();
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    addEventListener("online", () => this.look());
  }

  /** Looks at the channel again and again while the page is seen, and less often after failures. */
  private watch(failures = 0): void {
    const pause = Math.min(1000 * this.config.checkSeconds * 2 ** failures, LONGEST_PAUSE);
    setTimeout(async () => {
      const kind = document.hidden ? "unchanged" : await this.look();
      this.watch(kind === "refused" || kind === "unreachable" ? failures + 1 : 0);
    }, pause);
  }

  private listen(): void {
    addEventListener("online", () => {
      this.server?.wake();
      this.showNetwork();
    });
    addEventListener("offline", () => this.showNetwork());
    addEventListener("storage", () => this.showTotals()); // another tab has counted
    find<HTMLInputElement>("file").onchange = (event) => {
      const input = event.target as HTMLInputElement;
      if (input.files?.[0]) this.show(input.files[0]);
      input.value = ""; // the same file may be chosen again
    };
    document.addEventListener("paste", (event) => this.take(event.clipboardData));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take(event.dataTransfer);
    });
    find("camera").onclick = () => this.useCamera();
    find("camera-close").onclick = () => this.closeCamera();
    find("ask-server").onclick = () => this.askServer();
    find("check").onclick = () => this.look();
    find("reset").onclick = () => {
      saveSettings({ totals: NO_TOTALS });
      this.showTotals();
    };
    const keeping = find<HTMLInputElement>("keep");
    keeping.checked = loadSettings().keep;
    keeping.onchange = () => {
      saveSettings({ keep: keeping.checked });
      if (keeping.checked) navigator.storage.persist(); // the browser then does not make room by deleting them
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.camera.isOpen) this.closeCamera();
    });
    for (const choice of document.querySelectorAll<HTMLInputElement>("input[name=mode]")) {
      choice.onchange = () => {
        saveSettings({ mode: choice.value as Mode });
        this.showMode();
        this.answer();
      };
    }
    find("samples").replaceChildren(...SAMPLES.map((address, number) => this.sample(address, number + 1)));
    find("samples-part").hidden = SAMPLES.length === 0;
  }

  private sample(address: string, number: number): Node {
    const name = `Sample ${number}`;
    const button = make("button", { type: "button", "aria-label": name }, make("img", { src: address, alt: "" }));
    button.onclick = async () => this.show(await (await fetch(address)).blob());
    return make("li", {}, button);
  }

  private take(data: DataTransfer | null): void {
    const file = [...(data?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) this.show(file);
  }

  private async useCamera(): Promise<void> {
    try {
      if (this.camera.isOpen) {
        this.show(await this.camera.take());
        return;
      }
      await this.camera.open();
    } catch (error) {
      showError(`The camera cannot be used: ${(error as Error).message}. Choose a picture instead.`);
      return;
    }
    this.showStage("view");
    find("camera").textContent = "Take the picture";
    find("camera-close").hidden = false;
  }

  private closeCamera(): void {
    this.camera.close();
    find("camera").textContent = "Camera";
    find("camera-close").hidden = true;
    this.showStage(this.picture ? "picture" : "nothing");
  }

  private showStage(part: "view" | "picture" | "nothing"): void {
    for (const id of ["view", "picture", "nothing"]) find(id).hidden = id !== part;
  }

  private show(picture: Blob): void {
    this.picture = picture;
    const image = find<HTMLImageElement>("picture");
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    this.closeCamera();
    find("answer").scrollIntoView({ block: "nearest" }); // on a phone it lies below the picture
    this.answer();
  }

  private get question(): string[] {
    const labels = this.channel?.model?.manifest.labels ?? [];
    const chosen = labels.filter((label) => loadSettings().question.includes(label));
    return chosen.length ? chosen : labels.slice(0, 1);
  }

  /** Has the picture answered, and shows and counts it. */
  private async answer(): Promise<void> {
    if (!this.picture) return;
    const turn = ++this.turn;
    const picture = this.picture;
    const choice = {
      mode: loadSettings().mode,
      question: new Set(this.question),
      budget: 1000 * this.config.budgetSeconds,
    };
    showWaiting(null);
    try {
      const onDevice = (device: Answer) => turn === this.turn && showWaiting(device);
      const outcome = await answer(picture, choice, this.channel?.model ?? null, this.server, onDevice);
      this.count(outcome.calls, outcome.bytes, 1);
      if (turn === this.turn) await this.finish(picture, outcome);
    } catch (error) {
      const words =
        (error as Error).name === "InvalidStateError" ? "This is no picture that the browser can read." : String(error);
      if (turn === this.turn) showError(words);
    }
  }

  /** Asks the server, too, where the device has answered alone. */
  private async askServer(): Promise<void> {
    if (!this.picture || !this.outcome) return;
    const turn = this.turn;
    const outcome = { ...this.outcome, calls: 0, bytes: 0 };
    const button = find<HTMLButtonElement>("ask-server");
    button.disabled = true;
    await ask(this.picture, this.server, 1000 * this.config.budgetSeconds, true, outcome);
    button.disabled = false;
    this.count(outcome.calls, outcome.bytes, 0);
    if (turn !== this.turn) return;
    await this.finish(this.picture, outcome);
    if (outcome.failure) find("answer-other").textContent = `The server was asked, but ${outcome.failure.message}.`;
  }

  private async finish(picture: Blob, outcome: Outcome): Promise<void> {
    this.outcome = outcome;
    const threshold = this.channel?.model?.manifest.escalation_threshold ?? null;
    showOutcome(outcome, threshold, this.question, this.server !== null);
    const { device, server } = outcome;
    if (!loadSettings().keep) return;
    const why: Why[] = [];
    if (device && server && device.label !== server.label) why.push("disagreement");
    if (isUnsure(device, threshold)) why.push("low confidence");
    if (!why.length) return;
    await keep(picture, why, device, server);
    await showKept(this.config.unlabelled);
  }

  private count(calls: number, bytes: number, pictures: number): void {
    const { totals } = loadSettings();
    saveSettings({
      totals: { pictures: totals.pictures + pictures, calls: totals.calls + calls, bytes: totals.bytes + bytes },
    });
    this.showTotals();
  }

  private showTotals(): void {
    const { pictures, calls, bytes } = loadSettings().totals;
    const saved = Math.max(0, pictures - calls);
    find("total-pictures").textContent = String(pictures);
    find("total-saved").textContent = pictures ? `${saved} (${percent(saved / pictures)})` : "0";
    find("total-calls").textContent = String(calls);
    find("total-bytes").textContent = size(bytes);
  }

  private showNetwork(): void {
    find("network").textContent = navigator.onLine ? "Online" : "Offline";
    find("network").dataset.state = navigator.onLine ? "good" : "off";
  }

  private showMode(): void {
    const { mode } = loadSettings();
    for (const choice of document.querySelectorAll<HTMLInputElement>("input[name=mode]"))
      choice.checked = choice.value === mode;
    find("question").hidden = mode !== "layered";
  }

  private showModel(model: DeviceModel): void {
    const { tag, metrics, bytes, quantization, labels, escalation_threshold } = model.manifest;
    find("model").textContent = tag;
    find("model").dataset.state = "good";
    const facts: Record<string, string> = {
      Release: tag,
      Accuracy: `${percent(metrics.accuracy)} of ${metrics.images} images`,
      Size: `${size(bytes)}, ${quantization}`,
      "Asks the server": escalation_threshold === null ? "never" : `below ${percent(escalation_threshold)}`,
    };
    const rows = Object.entries(facts).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value)),
    );
    find("model-facts").replaceChildren(...rows);
    find("labels").replaceChildren(...labels.map((label) => this.questionLabel(label)));
    this.answer(); // the picture that is shown, by the new model
  }

  private questionLabel(label: string): Node {
    const box = make("input", { type: "checkbox" });
    box.checked = this.question.includes(label);
    box.onchange = () => {
      const chosen = new Set(this.question);
      if (box.checked) chosen.add(label);
      else chosen.delete(label);
      saveSettings({ question: [...chosen] });
      for (const other of find("labels").querySelectorAll("input")) {
        other.checked = this.question.includes(other.parentElement?.textContent ?? "");
      }
      this.answer();
    };
    return make("label", {}, box, label);
  }

  private async look(): Promise<Look["kind"]> {
    if (!this.channel) return "unchanged";
    const button = find<HTMLButtonElement>("check");
    button.disabled = true;
    const look = await this.channel.look();
    this.showLook(look);
    button.disabled = false;
    return look.kind;
  }

  private showLook(look: Look): void {
    const model = this.channel?.model;
    const keeps = model ? ` The device keeps ${model.manifest.tag}.` : "";
    const words = {
      unchanged: "This is the channel's newest model.",
      installed: "Installed just now.",
      refused: `${look.kind === "refused" ? capital(look.why) : ""}.${keeps}`,
      unreachable: `The channel cannot be reached.${keeps}`,
    };
    const line = find("look");
    line.dataset.kind = look.kind;
    line.title = "why" in look ? look.why : "";
    if (line.textContent !== words[look.kind]) line.textContent = words[look.kind]; // read aloud when it changes
    if (!model) {
      find("model").textContent = "no model on this device";
      find("model").dataset.state = "off";
    }
  }
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Registers the service worker, and offers a newer version of the page when there is one. */
async function startServiceWorker(): Promise<void> {
  const { serviceWorker } = navigator;
  const registration = await serviceWorker.register("service-worker.js", { updateViaCache: "none" });
  const offer = () => {
    if (!registration.waiting || !serviceWorker.controller) return;
    find("update").hidden = false;
    find("update-now").onclick = () => {
      serviceWorker.addEventListener("controllerchange", () => location.reload());
      registration.waiting?.postMessage("replace");
    };
  };
  offer();
  registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", offer));
  document.addEventListener("visibilitychange", () => document.hidden || registration.update().catch(() => undefined));
  await serviceWorker.ready;
  find("offline").hidden = false;
}

async function start(): Promise<void> {
  if (!isSecureContext || !("locks" in navigator)) {
    throw new Error("this page needs https (or localhost) and a browser of 2022 or later");
  }
  startServiceWorker().catch((error) => console.warn("Without a network this page will not open:", error));
  await new Page(await loadConfig()).start();
}

start().catch((error) => showError(`The page cannot start: ${error.message}.`));

// config.json, which the server makes, or whoever hosts the page edits. Each field may be null.

export interface Config {
  task: string | null; // the model that the page follows
  channel: string | null; // address of the channel's pointer
  publicKey: string | null; // Ed25519, the raw 32 bytes in base64; the channel is followed with it only
  predict: string | null; // address that answers the :predict protocol
  unlabelled: string | null; // folder that takes kept pictures by PUT
  budgetSeconds: number; // after which the device's answer counts, if the server's is not there
  checkSeconds: number; // between two looks at the channel
}

/** Fetches the configuration; the service worker has the last one when there is no network. */
export async function loadConfig(): Promise<Config> {
  const response = await fetch("config.json", { cache: "no-cache" });
  if (!response.ok) throw new Error(`config.json: HTTP ${response.status}`);
  const given: Record<string, unknown> = await response.json();
  const text = (name: string) => (typeof given[name] === "string" && given[name] ? (given[name] as string) : null);
  const seconds = (name: string, usual: number) => (Number(given[name]) > 0 ? Number(given[name]) : usual);
  return {
    task: text("task"),
    channel: text("channel"),
    publicKey: text("publicKey"),
    predict: text("predict"),
    unlabelled: text("unlabelled"),
    budgetSeconds: seconds("budgetSeconds", 2),
    checkSeconds: seconds("checkSeconds", 60),
  };
}

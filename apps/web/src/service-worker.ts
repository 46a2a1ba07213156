// The service worker: the page itself, without a network. Models and answers are not its business.

import { supportsFeature } from "@litertjs/core";

interface ExtendableEvent extends Event {
  waitUntil(done: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

const worker = self as unknown as EventTarget & {
  registration: { scope: string };
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
};
const PREFIX = "spanloop-page-";
const CACHE = PREFIX + BUILD;
const CONFIG_PATIENCE = 2000; // milliseconds, after which the last configuration is used

/** Everything that the page needs is there, or this version of it is not installed. */
async function install(): Promise<void> {
  const runtime = `${LITERT}/litert_wasm${(await supportsFeature("relaxedSimd")) ? "" : "_compat"}_internal`;
  const page = FILES.map((file) => new Request(file, { cache: "no-cache" })); // all of one version
  const cache = await caches.open(CACHE);
  await cache.addAll([...page, `${runtime}.js`, `${runtime}.wasm`]);
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  await worker.clients.claim();
}

async function cached(request: Request | string): Promise<Response> {
  const found = await caches.match(request, { ignoreSearch: true, cacheName: CACHE });
  return found ?? (await fetch(request));
}

/** The configuration of now, if the network has it in time, and otherwise the last one. */
async function configuration(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(CONFIG_PATIENCE) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    await cache.put("config.json", response.clone());
    return response;
  } catch {
    return (await caches.match("config.json")) ?? Response.error();
  }
}

worker.addEventListener("install", (event) => (event as ExtendableEvent).waitUntil(install()));
worker.addEventListener("activate", (event) => (event as ExtendableEvent).waitUntil(activate()));
worker.addEventListener("message", (event) => {
  if ((event as MessageEvent).data === "replace") worker.skipWaiting();
});
worker.addEventListener("fetch", (event) => {
  const { request, respondWith } = event as FetchEvent;
  const path = request.url.startsWith(worker.registration.scope)
    ? request.url.slice(worker.registration.scope.length).replace(/[?#].*/, "")
    : null;
  if (request.method !== "GET" || path === null) return;
  const respond = respondWith.bind(event);
  if (path === "config.json") respond(configuration(request));
  else if (path === "" || path === "index.html") respond(cached("./"));
  else if (FILES.includes(path) || path.startsWith(`${LITERT}/`)) respond(cached(request));
});

// Restores the cache entry with this key.
const fs = require("fs");
const { at, write } = require("./place.js");

const path = process.env.INPUT_PATH;
if (!path || !process.env.INPUT_KEY) throw new Error("Input required and not supplied: path or key");
const hit = fs.existsSync(at());
if (hit) {
  fs.rmSync(path, { recursive: true, force: true });
  fs.cpSync(at(), path, { recursive: true });
}
write("GITHUB_OUTPUT", "cache-primary-key", process.env.INPUT_KEY);
write("GITHUB_OUTPUT", "cache-hit", hit ? "true" : "");
write("GITHUB_STATE", "hit", String(hit));
console.log(hit ? `Cache restored from key: ${process.env.INPUT_KEY}` : "Cache not found");

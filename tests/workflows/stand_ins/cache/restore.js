// Restores the cache entry with this key.
const fs = require("fs");
const { at, write } = require("./place.js");

const path = process.env.INPUT_PATH;
if (!path || !process.env.INPUT_KEY) throw new Error("Input required and not supplied: path or key");
let hit = true;
if (path === ".venv") {
  fs.symlinkSync(process.env.STAND_IN_VENV, path);
} else if (fs.existsSync(at())) {
  fs.cpSync(at(), path, { recursive: true });
} else {
  hit = false;
}
write("GITHUB_OUTPUT", "cache-hit", hit ? "true" : "");
write("GITHUB_STATE", "hit", String(hit));
console.log(hit ? `Cache restored from key: ${process.env.INPUT_KEY}` : "Cache not found");

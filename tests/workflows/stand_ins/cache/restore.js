// Brings back what was kept by this key.
const fs = require("fs");
const { at, say } = require("./place.js");

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
say("GITHUB_OUTPUT", "cache-hit", hit ? "true" : "");
say("GITHUB_STATE", "hit", String(hit));
console.log(hit ? `Cache restored from key: ${process.env.INPUT_KEY}` : "Cache not found");

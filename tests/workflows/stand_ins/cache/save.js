// Saves the path under the key, unless it was restored from there.
const fs = require("fs");
const { at } = require("./place.js");

const path = process.env.INPUT_PATH;
if (process.env.STATE_hit !== "true") {
  if (fs.existsSync(path)) {
    fs.cpSync(path, at(), { recursive: true });
    console.log(`Cache saved with key: ${process.env.INPUT_KEY}`);
  } else {
    console.log(`::warning::Path Validation Error: ${path} does not exist, so nothing is cached`);
  }
}

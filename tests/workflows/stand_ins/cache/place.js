const crypto = require("crypto");
const fs = require("fs");

// The folder of the cache entry with this key.
exports.at = () => {
  const name = crypto.createHash("sha256").update(process.env.INPUT_KEY).digest("hex");
  return `${process.env.STAND_IN_FOLDER}/caches/${name}`;
};

// Appends a line to a file that the runner reads.
exports.write = (file, name, value) => fs.appendFileSync(process.env[file], `${name}=${value}\n`);

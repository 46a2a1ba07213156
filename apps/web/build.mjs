// Builds dist/: the page, the runtime in its two variants, and both compressed for servers that send what fits.
// `npm ci && npm run build`; needs Node.js 20.

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import * as esbuild from "esbuild";

const DIST = "dist";
const CACHE = "node_modules/.cache/compressed"; // by content: the runtime takes ten seconds, and hardly ever changes
const COMPRESSED = /\.(css|html|js|svg|wasm|webmanifest)$/; // not config.json, which people edit
const ICONS_OF_SYSTEMS = ["icon-192.png", "icon-512.png"]; // fetched when the page is installed, not by the page

const json = async (file) => JSON.parse(await readFile(file, "utf8"));
const page = await json("package.json");
const litert = `litert-${page.dependencies["@litertjs/core"]}`;

await rm(DIST, { recursive: true, force: true });
await cp("static", DIST, { recursive: true });
await cp("samples", path.join(DIST, "samples"), { recursive: true });
await copyRuntime();
const samples = (await readdir("samples")).filter((name) => /\.(jpe?g|png)$/i.test(name)).sort();
const constantsOf = {
  APP_VERSION: JSON.stringify(page.version),
  LITERT: JSON.stringify(litert),
  SAMPLES: JSON.stringify(samples.map((name) => `samples/${name}`)),
};
await bundle("main", constantsOf);
const files = (await listed(DIST)).filter((name) => !name.startsWith(litert) && !ICONS_OF_SYSTEMS.includes(name));
const contents = await Promise.all(
  [...files, "../src/service-worker.ts"].map((name) => readFile(path.join(DIST, name))),
);
const build = createHash("sha256").update(Buffer.concat(contents)).update(litert).digest("hex").slice(0, 16);
const needed = ["./", ...files.filter((name) => name !== "index.html")];
await bundle("service-worker", { ...constantsOf, BUILD: JSON.stringify(build), FILES: JSON.stringify(needed) });
await Promise.all((await listed(DIST)).filter((name) => COMPRESSED.test(name)).map(compress));
await report();

async function bundle(name, define) {
  await esbuild.build({
    entryPoints: [`src/${name}.ts`],
    outfile: path.join(DIST, `${name}.js`),
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    define,
  });
}

/** Copies the runtime for browsers with relaxed SIMD and for those without. Neither needs threads. */
async function copyRuntime() {
  await mkdir(path.join(DIST, litert));
  for (const variant of ["litert_wasm_internal", "litert_wasm_compat_internal"]) {
    const source = `node_modules/@litertjs/core/wasm/${variant}`;
    const { code } = await esbuild.transform(await readFile(`${source}.js`, "utf8"), { minify: true });
    await writeFile(path.join(DIST, litert, `${variant}.js`), code);
    await cp(`${source}.wasm`, path.join(DIST, litert, `${variant}.wasm`));
  }
}

/** Writes FILE.br and FILE.gz beside a file. */
async function compress(name) {
  const file = path.join(DIST, name);
  const content = await readFile(file);
  const digest = createHash("sha256").update(content).digest("hex");
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_LGWIN]: 24 };
  const ways = {
    br: () => promisify(brotliCompress)(content, { params }),
    gz: () => promisify(gzip)(content, { level: 9 }),
  };
  await mkdir(CACHE, { recursive: true });
  for (const [ending, way] of Object.entries(ways)) {
    const kept = path.join(CACHE, `${digest}.${ending}`);
    const made = (await readFile(kept).catch(() => null)) ?? (await way());
    await writeFile(kept, made);
    await writeFile(`${file}.${ending}`, made);
  }
}

async function listed(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

async function report() {
  for (const name of (await listed(DIST)).filter((name) => /\.(js|css|wasm)$/.test(name))) {
    const sizes = await Promise.all(
      ["", ".br", ".gz"].map(async (end) => (await stat(path.join(DIST, name + end))).size),
    );
    const [plain, brotli, gzipped] = sizes.map((size) => size.toLocaleString("en").padStart(10));
    console.log(`${plain} bytes, ${brotli} brotli, ${gzipped} gzip  ${name}`);
  }
}

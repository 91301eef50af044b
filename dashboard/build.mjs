// Makes dist/ from src/ and docs/openapi.json: types first, then a check of them, then one script and one style sheet
// whose names are their hashes, each also compressed. It must never put more on the page than it may weigh.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// What a first visit loads in all, compressed: a second on a slow phone.
const COMPRESSED_BYTES_MAX = 150_000;

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const made = join(here, "../target/dashboard");
const bin = (name) => join(here, "node_modules/.bin", name);

mkdirSync(made, { recursive: true });
run("openapi-typescript", ["../docs/openapi.json", "--output", join(made, "api.d.ts")]);
run("tsc", ["--project", here]);

for (const name of readdirSync(dist)) {
  if (name !== ".gitignore") rmSync(join(dist, name));
}
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  entryNames: "[name]-[hash]",
  outdir: dist,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
const names = Object.keys(metafile.outputs).map((path) => path.split("/").pop());
const named = (end) => names.find((name) => name.endsWith(end));
const page = readFileSync(join(here, "src/index.html"), "utf8")
  .replace("{script}", `/assets/${named(".js")}`)
  .replace("{style}", `/assets/${named(".css")}`);
writeFileSync(join(dist, "index.html"), page);
writeFileSync(join(dist, "icon.svg"), readFileSync(join(here, "src/icon.svg")));

let sum = 0;
for (const name of readdirSync(dist).filter((name) => name !== ".gitignore")) {
  const compressed = gzipSync(readFileSync(join(dist, name)), { level: 9 });
  writeFileSync(join(dist, `${name}.gz`), compressed);
  sum += compressed.length;
  console.log(`${name}: ${compressed.length} bytes compressed`);
}
console.log(`all: ${sum} of at most ${COMPRESSED_BYTES_MAX}`);
if (sum > COMPRESSED_BYTES_MAX) {
  console.error("the page has grown too heavy: see which part with esbuild's metafile, and leave something out");
  process.exit(1);
}

function run(name, words) {
  try {
    execFileSync(bin(name), words, { cwd: here, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    console.error(`${name}: ${error.stdout ?? ""}${error.stderr ?? error}`);
    process.exit(1);
  }
}

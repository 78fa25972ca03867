// Bundles the page's script: `node build.mjs [file]`; `node build.mjs --modules` compiles each module alone, for the unit tests.
import {build} from "esbuild";
import {readdirSync} from "node:fs";

const common = {charset: "utf8", target: "es2022", logLevel: "warning", absWorkingDir: import.meta.dirname};
const word = process.argv[2];
if (word === "--modules") {
  const modules = readdirSync(`${import.meta.dirname}/src`).map(name => `src/${name}`);
  await build({
    ...common,
    entryPoints: modules,
    outdir: "node_modules/.modules",
    bundle: true,
    format: "esm",
    outExtension: {".js": ".mjs"},
  });
} else {
  const banner = {js: "// Built from pathsynth/report/frontend/src by `make frontend`; change it there."};
  await build({
    ...common,
    entryPoints: ["src/main.ts"],
    outfile: word ?? "../templates/study.js",
    bundle: true,
    format: "iife",
    banner,
  });
}

// Packs all that a bare machine needs to test and measure Hone on its GPU into one archive.
//
//   node bench/gpu/pack.mjs [OUT.tar.xz]
//
// Inside: this Node, the Vulkan loader (of the npm package that brings SwiftShader), Dawn, the built command line and
// benchmark, the kernel tests with vitest, and run.mjs. Linux on x86-64 alone. Weights are made there, at random.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
} from "node:fs";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join, posix, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const out = resolve(process.argv[2] ?? join(root, "hone-gpu.tar.xz"));

/** What of the repository travels: sources and what is built, and the tests that run on a GPU. */
const TREE = `
  package.json tsconfig.json tsconfig.base.json tsconfig.node.json tsconfig.engine.json
  tsconfig.browser.json tsconfig.ui.json
  src shaders workers scripts bench/gpu public/models/seedling dist/cli dist/bench test/fixtures
`
  .trim()
  .split(/\s+/);
const TESTS =
  "vite.config.ts test/gpu.ts test/gpu test/kernels test/model test/train test/reference".split(
    " ",
  );

/** Run there: the packages that dist/ imports come on top. */
const PACKAGES = [
  "vitest",
  "vite",
  "vite-plugin-solid",
  "webgpu",
  "koffi",
  "tar-fs",
  "yaml",
  "@huggingface/jinja",
];

/** Files of packages for other systems. */
const FOREIGN =
  /(?:darwin|win32|arm64|musl|freebsd|openbsd|ia32|riscv|loong|arm-|armhf)[^/]*(?:\/|$)/;

requireLinux();
run("node", ["scripts/setup.mjs"]);
run("npx", [
  "vite",
  "build",
  "--logLevel",
  "error",
  "--ssr",
  "bench/main.ts",
  "--outDir",
  "dist/bench",
]);
const stage = mkdtempSync(join(tmpdir(), "hone-gpu-"));
try {
  const folder = join(stage, "hone-gpu");
  copyNode(folder);
  copyLoader(folder);
  const tests = modulesOf(TESTS);
  for (const path of [...TREE, ...tests.files])
    copyIfThere(join(root, path), join(folder, "hone", path));
  const built = [...importsOf("dist/cli"), ...importsOf("dist/bench")];
  const names = closureOf([...PACKAGES, ...tests.packages, ...built]);
  for (const name of names) copyPackage(name, join(folder, "hone", "node_modules", name));
  requireTests(join(folder, "hone"));
  writeFileSync(join(folder, "commit"), `${read("git", ["rev-parse", "--short", "HEAD"])}\n`);
  writeFileSync(join(folder, "run"), RUN());
  chmodSync(join(folder, "run"), 0o755);
  console.log("Packing, which takes minutes …");
  run("tar", ["-C", stage, "--owner=0", "--group=0", "-cJf", out, "hone-gpu"], {
    XZ_OPT: "-4 -T0",
  });
} finally {
  rmSync(stage, { recursive: true, force: true });
}
console.log(`${out}: ${(statSync(out).size / 2 ** 20).toFixed(1)} MiB`);
console.log(
  "There: tar xf ARCHIVE && hone-gpu/run --out FOLDER   (hone-gpu/run --help lists the options)",
);

/** The files of tests, all that they import outside of TREE, and the packages they import. */
function modulesOf(paths) {
  const files = new Set();
  const packages = new Set();
  const visit = (path) => {
    if (files.has(path) || TREE.some((part) => path === part || path.startsWith(`${part}/`)))
      return;
    if (statSync(join(root, path)).isDirectory()) {
      for (const name of readdirSync(join(root, path))) visit(`${path}/${name}`);
      return;
    }
    files.add(path);
    if (!/\.[mc]?[jt]s$/.test(path)) return;
    for (const name of importsIn(readFileSync(join(root, path), "utf8"))) {
      if (!name.startsWith(".")) packages.add(packageOf(name));
      else visit(posix.join(posix.dirname(path), name.replace(/\?.*/, "")));
    }
  };
  for (const path of paths) visit(path);
  return { files, packages };
}

/** What a file imports, Node's own left out. */
function importsIn(text) {
  return [...text.matchAll(/(?:from|import|import\()\s*"([^"]+)"/g)]
    .map(([, name]) => name)
    .filter((name) => !name.startsWith("node:"));
}

/** "@scope/name/part" → "@scope/name". */
function packageOf(name) {
  const length = name.startsWith("@") ? 2 : 1;
  return name.split("/").slice(0, length).join("/");
}

/** That what is packed loads. */
function requireTests(hone) {
  const args = ["node_modules/vitest/vitest.mjs", "list", "--project", "gpu", "--filesOnly"];
  const { status, stdout, stderr } = spawnSync("node", args, { cwd: hone, encoding: "utf8" });
  if (status === 0 && stdout.includes("test/kernels/")) return;
  fail(`The packed tests do not load:\n${stderr}`, "Add what is missing to TREE in pack.mjs.");
}

function RUN() {
  return '#!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\nexec "$here/bin/node" "$here/hone/bench/gpu/run.mjs" "$@"\n';
}

function requireLinux() {
  if (process.platform === "linux" && process.arch === "x64") return;
  fail(
    `This is ${process.platform} on ${process.arch}; the archive holds this machine's Node and Dawn.`,
    "Pack it on Linux with an x86-64 processor.",
  );
}

function copyNode(folder) {
  mkdirSync(join(folder, "bin"), { recursive: true });
  cpSync(process.execPath, join(folder, "bin", "node"), { dereference: true });
}

/** Unpacked by the first run of anything on SwiftShader. */
function copyLoader(folder) {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "hone");
  const find = () =>
    existsSync(cache)
      ? readdirSync(cache)
          .filter((name) => /^swiftshader-[\d.]+$/.test(name))
          .map((name) => join(cache, name, "libvulkan.so.1"))
          .find((path) => existsSync(path))
      : undefined;
  if (!find()) run("node", ["dist/cli/main.js", "doctor", "--gpu", "swiftshader"]);
  const loader = find();
  if (!loader)
    fail(
      `No libvulkan.so.1 in ${cache}.`,
      "Run npm install, so that @sparticuz/chromium is there.",
    );
  mkdirSync(join(folder, "lib"), { recursive: true });
  cpSync(loader, join(folder, "lib", "libvulkan.so.1"), { dereference: true });
}

function copyIfThere(from, to) {
  if (existsSync(from)) cpSync(from, to, { recursive: true });
  else fail(`${from} is not there.`, "Pack from a whole clone.");
}

/** Package names that the built files import and do not contain. */
function importsOf(folder) {
  const texts = readdirSync(join(root, folder), { recursive: true })
    .filter((file) => String(file).endsWith(".js"))
    .map((file) => readFileSync(join(root, folder, String(file)), "utf8"));
  const names = texts.flatMap(importsIn).filter((name) => !name.startsWith("."));
  return [...new Set(names.map(packageOf))].filter((name) => existsSync(packageFolder(name)));
}

function closureOf(names) {
  const found = new Set();
  const visit = (name) => {
    if (found.has(name) || !existsSync(packageFolder(name)) || FOREIGN.test(name)) return;
    found.add(name);
    const { dependencies, optionalDependencies } = manifestOf(name);
    for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) visit(next);
  };
  for (const name of names) visit(name);
  return found;
}

function copyPackage(name, to) {
  const from = packageFolder(name);
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (path) => !FOREIGN.test(`${path.slice(from.length)}/`) && !path.endsWith(".map"),
  });
}

function packageFolder(name) {
  return join(root, "node_modules", name);
}

function manifestOf(name) {
  return createRequire(import.meta.url)(join(packageFolder(name), "package.json"));
}

function read(command, args) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8" }).stdout?.trim() ?? "";
}

function run(command, args, env = {}) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status !== 0)
    fail(`${basename(command)} ${args[0]} ended with ${status}.`, "What it printed stands above.");
}

function fail(problem, remedy) {
  console.error(`${problem}\n${remedy}`);
  process.exit(1);
}

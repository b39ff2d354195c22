// Makes a clone ready to run: packages installed, dist/ built. Plain Node, since nothing is installed yet.
//
// It does only what is missing, and says in one line what it is doing.
//   node scripts/setup.mjs             install and build, each if it is needed
//   node scripts/setup.mjs --no-build  install alone
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isWindows = process.platform === "win32";

checkNode();
if (!isInstalled()) {
  say("Installing packages (about 400 MB on disk, once) …");
  npm("ci", "--no-audit", "--no-fund", "--loglevel=error");
}
if (!process.argv.includes("--no-build") && !isBuilt()) {
  say("Building …");
  vite("build");
  vite("build", "--ssr", "src/cli/main.ts", "--outDir", "dist/cli");
}

function checkNode() {
  const wanted = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).engines.node;
  const floor = numbers(wanted);
  const own = numbers(process.versions.node);
  const firstDifference = own.findIndex((part, i) => part !== (floor[i] ?? 0));
  if (firstDifference === -1 || own[firstDifference] > (floor[firstDifference] ?? 0)) return;
  fail(
    `This is Node ${process.versions.node}; Hone needs ${wanted}.`,
    "Install a newer Node from https://nodejs.org.",
  );
}

/** npm writes the hidden lock file last; one older than ours is from before a change of it. */
function isInstalled() {
  const installed = changedAt(join(root, "node_modules", ".package-lock.json"));
  return installed >= changedAt(join(root, "package-lock.json"));
}

/** Every build ends with the command line's, so its age is the age of all. */
function isBuilt() {
  const built = changedAt(join(root, "dist", "cli", "main.js"));
  const sources = [
    "src",
    "shaders",
    "workers",
    "public",
    "index.html",
    "scripts/kernels-id.ts",
    "scripts/vite-page.ts",
    "scripts/page-policy.mjs",
    "vite.config.ts",
    "package-lock.json",
  ];
  return (
    existsSync(join(root, "dist", "index.html")) &&
    sources.every((name) => newestIn(join(root, name)) <= built)
  );
}

/** Folders count too: removing a file changes only the folder. */
function newestIn(path) {
  const own = changedAt(path);
  if (own === 0 || !statSync(path).isDirectory()) return own;
  return readdirSync(path).reduce(
    (newest, name) => Math.max(newest, newestIn(join(path, name))),
    own,
  );
}

/** 0 for what is not there. */
function changedAt(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** The npm that runs this script, else the one on the path. */
function npm(...args) {
  const own = process.env["npm_execpath"];
  if (own?.endsWith(".js")) execute(process.execPath, [own, ...args]);
  else execute("npm", args, { shell: isWindows });
}

function vite(...args) {
  const bin = join(root, "node_modules", "vite", "bin", "vite.js");
  // Started by a test, which says "test" here, the page would be built as for development.
  const env = { ...process.env, VITEST: "", NODE_ENV: "production" };
  execute(process.execPath, [bin, ...args, "--logLevel", "warn"], { env });
}

/** Runs to the end, showing its output only if it failed. */
function execute(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 << 20,
    // vitest's variables would make a build from within a test a test build
    env: { ...process.env, VITEST: "" },
    ...options,
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ""}${stderr ?? ""}`);
  fail(
    `${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ` with exit code ${status}`}.`,
    "Correct what the lines above say and run the command again.",
  );
}

function numbers(version) {
  return (version.match(/\d+/g) ?? []).map(Number);
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(problem, remedy) {
  process.stderr.write(`Error: ${problem}\n${remedy}\n`);
  process.exit(1);
}

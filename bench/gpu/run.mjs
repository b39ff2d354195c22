// Tests and measures Hone on this machine's GPU, and PyTorch beside it, on weights made at random. One table comes out.
//
//   hone-gpu/run [--out FOLDER] [--shapes a,b] [--tokens N] [--only doctor,tests,bench,torch] [--minutes N] [--within N]
//
// From pack.mjs's archive, or in a clone as `node bench/gpu/run.mjs`. Every part is a process of its own with a time
// limit; one that fails is a line of the record, and the others go on. FOLDER gets record.json, table.md and the logs,
// after every part. With --within, a call ends in time and the next goes on where it ended.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { start } from "./processes.mjs";
import { tableOf } from "./table.mjs";
import { driversToTry } from "./vulkan-driver.mjs";

const HELP = [
  "hone-gpu/run [options]",
  "  --out FOLDER     where the record, the table and the logs go (hone-gpu-results)",
  "  --shapes A,B     of llama-3.2-1b, internlm2-1.8b and seedling (the first two)",
  "  --tokens N       of a row (2048)",
  "  --only A,B       of doctor, tests, bench, torch (all)",
  "  --minutes N      the most that one part of one shape may take (4)",
  "  --within N       minutes after which this call has ended; the next with the same folder goes on from there",
  "  --tests A,B      which tests (test/gpu,test/kernels,test/model)",
  "  --gpu NAME       which adapter Hone takes (gpu); llvmpipe and swiftshader try this script out",
  "  --python PATH    the Python that has PyTorch (python3)",
  "  --wheels FOLDER  wheels of bitsandbytes and PEFT, put where that Python finds them",
].join("\n");

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const PARTS = ["doctor", "tests", "bench", "torch"];
const SHAPES = ["llama-3.2-1b", "internlm2-1.8b", "seedling"]; // those that torch_qlora.py knows too
const ADAPTERS = ["gpu", "llvmpipe", "swiftshader"];
const CLI = join(root, "dist/cli/main.js");
/**
 * How far variants of kernels are tried: where a way takes too long or takes the driver down, the next is gone. Matrix
 * units are experimental in WebGPU, so that a driver that breaks over them leaves all the others to be tried.
 */
const TUNES = {
  full: ["--tune", "full"],
  quick: ["--tune", "quick"],
  "quick without matrices": ["--tune", "quick", "--no-matrix"],
  off: ["--tune", "off", "--no-matrix"],
};
/** What is kept of the forward pass: inputs of blocks alone, as gradient checkpointing does, or all that fits. */
const KEPT = ["inputs", "all"];

// A container with CUDA alone has no Vulkan.
const NO_VULKAN =
  "Dawn finds no GPU through Vulkan. A container needs NVIDIA's graphics libraries: start it with NVIDIA_DRIVER_CAPABILITIES=all.";

/** Less is not worth starting a part for; and what is left for ending it and writing. Milliseconds. */
const LEAST = 45_000;
const RESERVE = 10_000;

const values = readOptions();
const parts = new Set(values.only.split(","));
const out = resolve(values.out);
const shapes = values.shapes.split(",");
const isSoftware = values.gpu !== "gpu";
const end = values.within ? Date.now() + Number(values.within) * 60_000 : Infinity;
let environment = { ...process.env };
mkdirSync(out, { recursive: true });
const record = openRecord();

if (values.wheels) await installWheels(resolve(values.wheels));
const hasDriver = (parts.has("torch") && parts.size === 1) || (await findDriver());
if (hasDriver) {
  if (parts.has("doctor")) await part("doctor", doctor);
  if (parts.has("tests")) await part("tests", tests);
}
for (const shape of shapes) {
  for (const kept of KEPT) {
    if (hasDriver && parts.has("bench")) await part(`bench ${shape} ${kept}`, bench, shape, kept);
    if (parts.has("torch")) await part(`torch ${shape} ${kept}`, torch, shape, kept);
  }
}
save();
console.log(`\n${tableOf(record)}\n\n${join(out, "record.json")}`);
const isWhole = Object.values(record.parts).every(({ reason }) => reason === undefined);
process.exit(isWhole ? 0 : 1);

function readOptions() {
  const options = {
    out: { type: "string", default: "hone-gpu-results" },
    shapes: { type: "string", default: "llama-3.2-1b,internlm2-1.8b" },
    tokens: { type: "string", default: "2048" },
    only: { type: "string", default: PARTS.join(",") },
    minutes: { type: "string", default: "4" },
    within: { type: "string" },
    gpu: { type: "string", default: "gpu" },
    python: { type: "string", default: "python3" },
    tests: { type: "string", default: "test/gpu,test/kernels,test/model" },
    wheels: { type: "string" },
    help: { type: "boolean", default: false },
  };
  let given;
  try {
    given = parseArgs({ options }).values;
  } catch (error) {
    refuse(error.message);
  }
  if (given.help) {
    console.log(HELP);
    process.exit(0);
  }
  requireKnown("--shapes", given.shapes, SHAPES);
  requireKnown("--only", given.only, PARTS);
  requireKnown("--gpu", given.gpu, ADAPTERS);
  for (const name of ["tokens", "minutes", "within"]) {
    if (given[name] !== undefined && !/^[1-9]\d*$/.test(given[name]))
      refuse(`--${name} is ${String(given[name])}, no whole number.`);
  }
  return given;
}

function requireKnown(flag, list, known) {
  const wrong = list.split(",").find((value) => !known.includes(value));
  if (wrong !== undefined) refuse(`${flag} has ${wrong}; there are ${known.join(", ")}.`);
}

function refuse(problem) {
  console.error(`${problem}\nhone-gpu/run --help lists what there is.`);
  process.exit(2);
}

/** What earlier calls found, if they were of the same commit, adapter and tokens. */
function openRecord() {
  const file = join(out, "record.json");
  const known = existsSync(file) ? parse(readFileSync(file, "utf8")) : undefined;
  const tokens = Number(values.tokens);
  const same = { commit: commit(), adapter: values.gpu, tokens };
  const isSame = Object.entries(same).every(([name, value]) => known?.[name] === value);
  return {
    ...(isSame ? known : { parts: {}, shapes: {} }),
    ...same,
    date: new Date().toISOString().slice(0, 10),
  };
}

/**
 * Runs a part unless --within says that it was done before, or that there is no time; and keeps what came of it. What
 * failed with time to spare is done: it would again.
 */
async function part(name, work, ...args) {
  if (values.within && record.parts[name]?.isDone) return;
  delete record.parts[name];
  if (left() < LEAST) {
    record.parts[name] = { reason: "not begun: the time was up; call again to go on" };
    return;
  }
  const begun = Date.now();
  const reason = await work(...args).catch((error) => error.message);
  const seconds = Math.round((Date.now() - begun) / 1000);
  record.parts[name] = { isDone: reason === undefined || left() >= LEAST, seconds, reason };
  if (reason !== undefined) console.log(`${name}: ${reason}`);
  save();
}

function left() {
  return end - RESERVE - Date.now();
}

function run(name, command, args, { env = {}, most = Number(values.minutes) * 60_000 } = {}) {
  console.log(`\n== ${name}`);
  return start(command, args, {
    log: join(out, `${name}.log`),
    cwd: root,
    env: { ...environment, ...env },
    limit: Math.min(most, left()),
  });
}

/** Into a folder of their own: the machine's packages stay as they are. */
async function installWheels(folder) {
  const site = join(out, "site");
  if (!existsSync(folder)) {
    record.parts.wheels = { isDone: false, reason: `there is no folder ${folder}` };
    return;
  }
  const wheels = readdirSync(folder).filter((name) => name.endsWith(".whl"));
  const options = ["--no-index", "--no-deps", "--upgrade", "--quiet", "--target", site];
  const files = wheels.map((name) => join(folder, name));
  const { reason } = await run("wheels", values.python, [
    "-m",
    "pip",
    "install",
    ...options,
    ...files,
  ]);
  environment.PYTHONPATH = [site, process.env.PYTHONPATH].filter(Boolean).join(":");
  record.parts.wheels = { isDone: reason === undefined, reason };
}

/** Takes the first way to Vulkan by which Dawn finds the adapter. */
async function findDriver() {
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
  const nvidia = isSoftware ? undefined : await run("nvidia-smi", "nvidia-smi", query);
  record.gpu = nvidia?.code === 0 ? nvidia.output.trim() : undefined;
  delete record.parts.driver;
  let why = "";
  for (const [index, driver] of driversToTry(root, out).entries()) {
    environment = { ...environment, ...driver };
    const args = [CLI, "--gpu", values.gpu, "--tune", "off", "doctor"];
    const { code, reason } = await run(`driver-${index + 1}`, process.execPath, args);
    if (code === 0) return true;
    why = reason;
    delete environment.VK_DRIVER_FILES;
  }
  record.parts.driver = { isDone: false, reason: `${NO_VULKAN} The last try: ${why}` };
  return false;
}

/** What the adapter offers, and which variants of the kernels are the fastest at doctor's own sizes. */
async function doctor() {
  const args = [CLI, "--gpu", values.gpu, "--tune", "quick", "doctor"];
  const { code, output, reason } = await run("doctor", process.execPath, args);
  if (code === 0) record.doctor = output.trim().split("\n");
  return reason;
}

/** File by file: what is ended at the time limit has told of those before. */
async function tests() {
  const done = values.within ? (record.tests ?? []) : [];
  const known = new Set(done.map(({ file }) => file));
  const files = values.tests.split(",").flatMap((folder) =>
    folder.endsWith(".test.ts")
      ? [folder]
      : readdirSync(join(root, folder), { recursive: true })
          .filter((name) => String(name).endsWith(".test.ts"))
          .map((name) => join(folder, String(name))),
  );
  const missing = files.filter((file) => !known.has(file));
  const report = join(out, "tests.jsonl");
  writeFileSync(report, "");
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const reporter = join(here, "test-reporter.mjs");
  const args = [vitest, "run", "--project", "gpu", ...missing, "--reporter", reporter];
  const env = { HONE_ADAPTER: values.gpu, HONE_TEST_REPORT: report };
  const options = { env, ...(values.within && { most: Infinity }) };
  const ran = missing.length === 0 ? {} : await run("tests", process.execPath, args, options);
  const found = readFileSync(report, "utf8").split("\n").filter(Boolean).map(parse);
  record.tests = [...done, ...found];
  record.testFiles = files.length;
  const failed = record.tests.flatMap(({ failures }) => failures).length;
  if (record.tests.length === files.length && failed > 0) return `${failed} failed`;
  return ran.reason;
}

/** In the first way that leads to figures; what there is of them is kept, whatever comes after. */
async function bench(shape, kept) {
  const of = (record.shapes[shape] ??= {});
  // Software tries nothing: compiling takes longer than a variant could win.
  const modes = isSoftware ? ["off"] : Object.keys(TUNES);
  if (!values.within && kept === KEPT[0]) of.failedTunes = []; // asked anew
  of.failedTunes ??= [];
  let reason;
  for (const tune of modes.filter((mode) => !of.failedTunes.includes(mode))) {
    if (left() < LEAST) return reason ?? "the time was up; call again to go on";
    const checkpointing = kept === "inputs" ? "on" : "auto";
    const asked = ["--shape", shape, "--tokens", values.tokens, "--checkpointing", checkpointing];
    const name = `bench-${shape}-${kept}-${tune.replaceAll(" ", "-")}`;
    const file = join(out, `${name}.json`);
    rmSync(file, { force: true }); // an earlier call's
    const options = ["--gpu", values.gpu, ...asked, ...TUNES[tune], "--record", file];
    const ran = await run(name, process.execPath, [join(root, "dist/bench/main.js"), ...options]);
    reason = ran.reason;
    if (existsSync(file)) {
      of.hone = { ...of.hone, [kept]: parse(readFileSync(file, "utf8")) };
      return reason;
    }
    reason ??= `no record came of it; see ${name}.log`;
    // In the time that was left, not in all that it may take: the next call may do better.
    if (!(ran.isLate && left() < LEAST)) of.failedTunes.push(tune);
    save();
  }
  return reason ?? `failed before, with --tune ${of.failedTunes.join(", ")}`;
}

async function torch(shape, kept) {
  const of = (record.shapes[shape] ??= {});
  const file = join(out, `torch-${shape}-${kept}.json`);
  const script = join(here, "torch_qlora.py");
  const asked = ["--shape", shape, "--tokens", values.tokens, "--keep", kept, "--json", file];
  const { code, reason } = await run(`torch-${shape}-${kept}`, values.python, [script, ...asked]);
  of.torch = { ...of.torch, [kept]: code === 0 ? parse(readFileSync(file, "utf8")) : undefined };
  return reason;
}

function save() {
  replace(join(out, "record.json"), `${JSON.stringify(record, null, 2)}\n`);
  replace(join(out, "table.md"), `${tableOf(record)}\n`);
}

/** Whole or not at all: this process may be ended in between, and the next call goes on from what it left. */
function replace(file, text) {
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function commit() {
  const file = join(root, "../commit");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  const { stdout } = spawnSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root });
  return String(stdout ?? "").trim();
}

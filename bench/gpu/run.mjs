// Tests and measures Hone on this machine's GPU, and PyTorch beside it, on weights made at random. One table comes out.
//
//   hone-gpu/run [--out FOLDER] [--shapes a,b] [--tokens N] [--only doctor,tests,bench,torch] [--minutes N] [--gpu NAME]
//
// From pack.mjs's archive, or in a clone as `node bench/gpu/run.mjs`. Every part is a process of its own with a time
// limit; one that fails is a line of the record, and the others go on. FOLDER gets record.json, table.md and the logs.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findDriver } from "./vulkan-driver.mjs";
import { tableOf } from "./table.mjs";

const HELP = [
  "hone-gpu/run [options]",
  "  --out FOLDER     where the record, the table and the logs go (hone-gpu-results)",
  "  --shapes A,B     of llama-3.2-1b, internlm2-1.8b and seedling (the first two)",
  "  --tokens N       of a row (2048)",
  "  --only A,B       of doctor, tests, bench, torch (all)",
  "  --minutes N      the most that one part of one shape may take (4)",
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

const values = readOptions();
const parts = new Set(values.only.split(","));
const out = resolve(values.out);
const shapes = values.shapes.split(",");
const isSoftware = values.gpu !== "gpu";
const environment = { ...process.env, ...findDriver(root, out) };
mkdirSync(out, { recursive: true });
const record = load(join(out, "record.json")) ?? { shapes: {} };
for (const shape of Object.keys(record.shapes)) {
  if (!shapes.includes(shape)) delete record.shapes[shape]; // of another call
}
record.date = new Date().toISOString().slice(0, 10);
record.commit = commit();
record.tokens = Number(values.tokens);

if (values.wheels) await installWheels(resolve(values.wheels));
if (parts.has("doctor")) await doctor();
if (parts.has("tests")) await tests();
for (const shape of shapes) {
  record.shapes[shape] ??= {};
  if (parts.has("bench")) await bench(shape);
  if (parts.has("torch")) await torch(shape);
}
save();
console.log(`\n${tableOf(record)}\n`);
const failures = record.failures?.length ?? 0;
console.log(
  `${join(out, "record.json")}${failures > 0 ? `; ${failures} parts failed, see there` : ""}`,
);
process.exit(failures > 0 ? 1 : 0);

function readOptions() {
  const options = {
    out: { type: "string", default: "hone-gpu-results" },
    shapes: { type: "string", default: "llama-3.2-1b,internlm2-1.8b" },
    tokens: { type: "string", default: "2048" },
    only: { type: "string", default: PARTS.join(",") },
    minutes: { type: "string", default: "4" },
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
  for (const name of ["tokens", "minutes"]) {
    if (!/^[1-9]\d*$/.test(given[name]))
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

/** Into a folder of their own: the machine's packages stay as they are. */
async function installWheels(folder) {
  const site = join(out, "site");
  const wheels = readdirSync(folder).filter((name) => name.endsWith(".whl"));
  const options = ["--no-index", "--no-deps", "--upgrade", "--quiet", "--target", site];
  const files = wheels.map((name) => join(folder, name));
  const run = await start("wheels", values.python, ["-m", "pip", "install", ...options, ...files]);
  environment.PYTHONPATH = [site, process.env.PYTHONPATH].filter(Boolean).join(":");
  note("wheels", run);
}

/** What the adapter offers, and which variants of the kernels are the fastest at doctor's own sizes. */
async function doctor() {
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
  const nvidia = await start("nvidia-smi", "nvidia-smi", query);
  record.gpu = nvidia.code === 0 ? nvidia.text.trim() : undefined;
  const command = [
    join(root, "dist/cli/main.js"),
    "--gpu",
    values.gpu,
    "--tune",
    "quick",
    "doctor",
  ];
  const found = await start("doctor", process.execPath, command);
  record.doctor = found.code === 0 ? found.text.trim().split("\n") : undefined;
  note("doctor", found);
}

async function tests() {
  const report = join(out, "tests.json");
  const run = await start("tests", process.execPath, [
    join(root, "node_modules/vitest/vitest.mjs"), "run", "--project", "gpu", ...values.tests.split(","),
    "--reporter=json", `--outputFile=${report}`,
  ], { HONE_ADAPTER: values.gpu }); // prettier-ignore
  const { numTotalTests, numPassedTests, numFailedTests, numPendingTests, testResults } =
    load(report) ?? {};
  record.tests = {
    total: numTotalTests,
    passed: numPassedTests,
    failed: numFailedTests,
    skipped: numPendingTests,
    failures: (testResults ?? []).flatMap(failuresOf),
  };
  if (numTotalTests === undefined || numFailedTests > 0)
    note("tests", { ...run, code: run.code || 1 });
  save();
}

function failuresOf({ name, message, assertionResults }) {
  const failed = assertionResults.filter(({ status }) => status === "failed");
  const file = name.slice(root.length + 1);
  if (failed.length === 0) return message ? [{ file, message: message.slice(0, 500) }] : [];
  return failed.map(({ fullName, failureMessages }) => ({
    file,
    test: fullName,
    message: failureMessages.join("\n").slice(0, 500),
  }));
}

/** With every variant tried; where that takes too long or takes the driver down, with what five seconds find. */
async function bench(shape) {
  for (const tune of isSoftware ? ["quick"] : ["full", "quick"]) {
    const main = join(root, "dist/bench/main.js");
    const asked = ["--shape", shape, "--tokens", values.tokens, "--tune", tune, "--json"];
    const run = await start(`bench-${shape}-${tune}`, process.execPath, [
      main,
      "--gpu",
      values.gpu,
      ...asked,
    ]);
    record.shapes[shape].hone = parse(run.output);
    note(`bench ${shape}, --tune ${tune}`, {
      ...run,
      code: record.shapes[shape].hone ? 0 : run.code || 1,
    });
    save();
    if (record.shapes[shape].hone) return;
  }
}

async function torch(shape) {
  const file = join(out, `torch-${shape}.json`);
  const run = await start(`torch-${shape}`, values.python, [
    join(here, "torch_qlora.py"), "--shape", shape, "--tokens", values.tokens, "--json", file,
  ]); // prettier-ignore
  record.shapes[shape].torch = run.code === 0 ? load(file) : undefined;
  note(`torch ${shape}`, run);
  save();
}

/** Runs a program with its output shown, kept and logged; it is ended at the time limit. */
function start(name, command, args, env = {}) {
  console.log(`\n== ${name}`);
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: root, env: { ...environment, ...env } });
    let output = "";
    let errors = "";
    const limit = setTimeout(() => child.kill("SIGKILL"), Number(values.minutes) * 60_000);
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => {
      errors += data;
      process.stdout.write(data);
    });
    const end = (code, problem) => {
      clearTimeout(limit);
      writeFileSync(join(out, `${name}.log`), `${output}\n${errors}\n`);
      done({ code, output, errors, text: output || errors, problem });
    };
    child.on("error", (error) => end(1, error.message));
    child.on("close", (code, signal) =>
      end(
        code ?? 1,
        signal ? `ended by ${signal} after ${String(values.minutes)} minutes` : undefined,
      ),
    );
  });
}

function note(part, { code, problem, errors }) {
  record.failures = (record.failures ?? []).filter((failure) => failure.part !== part);
  if (code === 0) return;
  const [last = ""] = errors.trim().split("\n").filter(isNews).slice(-1);
  const reason = `${problem ?? last.trim()} (${join(out, `${part.replaceAll(/[, -]+/g, "-")}.log`)})`;
  record.failures.push({ part, reason });
  console.log(`${part} failed: ${reason}`);
}

/** Dawn's remarks on limits are none, nor are the frames of a stack. */
function isNews(line) {
  return line.trim() !== "" && !/^Warning: max|^\s+at |^Node\.js v/.test(line);
}

function save() {
  writeFileSync(join(out, "record.json"), `${JSON.stringify(record, null, 2)}\n`);
  writeFileSync(join(out, "table.md"), `${tableOf(record)}\n`);
}

function load(file) {
  return existsSync(file) ? parse(readFileSync(file, "utf8")) : undefined;
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
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

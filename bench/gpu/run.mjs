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

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const PARTS = ["doctor", "tests", "bench", "torch"];

const { values } = parseArgs({
  options: {
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
  },
});
if (values.help) {
  console.log(
    [
      "hone-gpu/run [options]",
      "  --out FOLDER     where the record, the table and the logs go (hone-gpu-results)",
      "  --shapes A,B     llama-3.2-1b, internlm2-1.8b, or another of the benchmark's",
      "  --tokens N       of a row (2048)",
      `  --only A,B       of ${PARTS.join(", ")}`,
      "  --minutes N      the most that one part of one shape may take (4)",
      "  --tests A,B      which tests (test/gpu,test/kernels,test/model)",
      "  --gpu NAME       which adapter Hone takes (gpu); llvmpipe and swiftshader try this script out",
      "  --python PATH    the Python that has PyTorch (python3)",
      "  --wheels FOLDER  wheels of bitsandbytes and PEFT, put where that Python finds them",
    ].join("\n"),
  );
  process.exit(0);
}

const parts = new Set(values.only.split(","));
const out = resolve(values.out);
const shapes = values.shapes.split(",");
const environment = { ...process.env, ...findDriver(root, out) };
mkdirSync(out, { recursive: true });
const record = load(join(out, "record.json")) ?? { shapes: {} };
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

/** What the adapter offers, and the variant that each kernel got after trying all. */
async function doctor() {
  const nvidia = await start("nvidia-smi", "nvidia-smi", [
    "--query-gpu=name,driver_version,memory.total",
    "--format=csv,noheader",
  ]);
  record.gpu = nvidia.code === 0 ? nvidia.text.trim() : undefined;
  const found = await start("doctor", process.execPath, [
    join(root, "dist/cli/main.js"), "doctor", "--gpu", values.gpu, "--tune", "full",
  ]); // prettier-ignore
  record.doctor = found.text.trim().split("\n");
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

async function bench(shape) {
  const run = await start(`bench-${shape}`, process.execPath, [
    join(root, "dist/bench/main.js"), "--gpu", values.gpu, "--shape", shape, "--tokens", values.tokens, "--json",
  ]); // prettier-ignore
  record.shapes[shape].hone = parse(run.output);
  if (!record.shapes[shape].hone) note(`bench ${shape}`, { ...run, code: run.code || 1 });
  save();
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
      end(code ?? 1, signal ? `ended by ${signal} after ${values.minutes} minutes` : undefined),
    );
  });
}

function note(part, { code, problem, errors }) {
  record.failures = (record.failures ?? []).filter((failure) => failure.part !== part);
  if (code === 0) return;
  const reason = problem ?? errors.trim().split("\n").slice(-4).join("\n");
  record.failures.push({ part, reason });
  console.log(`${part} failed: ${reason}`);
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

// Hone beside the programs it is measured against, in one run, on one adapter and the same shapes.
//
// Each peer runs in a process of its own and takes turns with Hone; README.md says what each row compares.
// People read the table on stderr; --json prints the record on stdout, and --save writes it to
// bench/results/peers-ADAPTER.json.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openGpu } from "../../src/gpu/device.ts";
import { ADAPTER_CHOICES, findAdapter } from "../../src/hosts/node-gpu.ts";
import { driverVariables } from "./drivers.ts";
import { installPeers } from "./install.ts";
import { benchOnnxRuntime } from "./suites/onnx-runtime.ts";
import { benchQvac } from "./suites/qvac.ts";
import type { Bench } from "./suites/suite.ts";
import { benchJaxJs } from "./suites/jax-js.ts";
import { benchTfjs } from "./suites/tfjs.ts";
import { tuning } from "./tune.ts";
import { formatTable, type Row } from "./table.ts";

/** Of the clone: this file is built into dist/bench-peers/. */
const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = `${root}bench/peers/`;

const SUITES = {
  onnxruntime: benchOnnxRuntime,
  "jax-js": benchJaxJs,
  tfjs: benchTfjs,
  qvac: benchQvac,
} satisfies Record<string, (bench: Bench) => Promise<void>>;
const PEERS = Object.keys(SUITES) as (keyof typeof SUITES)[];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    save: { type: "boolean", default: false },
    gpu: { type: "string", default: process.env["HONE_ADAPTER"] ?? "auto" },
    repetitions: { type: "string", default: "5" },
    tune: { type: "string", default: "quick" },
  },
});
const choice = ADAPTER_CHOICES.find((name) => name === values.gpu && name !== "null");
if (!choice) fail(`--gpu is ${values.gpu}.`, "Use one of: auto, gpu, llvmpipe, swiftshader.");
const mode = (["off", "quick", "full"] as const).find((name) => name === values.tune);
if (!mode) fail(`--tune is ${values.tune}.`, "Use one of: off, quick, full.");
const unknown = positionals.find((name) => !PEERS.some((peer) => peer === name));
if (unknown) fail(`There is no peer ${unknown}.`, `Name some of: ${PEERS.join(", ")}.`);
const wanted = positionals.length > 0 ? PEERS.filter((name) => positionals.includes(name)) : PEERS;

installPeers(folder);
const { adapter, kind } = await findAdapter(choice);
const gpu = await openGpu(adapter);
console.error(`adapter: ${gpu.name}`);
const rows: Row[] = [];
const bench: Bench = {
  gpu,
  isSoftware: gpu.info.isFallbackAdapter,
  place: { folder, environment: driverVariables(kind) },
  tune: tuning(choice, mode),
  repetitions: Number(values.repetitions),
  report(row) {
    rows.push(row);
    console.error(formatTable([row]).split("\n").slice(2).join("\n"));
  },
};
for (const name of wanted) await SUITES[name](bench);

const record = {
  adapter: gpu.name,
  vendor: gpu.info.vendor,
  architecture: gpu.info.architecture,
  node: process.version,
  commit: commitOf(),
  date: new Date().toISOString().slice(0, 10),
  repetitions: bench.repetitions,
  tune: mode,
  rows,
};
console.error(`\n${formatTable(rows)}`);
if (values.json) console.log(JSON.stringify(record, null, 2));
if (values.save) save();
process.exit(0); // Dawn may keep the process alive

function save(): void {
  const results = `${root}bench/results/`;
  mkdirSync(results, { recursive: true });
  const stem = gpu.name
    .replaceAll(/[^a-zA-Z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .toLowerCase();
  writeFileSync(`${results}peers-${stem}.json`, `${JSON.stringify(record, null, 2)}\n`);
  console.error(`saved bench/results/peers-${stem}.json`);
}

function commitOf(): string | undefined {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

function fail(problem: string, remedy: string): never {
  console.error(`Error: ${problem}\n${remedy}`);
  process.exit(2);
}

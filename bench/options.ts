// What the benchmark is asked, checked before anything is measured.
import { parseArgs } from "node:util";
import { messageOf, UserError } from "../src/base/error.ts";
import type { TuneMode } from "../src/engine/tuning/tune.ts";
import { ADAPTER_CHOICES, type AdapterChoice } from "../src/hosts/node-gpu.ts";
import { CHECKPOINTING, type CheckpointingSetting } from "./keeping.ts";
import { SHAPE_NAMES } from "./shapes.ts";

const TUNE_MODES = ["off", "quick", "full"] as const;

const HELP = `npm run bench -- [options]

  --gpu NAME            ${ADAPTER_CHOICES.join(", ")} (auto)
  --model FOLDER        a model to measure (the built-in one)
  --shape NAME          a model's shape with random weights instead: ${SHAPE_NAMES.join(", ")}
  --layers N            that many layers of the shape
  --tokens N            of a micro-batch (256)
  --steps N             that are timed (5)
  --tune MODE           off, quick or full: how far kernel variants are tried (quick)
  --no-matrix           no subgroup matrices, which are experimental in WebGPU
  --checkpointing MODE  auto, on or off (on)
  --scaling             rows of 128 to 4,096 tokens too: minutes on a software adapter
  --json                the record on stdout
  --record FILE         the record into a file, as soon as steps are measured and after each part that follows
  --save                the record into bench/results/

npm run bench -- data   measures data sets instead`;

export interface BenchOptions {
  readonly gpu: AdapterChoice;
  readonly model: string;
  readonly shape: string | undefined;
  readonly layers: number | undefined;
  readonly tokens: number;
  readonly steps: number;
  readonly tune: TuneMode;
  /** Whether to leave subgroup matrices alone. */
  readonly "no-matrix": boolean;
  readonly checkpointing: CheckpointingSetting;
  readonly scaling: boolean;
  readonly json: boolean;
  readonly record: string | undefined;
  readonly save: boolean;
}

/** Throws a UserError that says what is wrong. Undefined after the help, which was asked for. */
export function readOptions(model: string): BenchOptions | undefined {
  const values = parse(model);
  if (values.help) {
    console.log(HELP);
    return undefined;
  }
  if (values.layers !== undefined && values.shape === undefined) {
    throw new UserError("--layers is of a --shape, and none was named.", SEE_HELP);
  }
  return {
    ...values,
    record: values.record,
    gpu: oneOf("--gpu", values.gpu, ADAPTER_CHOICES),
    tune: oneOf("--tune", values.tune, TUNE_MODES),
    checkpointing: oneOf("--checkpointing", values.checkpointing, CHECKPOINTING),
    shape: values.shape && oneOf("--shape", values.shape, SHAPE_NAMES),
    layers: values.layers === undefined ? undefined : count("--layers", values.layers),
    tokens: count("--tokens", values.tokens),
    steps: count("--steps", values.steps),
  };
}

const SEE_HELP = "npm run bench -- --help lists what there is.";

function parse(model: string) {
  try {
    return parseArgs({
      options: {
        gpu: { type: "string", default: process.env["HONE_ADAPTER"] ?? "auto" },
        model: { type: "string", default: model },
        shape: { type: "string" },
        layers: { type: "string" },
        tokens: { type: "string", default: "256" },
        steps: { type: "string", default: "5" },
        tune: { type: "string", default: "quick" },
        "no-matrix": { type: "boolean", default: false },
        checkpointing: { type: "string", default: "on" },
        scaling: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        record: { type: "string" },
        save: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UserError(`${messageOf(error).split(". ")[0]}.`, SEE_HELP);
  }
}

function oneOf<T extends string>(flag: string, value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new UserError(`${flag} is ${value}.`, `Use one of: ${choices.join(", ")}.`);
}

function count(flag: string, value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value);
  throw new UserError(`${flag} is ${value}.`, "Give a whole number from 1 on.");
}

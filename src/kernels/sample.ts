// Chooses the next token from one row of logits, in Hugging Face's order: repetition penalty,
// temperature, top-k, top-p, draw.
import reduceVec4 from "../../shaders/lib/reduce-vec4.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import sampleShader from "../../shaders/sample.wgsl?raw";
import { invariant } from "../base/error.ts";
import type { Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

// Up to this length a row gets a workgroup of 64, whose barriers are cheaper; a longer one gets 256.
const SHORT_ROW = 16_384;

// In place of a row's number: the last real row of the run, step.rows − 1.
const LAST_ROW = 0xffffffff;

const shader = {
  label: "sample",
  source: [step, reduceVec4, sampleShader],
  bindings: {
    logits: "read",
    seen: "read_write",
    token: "read_write",
    drawn: "read_write",
    distribution: "read_write",
  },
  params: { vocab: "u32", row: "u32", lanes: "u32", slots: "u32" },
  usesStep: true,
} as const satisfies Shader<string, string>;

interface SampleInput {
  /** f32 [rows, vocab]. */
  readonly logits: Tensor;
  /** u32 [vocab]: 1 for every token so far, prompt included; the repetition penalty reads it. */
  readonly seen: Tensor;
  /** Which row of logits; the last real one, step.rows − 1, if left out. */
  readonly row?: number;
}

/**
 * Draws one token by step.temperature (0 is greedy), top_k, top_p and repetition_penalty, with a random
 * number that is a function of step.seed, step.step and step.position. Writes its id to `token`,
 * u32 [1], and 1 to its place in `seen`. Row step.position mod slots of `drawn`, u32 [slots, 2], gets the
 * id too, and the bits of its probability by the model alone: the softmax of the row of logits as it is.
 */
export function sample(
  recorder: Recorder,
  { token, drawn, ...input }: SampleInput & { token: Tensor; drawn: Tensor },
): void {
  const { logits, seen } = input;
  const [slots] = matrixShape(drawn);
  requireShape("sample", token, "u32", [1, 1], logits);
  requireShape("sample", drawn, "u32", [slots, 2], logits);
  recorder.dispatch(shader, {
    entry: "forward",
    buffers: { logits, seen, token, drawn },
    ...describe(input, slots),
  });
}

/** The probabilities that `sample` would draw from, f32 [vocab]: 0 where a token is filtered out. */
export function sampleDistribution(
  recorder: Recorder,
  { distribution, ...input }: SampleInput & { distribution: Tensor },
): void {
  const { logits, seen } = input;
  invariant(
    elementCount(distribution.shape) === elementCount(seen.shape),
    () =>
      `sampleDistribution: ${distribution.label} is [${distribution.shape.join(", ")}], ${seen.label} [${seen.shape.join(", ")}]`,
  );
  recorder.dispatch(shader, {
    entry: "distribute",
    buffers: { logits, seen, distribution },
    ...describe(input),
  });
}

function describe({ logits, seen, row }: SampleInput, slots = 1) {
  const [rows, vocab] = matrixShape(logits);
  invariant(
    elementCount(seen.shape) === vocab && (row ?? 0) < rows,
    () =>
      `sample: row ${row ?? "last"} of ${logits.label} [${logits.shape.join(", ")}] with ${seen.label} [${seen.shape.join(", ")}]`,
  );
  const root = vocab > SHORT_ROW ? 16 : 8;
  const lanes = root * root;
  return {
    params: { vocab, row: row ?? LAST_ROW, lanes, slots },
    constants: { LANES: lanes, LANES_ROOT: root },
    grid: [1] as const,
    // Five walks over the row, of about eight operations each.
    flops: 5 * 8 * vocab,
  };
}

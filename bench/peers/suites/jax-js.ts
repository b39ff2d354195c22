// jax-js: one decoder block with LoRA, forward and backward in f32.
import { relativeDifference, type Taken } from "../measure.ts";
import { transpose } from "../numbers.ts";
import {
  type BlockGradients,
  type BlockNumbers,
  type BlockSizes,
  makeBlock,
  OurBlock,
} from "../ours/block.ts";
import { Theirs } from "../theirs.ts";
import { type Bench, compare } from "./suite.ts";

const PEER = "@jax-js/jax 0.1.25";
const TOLERANCE = 1e-3;

const SOFTWARE: BlockSizes = {
  tokens: 128,
  hidden: 512,
  heads: 8,
  kvHeads: 4,
  headSize: 64,
  intermediate: 1536,
  rank: 8,
};
const GPU: BlockSizes = {
  tokens: 1024,
  hidden: 2048,
  heads: 32,
  kvHeads: 8,
  headSize: 64,
  intermediate: 8192,
  rank: 16,
};

export async function benchJaxJs(bench: Bench): Promise<void> {
  const sizes = bench.isSoftware ? SOFTWARE : GPU;
  const { tokens, hidden, heads, kvHeads, intermediate, rank } = sizes;
  const shape = `${tokens} tokens, ${hidden} wide, ${heads}/${kvHeads} heads, ${intermediate}, r ${rank}`;
  const what = "block forward + backward, f32, LoRA";
  let theirs: Theirs | undefined;
  await compare(bench, { peer: PEER, what, shape, unit: "tokens/s", required: 2 }, async () => {
    const child = (theirs = await Theirs.start("jax.mjs", bench.place));
    const numbers = makeBlock(sizes);
    const params = theirNumbers(sizes, numbers);
    const { adapter } = await child.call<{ adapter: string }>("prepare", params);
    await bench.tune(bench.gpu, { ...sizes, act: "f32" });
    const ours = await OurBlock.create(bench.gpu, sizes, numbers);
    return {
      theirs: { run: () => child.call<Taken>("run") },
      ours,
      work: tokens,
      difference: async () =>
        largestDifference(await child.call<BlockGradients>("result"), await ours.result()),
      tolerance: TOLERANCE,
      adapter,
      free: () => ours.free(),
    };
  });
  theirs?.end();
}

/** The worst of dx and every gradient. */
function largestDifference(theirs: BlockGradients, ours: BlockGradients): number {
  const names = Object.keys(ours.gradients);
  const differences = names.map((name) =>
    relativeDifference(theirs.gradients[name] ?? [], ours.gradients[name] ?? []),
  );
  return Math.max(relativeDifference(theirs.dx, ours.dx), ...differences);
}

const shaped = (data: Float32Array, ...shape: number[]) => ({ data, shape });

/** As jax-js is given them: W as JAX code keeps it, [inputs, outputs]. */
function theirNumbers(sizes: BlockSizes, numbers: BlockNumbers) {
  const { tokens, hidden, headSize, rank } = sizes;
  const { modules, epsilon, scale } = numbers;
  const weights: Record<string, ReturnType<typeof shaped>> = {};
  const lora: Record<string, ReturnType<typeof shaped>> = {};
  for (const [name, { weight, outputs, inputs, a, b }] of modules) {
    weights[name] = shaped(transpose(weight, outputs, inputs), inputs, outputs);
    lora[`${name}.a`] = shaped(a, rank, inputs);
    lora[`${name}.b`] = shaped(b, outputs, rank);
  }
  const table = (data: Float32Array) => shaped(data, tokens, headSize / 2);
  return {
    sizes: { ...sizes, epsilon, scale },
    x: shaped(numbers.x, tokens, hidden),
    dy: shaped(numbers.dy, tokens, hidden),
    cos: table(numbers.cos),
    sin: table(numbers.sin),
    norms: {
      attention: shaped(numbers.attentionNorm, hidden),
      mlp: shaped(numbers.mlpNorm, hidden),
    },
    weights,
    lora,
  };
}

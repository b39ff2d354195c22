// The whole tiny model, forward and backward, put together from the references beside this file.
//
// PyTorch's autograd and these hand-written gradients were made apart; where the two agree, a
// kernel may be judged by either. Everything lies on one token axis, and all sums are f64.
import { attention, attentionBackward, combineHeads, type AttentionLayout } from "./attention.ts";
import { crossEntropy, NO_TARGET } from "./cross-entropy.ts";
import { embed } from "./embed.ts";
import { glu, gluBackward } from "./glu.ts";
import { lora, loraBackward } from "./lora.ts";
import { matmulNn, matmulNt } from "./matmul.ts";
import { rmsNorm, rmsNormBackward } from "./rms-norm.ts";
import { inverseFrequencies, rope, ropeBackward, type Llama3Scaling } from "./rope.ts";

/** The fields of config.json that the mathematics needs. */
export interface LlamaConfig {
  vocab_size: number;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim?: number;
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling: Llama3Scaling | null;
  tie_word_embeddings: boolean;
}

/** Tensors under Hugging Face's and PEFT's names. LoRA is on all seven linear layers of a block. */
export interface Llama {
  config: LlamaConfig;
  weights: Map<string, ArrayLike<number>>;
  adapter: Map<string, ArrayLike<number>>;
  rank: number;
  scale: number;
}

/** Each field is [tokens]; `targets` is shifted already and holds NO_TARGET where there is none. */
interface Batch {
  ids: number[];
  targets: number[];
  positions: number[];
  segmentStart: number[];
}

/** Logits [tokens, vocabulary], the mean loss over label tokens, and every adapter gradient. */
export function llama(
  model: Llama,
  batch: Batch,
): { logits: Float64Array; loss: number; gradients: Map<string, Float64Array> } {
  const { config, weights } = model;
  const [rows, size] = [batch.ids.length, config.hidden_size];
  const norm = { rows, size, epsilon: config.rms_norm_eps };
  const table = weights.get("model.embed_tokens.weight")!;
  const head = config.tie_word_embeddings ? table : weights.get("lm_head.weight")!;
  const lastNorm = weights.get("model.norm.weight")!;
  const gradients = new Map<string, Float64Array>();

  let x = embed(table, batch.ids, size);
  const blocks = Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const block = runBlock(model, `model.layers.${layer}`, x, batch, gradients);
    x = block.output;
    return block;
  });
  const normed = rmsNorm(x, lastNorm, norm);
  const logits = matmulNt(normed, head, rows, config.vocab_size, size);

  const labels = batch.targets.filter((target) => target !== NO_TARGET).length;
  const shape = { rows, vocabulary: config.vocab_size, factor: 1 / labels };
  const { losses, dlogits } = crossEntropy(logits, batch.targets, shape);

  const dNormed = matmulNn(dlogits, head, rows, size, config.vocab_size);
  let dx = rmsNormBackward(x, lastNorm, dNormed, norm);
  for (const block of blocks.toReversed()) dx = block.backward(dx);
  return { logits, loss: losses.reduce((sum, loss) => sum + loss, 0) / labels, gradients };
}

/** One decoder block. Its backward takes dOutput, fills `gradients` and returns dInput. */
function runBlock(
  model: Llama,
  name: string,
  input: Float64Array,
  batch: Batch,
  gradients: Map<string, Float64Array>,
) {
  const { config, weights } = model;
  const rows = batch.ids.length;
  const norm = { rows, size: config.hidden_size, epsilon: config.rms_norm_eps };
  const gated = { rows, size: config.intermediate_size, activation: "silu" as const };
  const linear = (part: string, x: Float64Array) =>
    runLinear(model, `${name}.${part}`, x, rows, gradients);

  const { layout, widths, turned } = sizes(config, rows);
  const frequencies = inverseFrequencies(layout.headSize, config.rope_theta, config.rope_scaling);
  const inputNorm = weights.get(`${name}.input_layernorm.weight`)!;
  const h = rmsNorm(input, inputNorm, norm);
  const projections = ["q_proj", "k_proj", "v_proj"].map((part) => linear(`self_attn.${part}`, h));
  const straight = joinColumns(
    rows,
    projections.map((part) => part.y),
  );
  const qkv = rope(straight, batch.positions, frequencies, turned);
  const { o } = attention(qkv, batch.segmentStart, layout);
  const mixed = linear("self_attn.o_proj", o);
  const middle = add(input, mixed.y);

  const middleNorm = weights.get(`${name}.post_attention_layernorm.weight`)!;
  const g = rmsNorm(middle, middleNorm, norm);
  const halves = ["gate_proj", "up_proj"].map((part) => linear(`mlp.${part}`, g));
  const gateUp = joinColumns(
    rows,
    halves.map((half) => half.y),
  );
  const down = linear("mlp.down_proj", glu(gateUp, gated));

  function backward(dOutput: Float64Array): Float64Array {
    const dGateUp = gluBackward(gateUp, down.backward(dOutput), gated);
    const dHalves = splitColumns(rows, dGateUp, [gated.size, gated.size]);
    const dG = add(...halves.map((half, i) => half.backward(dHalves[i]!)));
    const dMiddle = add(dOutput, rmsNormBackward(middle, middleNorm, dG, norm));

    const dO = mixed.backward(dMiddle);
    const dHeads = attentionBackward(qkv, batch.segmentStart, dO, layout);
    const dQkv = combineHeads(dHeads, layout);
    const dStraight = ropeBackward(dQkv, batch.positions, frequencies, turned);
    const dParts = splitColumns(rows, dStraight, widths);
    const dH = add(...projections.map((part, i) => part.backward(dParts[i]!)));
    return add(dMiddle, rmsNormBackward(input, inputNorm, dH, norm));
  }
  return { output: add(middle, down.y), backward };
}

/** The frozen layer with its adapter. */
function runLinear(
  { weights, adapter, rank, scale }: Llama,
  name: string,
  x: Float64Array,
  tokens: number,
  gradients: Map<string, Float64Array>,
) {
  const w = weights.get(`${name}.weight`)!;
  const [nameA, nameB] = ["lora_A", "lora_B"].map((ab) => `base_model.model.${name}.${ab}.weight`);
  const [a, b] = [adapter.get(nameA!)!, adapter.get(nameB!)!];
  const inputs = x.length / tokens;
  const outputs = w.length / inputs;
  const shape = { tokens, inputs, outputs, rank };
  const branch = lora(x, a, b, scale, null, shape);
  return {
    y: add(matmulNt(x, w, tokens, outputs, inputs), branch),
    backward(dy: Float64Array): Float64Array {
      const { dA, dB, dx } = loraBackward(x, a, b, dy, scale, null, shape);
      gradients.set(nameA!, dA);
      gradients.set(nameB!, dB);
      return add(matmulNn(dy, w, tokens, inputs, outputs), dx);
    },
  };
}

/** Rows of [q | k | v]: where each head starts, how wide each part is, and which heads turn. */
function sizes(config: LlamaConfig, tokens: number) {
  const [heads, kvHeads] = [config.num_attention_heads, config.num_key_value_heads];
  const headSize = config.head_dim ?? config.hidden_size / heads;
  const rowSize = (heads + 2 * kvHeads) * headSize;
  const layout: AttentionLayout = {
    tokens,
    heads,
    kvHeads,
    headSize,
    rowSize,
    qColumn: (head) => head * headSize,
    kColumn: (head) => (heads + head) * headSize,
    vColumn: (head) => (heads + kvHeads + head) * headSize,
  };
  const headColumns = Array.from({ length: heads + kvHeads }, (_, head) => head * headSize);
  return {
    layout,
    widths: [heads, kvHeads, kvHeads].map((count) => count * headSize),
    turned: { tokens, rowSize, headSize, headColumns },
  };
}

/** Parts of [rows, width] each, side by side in one row. */
function joinColumns(rows: number, parts: Float64Array[]): Float64Array {
  const joined = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (const part of parts) {
      const width = part.length / rows;
      joined.set(part.subarray(row * width, (row + 1) * width), at);
      at += width;
    }
  }
  return joined;
}

/** The way back from joinColumns. */
function splitColumns(rows: number, joined: Float64Array, widths: number[]): Float64Array[] {
  const parts = widths.map((width) => new Float64Array(rows * width));
  let at = 0;
  for (let row = 0; row < rows; row++) {
    parts.forEach((part, p) => {
      part.set(joined.subarray(at, at + widths[p]!), row * widths[p]!);
      at += widths[p]!;
    });
  }
  return parts;
}

function add(...parts: Float64Array[]): Float64Array {
  return parts[0]!.map((_, i) => parts.reduce((sum, part) => sum + part[i]!, 0));
}

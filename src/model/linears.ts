// The linear maps of a model: which modules are fused into one matrix, and their shapes.
import type { Architecture } from "./architecture.ts";
import type { LinearName } from "./families.ts";

/** One module of the Hugging Face model inside a fused map: some of its output rows. */
export interface Segment {
  /** "model.layers.0.self_attn.q_proj": the name without ".weight". */
  readonly path: string;
  readonly rows: number;
}

/** y = x · Wᵀ with W [outputs, inputs], the segments' rows one after the other. */
export interface LinearShape {
  readonly label: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly segments: readonly Segment[];
  /** Whether every segment has a bias, f32 [rows], beside its weight. */
  readonly hasBias: boolean;
  /** Numbers the segments of the whole model; keys dropout's random numbers. */
  readonly moduleId: number;
}

/** The four maps of a decoder block. */
export type BlockLinears = Readonly<Record<LinearName, LinearShape>>;

// Module ids per layer; more than the segments of any family.
const IDS_PER_LAYER = 16;

/** The frozen maps of a layer, by name. */
export function blockLinears(architecture: Architecture, layer: number): BlockLinears {
  const { family, hidden, heads, kvHeads, headSize, intermediate, biased } = architecture;
  const prefix = family.layerPrefix(layer);
  const shape = (
    map: LinearName,
    label: string,
    inputs: number,
    modules: readonly string[],
    rows: readonly number[],
    id: number,
  ): LinearShape => {
    const outputs = rows.reduce((sum, count) => sum + count, 0);
    return {
      label: `layers.${layer}.${label}`,
      inputs,
      outputs,
      // A family that keeps one fused matrix has one module for all rows.
      segments: modules.map((module, i) => ({
        path: `${prefix}.${module}`,
        rows: modules.length === 1 ? outputs : (rows[i] ?? 0),
      })),
      hasBias: biased.includes(map),
      moduleId: layer * IDS_PER_LAYER + id,
    };
  };
  const attention = heads * headSize;
  const keys = kvHeads * headSize;
  return {
    qkv: shape("qkv", "qkv", hidden, family.qkv, [attention, keys, keys], 0),
    attentionOut: shape(
      "attentionOut",
      "attention_out",
      attention,
      [family.attentionOut],
      [hidden],
      4,
    ),
    gateUp: shape("gateUp", "gate_up", hidden, family.gateUp, [intermediate, intermediate], 6),
    down: shape("down", "down", intermediate, [family.down], [hidden], 9),
  };
}

/** The map from the last hidden row to logits: no part of a layer, and adapted by some runs. */
export function headLinear(architecture: Architecture): LinearShape {
  const { family, hidden, vocab, layers } = architecture;
  return {
    label: "head",
    inputs: hidden,
    outputs: vocab,
    segments: [{ path: family.head, rows: vocab }],
    hasBias: false,
    moduleId: layers * IDS_PER_LAYER,
  };
}

/** All fused maps of the model, layer by layer, the head last. */
export function allLinears(architecture: Architecture): LinearShape[] {
  const blocks = Array.from({ length: architecture.layers }, (_, layer) =>
    Object.values(blockLinears(architecture, layer)),
  );
  return [...blocks.flat(), headLinear(architecture)];
}

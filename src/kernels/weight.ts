// A frozen weight as kernels read it: stored as numbers, in whatever type its file has, or as NF4.
import { invariant } from "../base/error.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";
import widenBf16 from "../../shaders/lib/widen-bf16.wgsl?raw";
import widenF16 from "../../shaders/lib/widen-f16.wgsl?raw";
import widenNative from "../../shaders/lib/widen-native.wgsl?raw";

/** How the numbers of a weight lie in memory: as the tensor's dtype says, or as pairs of 16 bits in u32. */
export type WeightKind = "native" | "packed-f16" | "packed-bf16";

/** A weight stored as numbers; row-major, one row an output. The inputs are a multiple of 4. */
export interface PlainWeight {
  readonly tensor: Tensor;
  readonly shape: readonly [outputs: number, inputs: number];
  readonly kind: WeightKind;
}

/** A weight as NF4; row-major, one row an output. Blocks of 64 run over the flat array. */
export interface Nf4Weight {
  /** u32 [⌈outputs · inputs / 8⌉]: eight codes a word, in bitsandbytes' order. */
  readonly codes: Tensor;
  /** f32 [⌈outputs · inputs / 64⌉]. */
  readonly absmax: Tensor;
  readonly shape: readonly [outputs: number, inputs: number];
}

/** The text that defines `widen` for each kind. */
export const WIDEN_SOURCE: Readonly<Record<WeightKind, string>> = {
  native: widenNative,
  "packed-f16": widenF16,
  "packed-bf16": widenBf16,
};

/** The WGSL type of four neighboring weights in memory. */
export function quadType({ tensor, kind }: Pick<PlainWeight, "tensor" | "kind">): string {
  return kind === "native" ? `vec4<${tensor.dtype}>` : "vec2u";
}

/** Checks a weight for a product. */
export function checkWeight(weight: PlainWeight | Nf4Weight): void {
  const [outputs, inputs] = weight.shape;
  invariant(inputs % 4 === 0, () => `matmul: ${outputs} × ${inputs} weights, no multiple of 4`);
  checkMemory("matmul", weight);
}

/** Checks that a weight's memory is as long as its shape says. */
export function checkMemory(kernel: string, weight: PlainWeight | Nf4Weight): void {
  const { held, label } = "codes" in weight ? nf4Memory(weight) : plainMemory(weight);
  invariant(
    held >= elementCount(weight.shape),
    () => `${kernel}: ${label} has room for ${held} weights, not for ${weight.shape.join(" × ")}`,
  );
}

function nf4Memory({ codes, absmax }: Nf4Weight) {
  const held = Math.min(elementCount(codes.shape) * 8, elementCount(absmax.shape) * 64);
  return { held, label: `${codes.label} with ${absmax.label}` };
}

function plainMemory({ tensor, kind }: PlainWeight) {
  const held = elementCount(tensor.shape) * (kind === "native" ? 1 : 2);
  return { held, label: tensor.label };
}

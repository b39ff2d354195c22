// How keys and values of earlier tokens are kept: as they are, as f16, or as bytes with a scale for every
// token and head.
import type { Gpu } from "../gpu/device.ts";
import { requireShape, type StoredTensor, type Tensor } from "../gpu/tensor.ts";
import cachePlain from "../../shaders/lib/cache-plain.wgsl?raw";
import cacheScaled from "../../shaders/lib/cache-scaled.wgsl?raw";
import narrowF16 from "../../shaders/lib/narrow-f16.wgsl?raw";
import narrowInt8 from "../../shaders/lib/narrow-int8.wgsl?raw";
import narrowNative from "../../shaders/lib/narrow-native.wgsl?raw";
import widenF16 from "../../shaders/lib/widen-f16.wgsl?raw";
import widenInt8 from "../../shaders/lib/widen-int8.wgsl?raw";
import widenNative from "../../shaders/lib/widen-native.wgsl?raw";
import type { AttentionLayout } from "./attention-layout.ts";

/** `native` is the type of activations; `f16` is pairs in u32, for devices that compute in f32. */
export type CacheStorage = "native" | "f16" | "int8";

/** The keys and values of one layer. */
export interface KvCache<T extends Tensor = Tensor> {
  readonly storage: CacheStorage;
  /** [capacity, kvHeads · headSize]: f32 or f16, or as many numbers in u32. */
  readonly keys: T;
  /** As keys. */
  readonly values: T;
  /** f32 [capacity, kvHeads] each: what the bytes of a head are 127ths of. */
  readonly scales?: { readonly keys: T; readonly values: T } | undefined;
}

/** The text with which shaders read and write each storage. */
export const CACHE_SOURCES = {
  native: { widen: widenNative, narrow: narrowNative, scales: cachePlain },
  f16: { widen: widenF16, narrow: narrowF16, scales: cachePlain },
  int8: { widen: widenInt8, narrow: narrowInt8, scales: cacheScaled },
} as const;

/** What `make` makes for each storage. */
export function byStorage<T>(
  make: (storage: CacheStorage) => T,
): Readonly<Record<CacheStorage, T>> {
  return { native: make("native"), f16: make("f16"), int8: make("int8") };
}

/** A cache's tensors by the names of shaders' bindings. */
export function cacheBuffers({ keys, values, scales }: KvCache) {
  return { keys, values, ...(scales && { key_scales: scales.keys, value_scales: scales.values }) };
}

/** Numbers in an element of the tensors. */
const PER_ELEMENT = { native: 1, f16: 2, int8: 4 } as const;

/** The WGSL type of four neighboring numbers of a head. */
export function cacheQuad({ storage, keys }: KvCache): string {
  return { native: `vec4<${keys.dtype}>`, f16: "vec2u", int8: "u32" }[storage];
}

/** An empty cache of one layer. Whoever calls this frees its `cacheTensors`. */
export function allocateCache(
  gpu: Gpu,
  label: string,
  storage: CacheStorage,
  { capacity, width, kvHeads, act }: CacheShape,
): KvCache<StoredTensor> {
  const dtype = storage === "native" ? act : "u32";
  const shape = [capacity, width / PER_ELEMENT[storage]];
  const make = (part: string) => gpu.allocate(`${label}.${part}`, dtype, shape);
  const makeScales = (part: string) => gpu.allocate(`${label}.${part}`, "f32", [capacity, kvHeads]);
  return {
    storage,
    keys: make("keys"),
    values: make("values"),
    ...(storage === "int8" && {
      scales: { keys: makeScales("key_scales"), values: makeScales("value_scales") },
    }),
  };
}

export interface CacheShape {
  /** Tokens. */
  readonly capacity: number;
  /** kvHeads · headSize. */
  readonly width: number;
  readonly kvHeads: number;
  readonly act: "f32" | "f16";
}

/** All that a cache holds on the GPU. */
export function cacheTensors({ keys, values, scales }: KvCache<StoredTensor>): StoredTensor[] {
  return [keys, values, ...(scales ? [scales.keys, scales.values] : [])];
}

/** Checks a cache against the heads of `qkv`. Returns the tokens it has room for. */
export function checkCache(
  kernel: string,
  qkv: Tensor,
  { storage, keys, values, scales }: KvCache,
  { kvHeads, headSize }: AttentionLayout,
): number {
  const [capacity = 0] = keys.shape;
  const dtype = storage === "native" ? qkv.dtype : "u32";
  const width = (kvHeads * headSize) / PER_ELEMENT[storage];
  requireShape(kernel, keys, dtype, [capacity, width], qkv);
  requireShape(kernel, values, dtype, [capacity, width], keys);
  for (const scale of scales ? [scales.keys, scales.values] : []) {
    requireShape(kernel, scale, "f32", [capacity, kvHeads], keys);
  }
  return capacity;
}

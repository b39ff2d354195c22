// Reads the f32 safetensors files of test/fixtures/torch, and nothing more than those need.
import { readFileSync } from "node:fs";

const TORCH_FIXTURES = new URL("../fixtures/torch/", import.meta.url);

interface FixtureTensor {
  shape: number[];
  values: Float32Array;
}

/** Every tensor of `path`, which is relative to test/fixtures/torch. */
export function readTensors(path: string): Map<string, FixtureTensor> {
  const file = readFileSync(new URL(path, TORCH_FIXTURES));
  const bytes = new Uint8Array(file).buffer;
  const headerBytes = Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, headerBytes))) as {
    [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
  };
  delete header["__metadata__"];
  const tensors = Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => {
    if (dtype !== "F32") throw new Error(`${path}: ${name} is ${dtype}, and fixtures are F32`);
    const [start, end] = data_offsets.map((offset) => 8 + headerBytes + offset);
    return [name, { shape, values: new Float32Array(bytes.slice(start, end)) }] as const;
  });
  return new Map(tensors);
}

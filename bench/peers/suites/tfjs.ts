// TensorFlow.js on WebGPU: an f32 product forward, and forward with the gradient of its input.
import { relativeDifference, type Taken } from "../measure.ts";
import { squareWeight, uniform } from "../numbers.ts";
import { OurProducts, productSizes } from "../ours/products.ts";
import { Theirs } from "../theirs.ts";
import { type Bench, compare } from "./suite.ts";

const PEER = "@tensorflow/tfjs-backend-webgpu 4.22.0";
const TOLERANCE = 1e-4;

export async function benchTfjs(bench: Bench): Promise<void> {
  const rows = 512;
  const size = bench.isSoftware ? 1024 : 4096;
  const repeats = bench.isSoftware ? 1 : 32;
  let theirs: Theirs | undefined;
  for (const kind of ["forward", "gradient"] as const) {
    const what = kind === "forward" ? "f32 forward" : "f32 forward + dX";
    const shape = `${rows} × ${size} × ${size}`;
    const subject = { peer: PEER, what, shape, unit: "GFLOP/s", required: 3 };
    await compare(bench, subject, async () => {
      theirs ??= await Theirs.start("tfjs.mjs", bench.place);
      const child = theirs;
      const x = uniform(rows * size, 1, 1);
      const dy = uniform(rows * size, 1, 3);
      const weight = squareWeight(size, 2);
      const params = { kind, x, dy, w: weight, rows, size, repeats };
      const { adapter } = await child.call<{ adapter: string }>("prepare", params);
      const task = { kind, type: "f32", rows, size, repeats, x, dy, weight } as const;
      await bench.tune(bench.gpu, productSizes(task));
      const ours = await OurProducts.create(bench.gpu, task);
      const products = kind === "forward" ? repeats : 2 * repeats;
      return {
        theirs: { run: () => child.call<Taken>("run") },
        ours,
        work: (2 * rows * size * size * products) / 1e9,
        difference: async () =>
          relativeDifference(await child.call<Float32Array>("result"), ours.result()),
        tolerance: TOLERANCE,
        adapter,
        free: () => ours.free(),
      };
    });
  }
  theirs?.end();
}

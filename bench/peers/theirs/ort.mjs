// ONNX Runtime's WebGPU provider. It computes on the WebGPU device or not at all: no operator may fall back.
import * as ort from "onnxruntime-node";
import { loadedDrivers, serve, timed } from "./serve.mjs";

let session;
let feeds;
let result;

serve({
  /** Compiles a model and keeps its one input. */
  async prepare({ model, input, shape, type }) {
    await session?.release();
    session = await ort.InferenceSession.create(model, {
      executionProviders: ["webgpu"],
      // What the graph says is what runs: nothing may be computed beforehand, since all is constant but x.
      graphOptimizationLevel: "basic",
      extra: { session: { disable_cpu_ep_fallback: "1" } },
    });
    const element = type === "f16" ? "float16" : "float32";
    feeds = { x: new ort.Tensor(element, input, shape) };
    return { adapter: loadedDrivers().join(", ") };
  },
  async run() {
    return timed(async () => {
      ({ y: result } = await session.run(feeds));
    });
  },
  result: () => result.data,
});

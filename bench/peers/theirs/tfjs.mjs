// TensorFlow.js on its WebGPU backend.
import { adapterName } from "./shim.mjs";
import { serve, timed } from "./serve.mjs";

Object.assign(globalThis, {
  window: globalThis,
  document: { createElement: () => ({ getContext: () => null, style: {} }) },
});
const tf = await import("@tensorflow/tfjs");
await import("@tensorflow/tfjs-backend-webgpu");

let record;
let result;

serve({
  async prepare({ kind, x, dy, w, rows, size, repeats }) {
    await tf.setBackend("webgpu");
    await tf.ready();
    if (tf.getBackend() !== "webgpu") throw new Error(`runs on ${tf.getBackend()}`);
    const xs = tf.tensor2d(x, [rows, size]);
    const ws = tf.tensor2d(w, [size, size]);
    const dys = tf.tensor2d(dy, [rows, size]);
    const forward = (input) => {
      let y = input;
      for (let i = 0; i < repeats; i++) y = tf.matMul(y, ws, false, true);
      return y;
    };
    const gradient = tf.grad(forward); // by x alone: the weight is no argument of `forward`
    record = () => tf.tidy(() => (kind === "forward" ? forward(xs) : gradient(xs, dys)));
    return { adapter: await adapterName() };
  },
  run() {
    return timed(async () => {
      const y = record();
      result = await y.data();
      y.dispose();
    });
  },
  result: () => result,
});

// jax-js on WebGPU: one decoder block with LoRA, forward and backward in f32, compiled as one function.
//
// Arrays are counted: an operation consumes what it is given, unless it is given `.ref`.
import { adapterName } from "./shim.mjs";
import { serve, timed } from "./serve.mjs";

// Node 20 has no iterator helpers.
if (!globalThis.Iterator?.prototype?.map) {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([].values()));
  const helpers = {
    map: (items, change) => items.map(change),
    filter: (items, test) => items.filter(test),
    toArray: (items) => items,
    some: (items, test) => items.some(test),
    every: (items, test) => items.every(test),
    reduce: (items, ...rest) => items.reduce(...rest),
    forEach: (items, act) => items.forEach(act),
  };
  for (const [name, help] of Object.entries(helpers)) {
    Object.defineProperty(prototype, name, {
      configurable: true,
      value(...given) {
        return help([...this], ...given);
      },
    });
  }
}
const { defaultDevice, grad, init, jit, nn, numpy: np, tree } = await import("@jax-js/jax");

const matrix = ({ data, shape }) => np.array(data).reshape(shape);

let step;
let operands;
let result;

serve({
  /** `weights` and `lora`: by module, row-major; W as [inputs, outputs], A [rank, inputs], B [outputs, rank]. */
  async prepare({ sizes, x, dy, cos, sin, norms, weights, lora }) {
    const devices = await init("webgpu");
    if (!devices.includes("webgpu")) throw new Error(`found only ${devices.join(", ")}`);
    defaultDevice("webgpu");
    const matrices = (named) =>
      Object.fromEntries(Object.entries(named).map(([name, one]) => [name, matrix(one)]));
    operands = [matrix(x), matrices(lora), matrices(weights), matrices({ ...norms, dy, cos, sin })];
    const loss = lossOf(sizes);
    step = jit((...given) => grad(loss, { argnums: [0, 1] })(...given));
    return { adapter: await adapterName() };
  },
  run() {
    return timed(async () => {
      if (result) tree.dispose(result);
      result = step(...operands.map((operand) => tree.ref(operand)));
      await result[0].ref.data();
    });
  },
  async result() {
    const [dx, gradients] = result;
    const named = {};
    for (const [name, array] of Object.entries(gradients)) named[name] = await array.ref.data();
    return { dx: await dx.ref.data(), gradients: named };
  },
});

/** Σ block(x) ∘ dy. */
function lossOf({ tokens, heads, kvHeads, headSize, epsilon, scale }) {
  return (x, lora, weights, { dy, attention, mlp, cos, sin }) => {
    const linear = (name, input) => {
      const low = np.matmul(input.ref, np.transpose(lora[`${name}.a`]));
      const added = np.matmul(low, np.transpose(lora[`${name}.b`])).mul(scale);
      return np.matmul(input, weights[name]).add(added);
    };
    const rotate = (input, count) => {
      const whole = input.reshape([tokens, count, 2, headSize / 2]);
      const [first, second] = np.split(whole, 2, 2);
      const [c, s] = [cos, sin].map((table) => table.ref.reshape([tokens, 1, 1, headSize / 2]));
      const turned = [
        first.ref.mul(c.ref).sub(second.ref.mul(s.ref)),
        second.mul(c).add(first.mul(s)),
      ];
      return np.concatenate(turned, 2).reshape([tokens, count, headSize]);
    };
    const normed = rmsNorm(x.ref, attention, epsilon);
    const q = rotate(linear("q", normed.ref), heads);
    const k = rotate(linear("k", normed.ref), kvHeads);
    const v = linear("v", normed).reshape([tokens, kvHeads, headSize]);
    cos.dispose();
    sin.dispose();
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true });
    const mid = x.add(linear("o", attended.reshape([tokens, heads * headSize])));
    const midNormed = rmsNorm(mid.ref, mlp, epsilon);
    const gate = nn.silu(linear("gate", midNormed.ref));
    const hidden = gate.mul(linear("up", midNormed));
    const out = mid.add(linear("down", hidden));
    return np.sum(out.mul(dy));
  };
}

function rmsNorm(x, weight, epsilon) {
  const meanSquare = np.mean(x.ref.mul(x.ref), -1, { keepdims: true });
  return x.div(np.sqrt(meanSquare.add(epsilon))).mul(weight);
}

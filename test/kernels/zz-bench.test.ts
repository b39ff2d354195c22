import { test } from "vitest";
import { attentionForward, attentionRowDot, attentionBackwardKeys, attentionBackwardQueries } from "../../src/kernels/attention.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { randomF32, testGpu, uploadF32, uploadU32 } from "../gpu.ts";
const gpu = await testGpu();
test("bench", async () => {
  for (const [T, H, G, D] of [[256, 4, 2, 64], [256, 8, 4, 32], [256, 2, 1, 128]] as const) {
    const stride = (H + 2 * G) * D;
    const layout = { heads: H, kvHeads: G, headSize: D, stride, qGroupStride: (H / G) * D, kBase: H * D, vBase: (H + G) * D, kStride: D };
    const qkv = uploadF32(gpu, "qkv", [T, stride], randomF32(T * stride, 1));
    const segmentStart = uploadU32(gpu, "s", [T], new Uint32Array(T));
    const dO = uploadF32(gpu, "dO", [T, H * D], randomF32(T * H * D, 2));
    const o = uploadF32(gpu, "o", [T, H * D], randomF32(T * H * D, 2));
    const lse = uploadF32(gpu, "lse", [T, H], new Float32Array(T * H));
    const rowDot = uploadF32(gpu, "rd", [T, H], new Float32Array(T * H));
    const dqkv = uploadF32(gpu, "dqkv", [T, stride], new Float32Array(T * stride));
    const all = { qkv, segmentStart, dO, o, lse, rowDot, dqkv, layout };
    for (const [name, f] of Object.entries({ f: attentionForward, rd: attentionRowDot, bk: attentionBackwardKeys, bq: attentionBackwardQueries })) {
      const ws = new Workspace(gpu), st = new StepScalars(gpu);
      const r = new Recorder(gpu, "b", ws, st);
      f(r, all);
      const t0 = performance.now();
      const cpu0 = process.cpuUsage();
      const p = await r.build();
      const t1 = performance.now();
      p.run(); await gpu.finish();
      const t2 = performance.now();
      const cpu1 = process.cpuUsage(cpu0);
      const c2 = process.cpuUsage();
      for (let k = 0; k < 3; k++) p.run();
      await gpu.finish();
      const t3 = performance.now();
      const c3 = process.cpuUsage(c2);
      console.log(T, H, D, name, "build", (t1 - t0).toFixed(0), "first", (t2 - t1).toFixed(0), "cpu", (cpu1.user / 1e3).toFixed(0), "run", ((t3 - t2) / 3).toFixed(1), "cpu", (c3.user / 3e3).toFixed(1), "GF/s", (p.flops * 3 / (t3 - t2) / 1e6).toFixed(2));
    }
  }
});

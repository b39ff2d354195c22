import { test } from "vitest";
import { matmulBackward, matmulForward, type PlainWeight } from "../../src/kernels/matmul.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { nf4Gemv } from "../../src/kernels/nf4-gemv.ts";
import { dequantize } from "../../src/kernels/dequantize.ts";
import { randomF32, testGpu, uploadF32, uploadU32 } from "../gpu.ts";
const gpu = await testGpu();
async function bench(name: string, flops: number, record: (r: Recorder) => void) {
  const ws = new Workspace(gpu), sc = new StepScalars(gpu);
  const r = new Recorder(gpu, "b", ws, sc);
  record(r);
  let t = performance.now();
  const p = await r.build();
  const compile = performance.now() - t;
  t = performance.now(); p.run(); await gpu.finish();
  const first = performance.now() - t;
  const ts: number[] = [];
  for (let i = 0; i < 5; i++) { t = performance.now(); p.run(); await gpu.finish(); ts.push(performance.now() - t); }
  ts.sort((a, b) => a - b);
  console.log(name.padEnd(26), `compile ${compile.toFixed(0)} first ${first.toFixed(0)} ms ${ts[2]!.toFixed(1)} GFLOP/s ${(flops / ts[2]! / 1e6).toFixed(2)}`);
}
test("bench", async () => {
  for (const [M, N, K] of [[256, 384, 128], [256, 512, 512], [1, 512, 512]] as const) {
    const x = uploadF32(gpu, "x", [M, K], randomF32(M * K, 1));
    const w = uploadF32(gpu, "w", [N, K], randomF32(N * K, 2));
    const y = gpu.allocate("y", "f32", [M, N]), dx = gpu.allocate("dx", "f32", [M, K]);
    const weight: PlainWeight = { tensor: w, shape: [N, K], kind: "native" };
    const rank = 16;
    const h = gpu.allocate("h", "f32", [M, rank]), b = gpu.allocate("b", "f32", [N, rank]), a = gpu.allocate("a", "f32", [rank, K]);
    const F = 2 * M * N * K;
    await bench(`fwd ${M} ${N} ${K}`, F, (r) => matmulForward(r, { x, weight, y }));
    await bench(`bwd ${M} ${N} ${K}`, F, (r) => matmulBackward(r, { dy: y, weight, dx }));
    await bench(`fwd lora`, F + 2 * M * N * rank, (r) => matmulForward(r, { x, weight, y, lora: { h, b, rank, segmentEnds: [N] } }));
    await bench(`bwd lora drop`, F + 2 * M * K * rank, (r) => matmulBackward(r, { dy: y, weight, dx, lora: { dh: h, a, rank, segments: 1, dropout: { probability: 0.1, moduleId: 3 } } }));
  }
});
test("gemv", async () => {
  const [N, K] = [2048, 1024];
  const codes = uploadU32(gpu, "c", [N * K / 8], Uint32Array.from({ length: N * K / 8 }, (_, i) => Math.imul(i, 2654435761) >>> 0));
  const absmax = uploadF32(gpu, "a", [N * K / 64], randomF32(N * K / 64, 1));
  for (const rows of [1, 4]) {
  const x = uploadF32(gpu, "x", [rows, K], randomF32(K * rows, 1));
  const y = gpu.allocate("y", "f32", [rows, N]);
  await bench("gemv " + rows, 2 * N * K * rows, (r) => nf4Gemv(r, { x, weight: { codes, absmax, shape: [N, K] }, y }));
  const out = gpu.allocate("out", "f32", [N, K]);
  await bench("deq", 2*N * K, (r) => dequantize(r, { weight: { codes, absmax, shape: [N, K] }, out }));
  await bench("deq+matmul", 2 * N * K * rows, (r) => { dequantize(r, { weight: { codes, absmax, shape: [N, K] }, out }); matmulForward(r, { x, weight: { tensor: out, shape: [N, K], kind: "native" }, y }); });
  }
});

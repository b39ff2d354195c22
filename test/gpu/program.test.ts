import { describe, expect, test, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { DeviceLostError, type Gpu } from "../../src/gpu/device.ts";
import { type Program, Recorder } from "../../src/gpu/program.ts";
import { ReportRing } from "../../src/gpu/report-ring.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import {
  read,
  readF32,
  slice,
  type StoredTensor,
  type Tensor,
  write,
} from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { testGpu, uploadF32 } from "../gpu.ts";
import { add, addShader } from "./add.ts";

const gpu = await testGpu();

function newRecorder(device: Gpu = gpu) {
  const workspace = new Workspace(device);
  return { workspace, recorder: new Recorder(device, "test", workspace, new StepScalars(device)) };
}

/** x + 1 + … + 1, each sum a tensor of its own. */
async function chain(length: number, flops?: number) {
  const x = uploadF32(gpu, "x", [100], new Float32Array(100));
  const y = gpu.allocate("y", "f32", [100]);
  const { workspace, recorder } = newRecorder();
  let from: Tensor = x;
  for (let i = 1; i <= length; i++) {
    const to = i === length ? y : recorder.transient(`sum ${i}`, "f32", [100]);
    add(recorder, { x: from, y: to, addend: 1, ...(flops === undefined ? {} : { flops }) });
    from = to;
  }
  return { x, y, workspace, program: await recorder.build() };
}

describe("a program", () => {
  test("gives transients the same memory again once they are read", async () => {
    const { y, workspace, program } = await chain(7);
    expect(workspace.bytes).toBe(2 * 400); // of six transients, two are alive at a time
    program.run();
    expect(await readF32(gpu, y)).toEqual(new Float32Array(100).fill(7));
  });

  test("creates nothing when it is replayed, and gives the same result", async () => {
    const { x, y, program } = await chain(5);
    program.run();
    const before = { ...gpu.creations };
    const bytes = gpu.allocatedBytes;
    for (let i = 1; i <= 10; i++) {
      write(gpu, x, new Float32Array(100).fill(i));
      program.run();
    }
    await gpu.finish();
    expect(gpu.creations).toEqual(before);
    expect(gpu.allocatedBytes).toBe(bytes);
    expect(await readF32(gpu, y)).toEqual(new Float32Array(100).fill(15));
  });

  test("stores equal parameters once", async () => {
    const x = uploadF32(gpu, "x", [4], [1, 2, 3, 4]);
    const outputs = [5, 5, 6, 5].map((addend) => ({
      addend,
      y: gpu.allocate(`y ${addend}`, "f32", [4]),
    }));
    const { recorder } = newRecorder();
    for (const { y, addend } of outputs) add(recorder, { x, y, addend });
    const before = gpu.allocatedBytes;
    const program = await recorder.build();
    expect(gpu.allocatedBytes - before).toBe(2 * 256); // two different blocks, aligned
    program.run();
    for (const { y, addend } of outputs) {
      expect(Array.from(await readF32(gpu, y))).toEqual([1, 2, 3, 4].map((v) => v + addend));
    }
    program.free();
    expect(gpu.allocatedBytes).toBe(before);
  });

  test("makes one bind group for dispatches that bind the same", async () => {
    const x = uploadF32(gpu, "x", [4], [1, 2, 3, 4]);
    const [y, z] = ["y", "z"].map((label) => gpu.allocate(label, "f32", [4]));
    const { recorder } = newRecorder();
    for (const to of [y, z, y]) add(recorder, { x, y: to!, addend: 1 });
    add(recorder, { x, y: y!, addend: 2 }); // other parameters lie elsewhere
    const before = gpu.creations.bindGroups;
    (await recorder.build()).run();
    expect(gpu.creations.bindGroups - before).toBe(3);
    expect(Array.from(await readF32(gpu, y!))).toEqual([3, 4, 5, 6]);
    expect(Array.from(await readF32(gpu, z!))).toEqual([2, 3, 4, 5]);
  });

  test("compiles a variant once per device, and different texts of one name apart", async () => {
    const x = uploadF32(gpu, "x", [4], [1, 2, 3, 4]);
    const [a, b, c] = ["a", "b", "c"].map((label) => gpu.allocate(label, "f32", [4]));
    const doubled = { ...addShader, source: addShader.source.map((s) => s.replace("+", "* 2 +")) };
    const { recorder } = newRecorder();
    add(recorder, { x, y: a!, addend: 1, scale: 3 });
    add(recorder, { x, y: b!, addend: 1, scale: 3 });
    recorder.dispatch(doubled, {
      entry: "forward",
      buffers: { x, y: c! },
      params: { count: 4, addend: 1 },
      constants: { SCALE: 3 },
      grid: [1],
    });
    const before = gpu.creations.pipelines;
    (await recorder.build()).run();
    expect(gpu.creations.pipelines - before).toBe(2);
    expect(Array.from(await readF32(gpu, b!))).toEqual([4, 5, 6, 7]);
    expect(Array.from(await readF32(gpu, c!))).toEqual([5, 7, 9, 11]);
  });

  test("splits a run into submits of a tenth of a second, by the speed it has learnt", async () => {
    const { program, y } = await chain(12, 1e9);
    expect(program.flops).toBe(12e9);
    // At first an adapter is taken for one of 1e9 per second: every dispatch goes alone.
    expect(countSubmits(program)).toBe(12);
    program.learnSpeed(1.2); // a tenth of a second each
    expect(countSubmits(program)).toBe(12);
    program.learnSpeed(0.3); // four to a tenth
    expect(countSubmits(program)).toBe(3);
    program.learnSpeed(0.27); // 4.4 to a tenth: the fifth passes it and ends the submit
    expect(countSubmits(program)).toBe(3);
    program.learnSpeed(0.01);
    expect(countSubmits(program)).toBe(1);
    program.learnSpeed(0); // a clock too coarse says nothing
    expect(countSubmits(program)).toBe(1);
    expect(await readF32(gpu, y)).toEqual(new Float32Array(100).fill(12));
  });

  test("that was never timed begins at an eighth of the speed of one that was", async () => {
    const { program: timed } = await chain(1, 1e9);
    timed.learnSpeed(0.02); // 50e9 per second; an eighth of it does 0.6e9 in a tenth
    const { program } = await chain(6, 3e8);
    expect(countSubmits(program)).toBe(2); // the third passes it
  });

  test("that was never timed goes by what was seen of the device, until one is timed", async () => {
    const own = await testGpu();
    const x = uploadF32(own, "x", [100], new Float32Array(100));
    const y = own.allocate("y", "f32", [100]);
    const programOf = async (flops: number) => {
      const { recorder } = newRecorder(own);
      for (let i = 0; i < 16; i++) add(recorder, { x, y, addend: 1, flops });
      return recorder.build();
    };
    (await programOf(1e5)).run();
    await own.finish();
    const large = await programOf(1e12);
    expect(countSubmits(await programOf(1e9), undefined, own)).toBe(16); // that said nothing
    large.run();
    await own.finish();
    // 16e12 were done in less than ten seconds: an eighth of that pace does 20e9 in a tenth of one.
    expect(countSubmits(await programOf(1e9), undefined, own)).toBe(1);
    large.learnSpeed(200); // an eighth of that pace does 1e9
    expect(countSubmits(await programOf(1e9), undefined, own)).toBe(16);
    own.close();
  });

  test("leaves out what begins past the rows of a run, and splits and learns by what is left", async () => {
    const x = uploadF32(gpu, "x", [100], new Float32Array(100));
    const sums = [0, 4, 8, 12].map((firstRow) => ({
      firstRow,
      y: gpu.allocate(`from row ${firstRow}`, "f32", [100]),
    }));
    const { recorder } = newRecorder();
    for (const { y, firstRow } of sums) {
      recorder.fromRow(firstRow, () => add(recorder, { x, y, addend: 1, flops: 1e9 }));
    }
    const program = await recorder.build();
    program.learnSpeed(0.23); // 1.7 to a tenth: the second passes it
    expect(countSubmits(program)).toBe(2);
    program.learnSpeed(0.23);
    expect(countSubmits(program, { rows: 9 })).toBe(2); // three dispatches are left
    expect(await Promise.all(sums.map(({ y }) => firstOf(y)))).toEqual([1, 1, 1, 1]);
    for (const { y } of sums) write(gpu, y, new Float32Array(100));
    program.learnSpeed(0.35); // three dispatches took that: 0.9 to a tenth
    expect(countSubmits(program, { rows: 8 })).toBe(2);
    expect(await Promise.all(sums.map(({ y }) => firstOf(y)))).toEqual([1, 1, 0, 0]);
    expect(countSubmits(program, { rows: 0 })).toBe(0);
    expect(countSubmits(program)).toBe(4);
    expect(await Promise.all(sums.map(({ y }) => firstOf(y)))).toEqual([1, 1, 1, 1]);
  });

  test("names its dispatches", async () => {
    const { program } = await chain(2);
    expect(program.dispatchNames).toEqual(["add.forward SCALE=1", "add.forward SCALE=1"]);
    expect(program.dispatchCount).toBe(2);
  });

  test("refuses a dispatch of no workgroups", () => {
    const { recorder } = newRecorder();
    const nothing = recorder.transient("nothing", "f32", [0]);
    expect(() => add(recorder, { x: nothing, y: nothing, addend: 1 })).toThrow(
      "add.forward SCALE=1 has an empty grid 0 × 1 × 1",
    );
  });

  test("times many runs in one submit", async () => {
    const { program, x, y } = await chain(3);
    const submit = vi.spyOn(gpu.device.queue, "submit");
    const begun = performance.now();
    const seconds = await program.time(50);
    const wall = (performance.now() - begun) / 1000;
    expect(submit.mock.calls.length).toBeLessThanOrEqual(2); // the second fetches the times
    submit.mockRestore();
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(wall);
    expect([await firstOf(x), await firstOf(y)]).toEqual([0, 3]);
  });

  test("times every dispatch when profiled", async () => {
    expect(gpu.hasTimestamps).toBe(true);
    const { program } = await chain(3);
    const held = gpu.allocatedBytes;
    const timings = await program.profile();
    expect(timings).toHaveLength(3);
    for (const { flops, bytes, milliseconds } of timings) {
      expect([flops, bytes]).toEqual([100, 800]);
      expect(milliseconds).toBeGreaterThanOrEqual(0);
    }
    expect(gpu.allocatedBytes).toBe(held);
  });

  test("has parts, which are some of its dispatches", async () => {
    const { x, y, program } = await chain(1);
    const none = program.part((name) => name.startsWith("matmul"));
    expect([none.dispatchCount, await none.profile()]).toEqual([0, []]);
    expect(countSubmits(none)).toBe(0);
    write(gpu, x, new Float32Array(100).fill(3));
    program.part((name) => name.startsWith("add")).run();
    expect(await firstOf(y)).toBe(4);
  });
});

async function firstOf(tensor: StoredTensor): Promise<number | undefined> {
  return (await readF32(gpu, tensor))[0];
}

function countSubmits(program: Program, options?: { rows: number }, device = gpu): number {
  const submit = vi.spyOn(device.device.queue, "submit");
  program.run(options);
  const count = submit.mock.calls.length;
  submit.mockRestore();
  return count;
}

describe("tensors", () => {
  test("a slice is a part of its tensor's memory", async () => {
    const whole = uploadF32(
      gpu,
      "whole",
      [192],
      Float32Array.from({ length: 192 }, (_, i) => i),
    );
    const part = slice(whole, "part", 64, [3]);
    expect(Array.from(await readF32(gpu, part))).toEqual([64, 65, 66]);
    write(gpu, part, Float32Array.of(-1), 4);
    const bytes = await read(gpu, whole, 64 * 4, 12);
    expect(Array.from(new Float32Array(bytes))).toEqual([64, -1, 66]);
    expect(() => slice(whole, "odd", 1, [3])).toThrow("odd starts at byte 4");
    expect(() => slice(whole, "long", 128, [65])).toThrow("past the end of whole");
    expect(() => write(gpu, part, new Float32Array(5))).toThrow("part holds 16 bytes; got 20");
  });

  test("one that is read back in several pieces is whole, and takes 16 MiB beside it", async () => {
    const own = await testGpu();
    const count = 9 * 2 ** 20 + 5; // 36 MiB and a bit: three pieces
    const data = Uint32Array.from({ length: count }, (_, i) => Math.imul(i, 2654435761) >>> 0);
    const tensor = own.allocate("long", "u32", [count]);
    write(own, tensor, data);
    const skipped = 4 * 1001;
    const bytes = await read(own, tensor, skipped, 4 * count - skipped);
    expect(own.peakBytes - own.allocatedBytes).toBe(2 ** 24);
    // Buffer compares in one go what matchers compare element by element.
    const expected = Buffer.from(data.buffer, skipped);
    expect(Buffer.compare(Buffer.from(bytes), expected)).toBe(0);
  });

  test("a ring reads each state of a tensor, in order, and says when it is full", async () => {
    const source = uploadF32(gpu, "source", [2], [0, 0]);
    const ring = new ReportRing(gpu, source, 3);
    const reports = [1, 2, 3].map((value) => {
      write(gpu, source, Float32Array.of(value, -value));
      return ring.capture();
    });
    expect(() => ring.capture()).toThrow("every ring slot is under way");
    const values = await Promise.all(reports);
    expect(values.map(([first, second]) => [first, second])).toEqual([
      [1, -1],
      [2, -2],
      [3, -3],
    ]);
    expect((await ring.capture())[0]).toBe(3);
    ring.free();
  });
});

describe("a failure", () => {
  test("of the shader compiler shows the line of WGSL", async () => {
    const own = await testGpu();
    const { recorder } = newRecorder(own);
    const x = own.allocate("x", "f32", [4]);
    const y = own.allocate("y", "f32", [4]);
    const source = addShader.source.map((s) => s.replace("y[id.x] =", "z[id.x] ="));
    recorder.dispatch(
      { ...addShader, source },
      {
        entry: "forward",
        buffers: { x, y },
        params: { count: 4, addend: 1 },
        constants: { SCALE: 1 },
        grid: [1],
      },
    );
    const message = await recorder.build().then(
      () => "",
      (error: Error) => error.message,
    );
    expect(message).toContain("internal: add.forward SCALE=1");
    expect(message).toMatch(/unresolved value 'z'/);
    // The header is one line and the text begins with an empty one.
    expect(message).toContain("9:   if (id.x < params.count) { z[id.x] =");
  });

  test("of any WebGPU call is thrown by the next finish", async () => {
    const own = await testGpu();
    const { buffer } = own.allocate("small", "f32", [4]).at;
    own.device.queue.writeBuffer(buffer, 8, new Float32Array(4));
    await expect(own.finish()).rejects.toThrow(/internal: WebGPU: Write range/);
    await expect(own.finish()).rejects.toThrow(/internal: WebGPU/); // and by all after it
  });

  test("to allocate more than one buffer may hold is told at once, with numbers", async () => {
    const own = await testGpu({ baseline: true });
    const tooMany = own.device.limits.maxBufferSize / 4 + 4;
    const attempt = () => own.allocate("huge", "f32", [tooMany]);
    expect(attempt).toThrow(UserError);
    expect(attempt).toThrow(/huge needs one buffer of 256(\.0)? MiB; .+ allows 256(\.0)? MiB/);
    expect(own.allocatedBytes).toBe(0);
  });

  test("of an allocation that the driver refuses is told by the next check, with numbers", async () => {
    const own = await testGpu();
    own.allocate("held", "f32", [1024]);
    // WebGPU allows no such usage: a refusal that is the same on every driver.
    own.buffer("refused", 2048, GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE);
    await own.device.queue.onSubmittedWorkDone(); // nobody has asked yet: it must wait
    const error = await own.check().then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error).toBeInstanceOf(UserError);
    expect(error?.message).toMatch(
      /refused 2\.0 KiB for refused, with 4\.0 KiB in use: .+\.\n.+\.$/,
    );
    await own.check(); // told once
  });

  test("to have memory stops a program before its first run", async () => {
    const own = await testGpu();
    const { recorder } = newRecorder(own);
    const x = own.allocate("x", "f32", [4]);
    own.buffer("refused", 16, GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE);
    add(recorder, { x, y: recorder.transient("y", "f32", [4]), addend: 1 });
    await expect(recorder.build()).rejects.toThrow(/refused 16 B for refused/);
  });
});

describe("a lost device", () => {
  test("is a DeviceLostError for all who wait, and for all who come later", async () => {
    const own = await testGpu();
    const tensor = own.allocate("tensor", "f32", [4]);
    const ring = new ReportRing(own, tensor, 2);
    await own.check();
    const waiting = [own.finish(), read(own, tensor), ring.capture()];
    own.device.destroy(); // as a driver would, without asking us
    const results = await Promise.allSettled(waiting);
    // finish may have been done in time; the others need the device once more.
    expect(results[1]).toMatchObject({ reason: expect.any(DeviceLostError) });
    expect(results[2]).toMatchObject({ reason: expect.any(DeviceLostError) });
    await expect(own.finish()).rejects.toThrow(DeviceLostError);
    await expect(read(own, tensor)).rejects.toMatchObject({ name: "DeviceLostError" });
    await expect(own.check()).rejects.toThrow(DeviceLostError);
    expect(() => own.checkErrors()).toThrow(DeviceLostError);
  });

  test("is what a device is to others on which somebody's call failed", async () => {
    const own = await testGpu();
    const tensor = own.allocate("tensor", "f32", [4]);
    const ring = new ReportRing(own, tensor, 2);
    await own.check();
    own.requireSound();
    own.device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE });
    await vi.waitFor(async () => {
      await own.finish().catch(() => {}); // events come when the device is asked something
      expect(own.isLost).toBe(true);
    });
    // Whose call it was is not known: to who did not wait meanwhile, it was another's.
    expect(() => own.checkErrors()).toThrow(/^internal: WebGPU: /);
    const waiting = ring.capture();
    own.abandon();
    await expect(waiting).rejects.toThrow(DeviceLostError);
    expect(() => own.requireSound()).toThrow(/The GPU was lost \(a call on it failed: .+\)/);
    await expect(read(own, tensor)).rejects.toMatchObject({ name: "DeviceLostError" });
    await expect(own.finish()).rejects.toThrow(DeviceLostError);
  });

  test("is no error when we have closed it ourselves", async () => {
    const own = await testGpu();
    own.close();
    await own.device.lost;
    expect(() => own.checkErrors()).not.toThrow();
  });
});

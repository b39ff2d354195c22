// The ring of places for bytes on their way up: what goes wrong with one is told to all who wait for it.
import { expect, test } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { read } from "../../src/gpu/tensor.ts";
import { UPLOAD_SLOTS, UploadRing } from "../../src/gpu/upload.ts";
import { testGpu } from "../gpu.ts";

const gpu = await testGpu();

test("bytes come up whole, through places that take turns and grow", async () => {
  const before = gpu.allocatedBytes;
  const ring = new UploadRing(gpu, "test");
  const tensor = gpu.allocate("up", "u32", [64]);
  for (let i = 0; i < 2 * UPLOAD_SLOTS; i++) {
    const count = 8 + i;
    const slot = await ring.take(count);
    slot.bytes.fill(i + 1);
    slot.send(tensor, 32 * i);
  }
  const bytes = new Uint8Array(await read(gpu, tensor));
  for (let i = 0; i < 2 * UPLOAD_SLOTS; i++) {
    expect([...bytes.subarray(32 * i, 32 * i + 8 + i)]).toEqual(Array(8 + i).fill(i + 1));
  }
  ring.free();
  gpu.free(tensor);
  expect(gpu.allocatedBytes).toBe(before);
});

test("a place that cannot be mapped fails whoever takes it next, and keeps no memory", async () => {
  const refusing = new Gpu(gpu.device, gpu.info);
  const make = refusing.buffer.bind(refusing);
  refusing.buffer = (label, size, usage) => {
    const buffer = make(label, size, usage);
    Object.defineProperty(buffer, "mapAsync", {
      value: () => Promise.reject(new Error("no mapping")),
    });
    return buffer;
  };
  const ring = new UploadRing(refusing, "test");
  const takes = Array.from({ length: 2 * UPLOAD_SLOTS }, () => ring.take(16));
  const ends = await Promise.allSettled(takes);
  for (const end of ends) {
    expect(end).toMatchObject({ status: "rejected", reason: { message: "no mapping" } });
  }
  expect(refusing.allocatedBytes).toBe(0);
  ring.free();
  expect(refusing.allocatedBytes).toBe(0);
});

test("who waits for a place is told when the ring stops", async () => {
  const ring = new UploadRing(gpu, "test");
  for (let i = 0; i < UPLOAD_SLOTS; i++) await ring.take(16);
  const waiting = ring.take(16);
  ring.stop();
  await expect(waiting).rejects.toThrow("the upload was stopped");
  await expect(ring.take(16)).rejects.toThrow("the upload was stopped");
  ring.free();
});

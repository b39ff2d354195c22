// What the tests of files of torch.save share: how one is read whole, and pieces of pickles.
import { expect } from "vitest";
import { openTorchFile } from "../../src/formats/torch-file.ts";
import { millisecondsOf } from "../timing.ts";
import { call, dict, global, text } from "./torch-maker.ts";

/** The most elements a test reads of a tensor, so that a small file with a huge claim fails as one. */
const MOST_ELEMENTS = 1 << 20;

/** Opens a file and reads every tensor of it. */
export async function readAll(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  let count = 0;
  const file = await openTorchFile(
    async (start, end) => {
      if (!(start >= 0 && start <= end && end <= bytes.length)) {
        throw new Error(`read of ${start} to ${end} in ${bytes.length} bytes`);
      }
      return bytes.slice(start, end);
    },
    bytes.length,
    "model/a.bin",
  );
  for (const tensorOfFile of file.tensors.values()) {
    const { shape } = tensorOfFile;
    const elements = shape.reduce((product, size) => product * size, 1);
    expect(elements).toBeLessThan(MOST_ELEMENTS);
    await tensorOfFile.read(0, elements);
    count++;
  }
  return count;
}

export type Code = Uint8Array<ArrayBuffer>;

export const bytes = (...values: number[]): Code => Uint8Array.from(values);
/** Letters that are opcodes, or any text as it stands. */
export const code = (value: string): Code => new TextEncoder().encode(value);

/** A tensor of four floats, in a storage of as many. */
export const RIGHT = { size: 4, shape: [2, 2], strides: [2, 1] };
/** A root with one thing in it. */
export const root = (value: Code): Code => dict([text("w"), value]);
export const system = (module: string, name: string): Code =>
  call(global(module, name), text("echo hacked"));
export const ordered = global("collections", "OrderedDict");
export const history = global("mmengine.logging.history_buffer", "HistoryBuffer");
export const encode = global("_codecs", "encode");

/** Fails where the work takes longer than that three times over: once may be a busy machine's fault. */
export async function expectFast(limitMs: number, work: () => Promise<unknown>): Promise<void> {
  const times: number[] = [];
  do {
    times.push(await millisecondsOf(work));
  } while (times.length < 3 && Math.min(...times) > limitMs);
  expect(Math.min(...times)).toBeLessThan(limitMs);
}

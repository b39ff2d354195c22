// Downloads onto a disk: a file that grows at its end, and checksums by Node's own library.
//
// Node's checksums cannot be kept, so a download that goes on tomorrow reads its bytes once; that is done at
// more than a gigabyte a second.
import { createHash, type Hash } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DownloadPlace, GrowingFile } from "./hub-partial.ts";
import { told } from "./node.ts";

export const diskPlace: DownloadPlace = {
  openGrowing: (folder, name) => openGrowing(join(folder.path, name)),
  createHasher: async (kind) => {
    let hash: Hash = createHash(kind);
    return {
      init() {
        hash = createHash(kind);
      },
      update: (data) => void hash.update(data),
      digest: () => hash.copy().digest("hex"),
      save: () => undefined,
      load() {},
    };
  },
};

async function openGrowing(path: string): Promise<GrowingFile> {
  const file = await told("write", path, async () => {
    await mkdir(dirname(path), { recursive: true });
    return open(path, "a+");
  });
  let { size: bytes } = await told("read", path, () => file.stat());
  return {
    get bytes() {
      return bytes;
    },
    read: (start, end) =>
      told("read", path, async () => {
        const piece = new Uint8Array(end - start);
        const { bytesRead } = await file.read(piece, 0, piece.length, start);
        return piece.subarray(0, bytesRead);
      }),
    append: (piece) =>
      told(
        "write",
        path,
        async () => {
          try {
            for (let done = 0; done < piece.length;) {
              done += (await file.write(piece, done, piece.length - done)).bytesWritten;
            }
          } catch (error) {
            await file.truncate(bytes).catch(() => {}); // the first failure is the one to tell
            throw error;
          }
          bytes += piece.length;
        },
        () => bytes,
      ),
    truncate: (length) =>
      told("write", path, async () => {
        await file.truncate(length);
        bytes = length;
      }),
    flush: () => told("write", path, () => file.datasync()),
    close: () => file.close(),
  };
}

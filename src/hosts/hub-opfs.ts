// Downloads into the browser's private files: a file that grows by a sync handle, and checksums that can be kept.
import { createSHA1, createSHA256 } from "hash-wasm";
import type { DownloadPlace } from "./hub-partial.ts";
import { openGrowing } from "./opfs.ts";

export const opfsPlace: DownloadPlace = {
  openGrowing,
  async createHasher(kind) {
    const hasher = await (kind === "sha1" ? createSHA1() : createSHA256());
    return {
      init: () => void hasher.init(),
      update: (data) => void hasher.update(data),
      digest() {
        const state = hasher.save(); // a digest ends the hasher
        const digest = hasher.digest();
        hasher.load(state);
        return digest;
      },
      save: () => hasher.save(),
      load: (state) => void hasher.load(state),
    };
  },
};

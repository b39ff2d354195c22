// A fast checksum of streamed bytes (FNV-1a over 32-bit words): tells whether a file reads back as it was
// written. It guards against faults of disks and of our own, not against people.

export class Checksum {
  #hash = 0x811c9dc5;
  // Bytes of a word that is not yet whole.
  #rest: number[] = [];

  add(bytes: Uint8Array): void {
    let at = 0;
    while (this.#rest.length > 0 && at < bytes.length) {
      this.#rest.push(bytes[at++] ?? 0);
      if (this.#rest.length === 4) this.#mix(wordOf(this.#rest.splice(0)));
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (; at + 4 <= bytes.length; at += 4) this.#mix(view.getUint32(at, true));
    while (at < bytes.length) this.#rest.push(bytes[at++] ?? 0);
  }

  /** 32 bits; the same for the same bytes however they were cut. */
  get value(): number {
    return Math.imul(this.#hash ^ wordOf(this.#rest), 0x01000193) >>> 0;
  }

  #mix(word: number): void {
    this.#hash = Math.imul(this.#hash ^ word, 0x01000193);
  }
}

function wordOf(bytes: readonly number[]): number {
  return bytes.reduce((word, byte, i) => word | (byte << (8 * i)), 0) >>> 0;
}

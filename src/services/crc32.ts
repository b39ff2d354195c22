// CRC-32 as ZIP uses it (ISO 3309, reflected, 0xEDB88320), over data that comes in pieces.
//
// Eight bytes at a time ("slicing by 8", Kounavis and Berry 2005): five times as fast as one.

const POLYNOMIAL = 0xedb88320;

/** Remainders of each byte followed by 0 … 7 bytes of zeros: table `t` begins at 256 · t. */
const TABLES = makeTables();

export class Crc32 {
  #crc = -1;
  bytes = 0;

  add(piece: Uint8Array): void {
    let crc = this.#crc;
    let at = 0;
    const byteAt = (index: number) => piece[index] ?? 0;
    for (const end = piece.length - 7; at < end; at += 8) {
      const low =
        crc ^
        (byteAt(at) | (byteAt(at + 1) << 8) | (byteAt(at + 2) << 16) | (byteAt(at + 3) << 24));
      crc =
        lookUp(7, low) ^
        lookUp(6, low >>> 8) ^
        lookUp(5, low >>> 16) ^
        lookUp(4, low >>> 24) ^
        lookUp(3, byteAt(at + 4)) ^
        lookUp(2, byteAt(at + 5)) ^
        lookUp(1, byteAt(at + 6)) ^
        lookUp(0, byteAt(at + 7));
    }
    for (; at < piece.length; at++) crc = lookUp(0, crc ^ byteAt(at)) ^ (crc >>> 8);
    this.#crc = crc;
    this.bytes += piece.length;
  }

  /** As an unsigned number. */
  get value(): number {
    return ~this.#crc >>> 0;
  }
}

/** What `byte` leaves when `zeros` bytes of zeros follow it. */
function lookUp(zeros: number, byte: number): number {
  return TABLES[(zeros << 8) | (byte & 255)] ?? 0;
}

/** The checksum of all that a stream gives. */
export async function crc32Of(pieces: AsyncIterable<Uint8Array>): Promise<Crc32> {
  const crc = new Crc32();
  for await (const piece of pieces) crc.add(piece);
  return crc;
}

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256] ?? 0;
    tables[index] = (tables[before & 255] ?? 0) ^ (before >>> 8);
  }
  return tables;
}

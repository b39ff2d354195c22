// GPT-2's printable stand-ins for bytes, in which byte-level vocabularies are written.

/** The stand-in of each byte. */
export const BYTE_CHARS: readonly string[] = createByteChars();

const BYTE_OF_CHAR: ReadonlyMap<string, number> = new Map(
  BYTE_CHARS.map((char, byte) => [char, byte]),
);

/** Printable Latin-1 stands for itself; the other bytes take the code points from 256 on, in order. */
function createByteChars(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(isPrintable ? byte : next++);
  });
}

const encoder = new TextEncoder();

/** UTF-8 in stand-ins. */
export function toByteChars(text: string): string {
  let result = "";
  for (const byte of encoder.encode(text)) result += BYTE_CHARS[byte];
  return result;
}

/** The bytes that a token's stand-ins mean; its own UTF-8 if it holds anything else, as added tokens do. */
export function bytesOfToken(token: string): ArrayLike<number> {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = BYTE_OF_CHAR.get(char);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return bytes;
}

/** The byte of "<0xE4>", or undefined for any other token. */
export function byteOfFallback(token: string): number | undefined {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

/** "<0xE4>" of 0xE4. */
export function fallbackToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** Bytes of a code point in UTF-8. */
export function utf8Length(point: number): number {
  if (point < 0x80) return 1;
  if (point < 0x800) return 2;
  return point < 0x10000 ? 3 : 4;
}

/** Byte `index` of the `length` bytes of a code point. */
export function utf8Byte(point: number, length: number, index: number): number {
  if (length === 1) return point;
  const bits = (point >>> (6 * (length - 1 - index))) & 0x3f;
  return index > 0 ? 0x80 | bits : bits | ((0xf00 >>> length) & 0xff);
}

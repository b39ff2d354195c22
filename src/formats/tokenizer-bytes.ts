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

// The state of a pickle's machine: bytes, stack, marks and memo, none of which a file can make large.
import { type PickleBudget, PickleRefusal, type PickleValue } from "./pickle-values.ts";

/**
 * What a pickle may cost. The model with the most tensors (36,000 in a hundred files) needs under a tenth of
 * each, a checkpoint's history of losses a few megabytes of bytes.
 */
const LIMITS = {
  opcodes: 4_000_000,
  /** Values on the stack at once. */
  stack: 1_000_000,
  marks: 1000,
  memo: 2_000_000,
  /** Lists, dicts, tuples and the like. */
  containers: 1_000_000,
  /** Bytes that functions make of their arguments. */
  spentBytes: 64 * 2 ** 20,
  /** Bytes of one whole number: the legacy format's first has 10. */
  longBytes: 32,
  lineBytes: 256,
} as const;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class PickleMachine implements PickleBudget {
  /** The next byte to be read. */
  at: number;
  /** Where the opcode stands that is being carried out. */
  opcodeAt: number;
  /** Whether a read went past the last byte. */
  isTruncated = false;

  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #opcodes = 0;
  #containers = 0;
  #spent = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = start;
    this.opcodeAt = start;
  }

  nextOpcode(): number {
    this.opcodeAt = this.at;
    this.#opcodes = counted(this.#opcodes + 1, LIMITS.opcodes, "opcodes");
    return this.byte();
  }

  /** The one value that is left at the end. */
  result(): PickleValue {
    const [value] = this.#stack;
    if (value !== undefined && this.#stack.length === 1 && this.#marks.length === 0) return value;
    throw new PickleRefusal(`ends with ${this.#stack.length} values, where one is its result`);
  }

  // Reading.

  byte(): number {
    const at = this.#advance(1);
    return this.#view.getUint8(at);
  }

  /** Little-endian. */
  uint(size: 2 | 4 | 8): number {
    const at = this.#advance(size);
    if (size === 2) return this.#view.getUint16(at, true);
    if (size === 4) return this.#view.getUint32(at, true);
    return Number(this.#view.getBigUint64(at, true));
  }

  float(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** A whole number of so many bytes, in two's complement. */
  long(size: number): number | bigint {
    if (size > LIMITS.longBytes) {
      throw new PickleRefusal(
        `has a whole number of ${size} bytes; the limit is ${LIMITS.longBytes}`,
      );
    }
    const bytes = this.take(size);
    let value = 0n;
    for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte);
    value = BigInt.asIntN(8 * size, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  /** A view of the next bytes. */
  take(size: number): Uint8Array {
    const at = this.#advance(size);
    return this.#bytes.subarray(at, at + size);
  }

  text(size: number): string {
    const bytes = this.take(size);
    try {
      return utf8.decode(bytes);
    } catch {
      throw new PickleRefusal("has a text that is not UTF-8");
    }
  }

  /** A string of Python 2: a letter a byte. */
  latin(size: number): string {
    const letters: string[] = [];
    for (const byte of this.take(size)) letters.push(String.fromCharCode(byte));
    return letters.join("");
  }

  /** Up to a line feed, which is passed over. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end === -1 || end - this.at > LIMITS.lineBytes) {
      if (end === -1) this.isTruncated = this.#bytes.length - this.at <= LIMITS.lineBytes;
      throw new PickleRefusal(`has a name that does not end within ${LIMITS.lineBytes} bytes`);
    }
    const line = this.latin(end - this.at);
    this.at = end + 1;
    return line;
  }

  /** The length of a frame, which is of no use to who has all bytes. */
  frame(): void {
    const size = this.uint(8);
    const left = this.#bytes.length - this.at;
    if (size <= left) return;
    this.isTruncated = true;
    throw new PickleRefusal(`has a frame of ${size} bytes, and ${left} are left`);
  }

  #advance(size: number): number {
    const at = this.at;
    if (size > this.#bytes.length - at) {
      this.isTruncated = true;
      const left = this.#bytes.length - at;
      throw new PickleRefusal(`is cut short: it needs ${size} bytes more, and ${left} are left`);
    }
    this.at = at + size;
    return at;
  }

  // Stack and memo.

  push(value: PickleValue): void {
    this.#stack.push(value);
    counted(this.#stack.length, LIMITS.stack, "values on its stack");
  }

  pushNew(value: PickleValue): void {
    this.#containers = counted(this.#containers + 1, LIMITS.containers, "lists, dicts and tuples");
    this.push(value);
  }

  top(): PickleValue {
    const value = this.#stack.length > this.#floor() ? this.#stack.at(-1) : undefined;
    if (value === undefined) throw new PickleRefusal("takes from a stack that is empty");
    return value;
  }

  pop(): PickleValue {
    const value = this.top();
    this.#stack.pop();
    return value;
  }

  /** In the order in which they were pushed. */
  popMany(count: number): PickleValue[] {
    if (this.#stack.length - count < this.#floor()) {
      throw new PickleRefusal(
        `takes ${count} values from a stack of ${this.#stack.length - this.#floor()}`,
      );
    }
    return this.#stack.splice(this.#stack.length - count);
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
    counted(this.#marks.length, LIMITS.marks, "open marks");
  }

  popToMark(): PickleValue[] {
    const height = this.#marks.pop();
    if (height === undefined) throw new PickleRefusal("takes up to a mark that was never set");
    return this.#stack.splice(height);
  }

  /** Takes away the last value, or the mark where nothing was pushed since. */
  discard(): void {
    if (this.#stack.length === this.#marks.at(-1)) this.#marks.pop();
    else this.pop();
  }

  remember(index: number): void {
    this.#memo.set(index, this.top());
    counted(this.#memo.size, LIMITS.memo, "remembered values");
  }

  recall(index: number): PickleValue {
    const value = this.#memo.get(index);
    if (value !== undefined) return value;
    throw new PickleRefusal(`refers to value ${index}, and only ${this.#memo.size} are remembered`);
  }

  get memoSize(): number {
    return this.#memo.size;
  }

  spend(amount: number): void {
    this.#spent = counted(this.#spent + amount, LIMITS.spentBytes, "bytes made of others");
  }

  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }
}

function counted(count: number, limit: number, what: string): number {
  if (count > limit) throw new PickleRefusal(`has more than ${limit} ${what}`);
  return count;
}

// Python's operators on plain values, with its rules for whole numbers, floats and texts.
//
// Sizes are looked at before anything is made, and what goes through whole texts, lists or dicts is charged by
// their size to the evaluation's steps, so that nothing here can take long or fill the memory.
import {
  type Count,
  isDict,
  isEqual,
  isList,
  kindOf,
  keyOf,
  MOST_CHARACTERS,
  MOST_ITEMS,
  type PyValue,
  RefusedError,
  stepsOfItems,
  stepsOfText,
} from "./python-value.ts";

/** Whole numbers stay below 2 to this: more than any setting needs. */
const MOST_BITS = 128;

/** Where an operation stands, and what it charges for its work. */
export interface Operation {
  /** 1-based. */
  readonly line: number;
  readonly count: Count;
}

/** `one` + `other`, and the like. */
export function operate(operator: string, one: PyValue, other: PyValue, at: Operation): PyValue {
  if (operator === "+") {
    const joined = join(one, other, at);
    if (joined !== undefined) return joined;
  }
  if (operator === "*") {
    const repeated = repeat(one, other, at) ?? repeat(other, one, at);
    if (repeated !== undefined) return repeated;
  }
  const a = numberOf(one);
  const b = numberOf(other);
  if (a === undefined || b === undefined) {
    throw new RefusedError(`${kindOf(one)} ${operator} ${kindOf(other)}`);
  }
  return typeof a === "bigint" && typeof b === "bigint"
    ? operateWhole(operator, a, b)
    : operateFloat(operator, Number(a), Number(b));
}

/** −value, +value. */
export function negate(operator: string, value: PyValue): PyValue {
  const number = numberOf(value);
  if (number === undefined || (operator !== "-" && operator !== "+")) {
    throw new RefusedError(`${operator} before ${kindOf(value)}`);
  }
  return operator === "-" ? -number : number;
}

/** ==, <, in, is, … */
export function compare(operator: string, one: PyValue, other: PyValue, count: Count): boolean {
  switch (operator) {
    case "==":
      return isEqual(one, other, count);
    case "!=":
      return !isEqual(one, other, count);
    case "is":
    case "is not":
      return isSame(one, other) === (operator === "is");
    case "in":
    case "not in":
      return isIn(one, other, count) === (operator === "in");
    default:
      return isOrdered(operator, one, other, count);
  }
}

function join(one: PyValue, other: PyValue, { line, count }: Operation): PyValue | undefined {
  if (typeof one === "string" && typeof other === "string") {
    chargeText(one.length + other.length, count);
    return one + other;
  }
  if (isList(one) && isList(other) && one.kind === other.kind) {
    chargeItems(one.items.length + other.items.length, count);
    return { kind: one.kind, items: [...one.items, ...other.items], line };
  }
  return undefined;
}

function repeat(value: PyValue, times: PyValue, { line, count }: Operation): PyValue | undefined {
  if (typeof times !== "bigint" && typeof times !== "boolean") return undefined;
  if (typeof value !== "string" && !isList(value)) return undefined;
  const wanted = BigInt(times);
  const most = BigInt(MOST_CHARACTERS + 1);
  const copies = wanted < 0n ? 0 : Number(wanted > most ? most : wanted);
  if (typeof value === "string") {
    chargeText(value.length * copies, count);
    return value.repeat(copies);
  }
  chargeItems(value.items.length * copies, count);
  // A million copies of nothing are nothing.
  const length = value.items.length === 0 ? 0 : copies;
  return { kind: value.kind, items: Array.from({ length }, () => value.items).flat(), line };
}

/** Refuses a longer text than an expression may make, and charges for it. */
export function chargeText(characters: number, count: Count): void {
  if (characters > MOST_CHARACTERS) {
    throw new RefusedError(`a text of ${characters} characters (at most ${MOST_CHARACTERS})`);
  }
  count(stepsOfText(characters));
}

function chargeItems(items: number, count: Count): void {
  checkItems(items);
  count(stepsOfItems(items));
}

/** Refuses more items than a list of a config may have. */
export function checkItems(count: number): void {
  if (count > MOST_ITEMS)
    throw new RefusedError(`a list of ${count} items (at most ${MOST_ITEMS})`);
}

function operateWhole(operator: string, a: bigint, b: bigint): bigint | number {
  switch (operator) {
    case "+":
      return whole(a + b);
    case "-":
      return whole(a - b);
    case "*":
      return whole(a * b);
    case "/":
      return divide(a, b);
    case "//":
    case "%": {
      if (b === 0n) throw new RefusedError("a division by zero");
      const rest = ((a % b) + b) % b; // has the divisor's sign, as in Python
      return operator === "%" ? rest : (a - rest) / b;
    }
    case "**":
      return powerOfWhole(a, b);
    default:
      throw new RefusedError(`the operator ${operator}`);
  }
}

function divide(a: bigint, b: bigint): number {
  if (b === 0n) throw new RefusedError("a division by zero");
  const [exactA, exactB] = [Number(a), Number(b)];
  if (!Number.isSafeInteger(exactA) || !Number.isSafeInteger(exactB)) {
    throw new RefusedError("a division of numbers above 2^53");
  }
  return exactA / exactB;
}

function powerOfWhole(base: bigint, exponent: bigint): bigint | number {
  if (exponent < 0n) {
    if (base === 0n) throw new RefusedError("a division by zero");
    // 1 / 10**5 is what C's pow gives for 10**-5; V8's own is one off in places.
    const power = BigInt(powerOfWhole(base, -exponent));
    if (BigInt(Number(power)) !== power) throw new RefusedError(`the power ${base} ** ${exponent}`);
    return 1 / Number(power);
  }
  const bits = BigInt((base < 0n ? -base : base).toString(2).length);
  if (base !== 0n && base !== 1n && base !== -1n && bits * exponent > BigInt(2 * MOST_BITS)) {
    throw new RefusedError(`a power with ${shortened(exponent)} as its exponent`);
  }
  // What is left is small, or a power of 0, 1 or −1.
  if (base === -1n) return exponent % 2n === 0n ? 1n : -1n;
  if (base === 0n || base === 1n) return exponent === 0n ? 1n : base;
  return whole(base ** exponent);
}

function whole(value: bigint): bigint {
  const magnitude = value < 0n ? -value : value;
  if (magnitude >> BigInt(MOST_BITS) !== 0n) throw new RefusedError("a number above 2^128");
  return value;
}

function operateFloat(operator: string, a: number, b: number): number {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      if (b === 0) throw new RefusedError("a division by zero");
      return a / b;
    case "//":
    case "%":
      return floorDivide(operator, a, b);
    case "**":
      // (336 / 14) ** 2 is a power of whole numbers all the same.
      if (Number.isSafeInteger(a) && Number.isSafeInteger(b) && b >= 0) {
        return Number(powerOfWhole(BigInt(a), BigInt(b)));
      }
      // V8's pow is one off in its last digit in places, and a config has no use for it.
      throw new RefusedError(`a power of numbers that are not whole (${a} ** ${b})`);
    default:
      throw new RefusedError(`the operator ${operator}`);
  }
}

/** As CPython's float_divmod: the rest has the divisor's sign, the quotient is rounded to a whole one. */
function floorDivide(operator: string, a: number, b: number): number {
  if (b === 0) throw new RefusedError("a division by zero");
  let rest = a % b;
  let quotient = (a - rest) / b;
  if (rest !== 0) {
    if (b < 0 !== rest < 0) {
      rest += b;
      quotient -= 1;
    }
  } else {
    rest = b < 0 ? -0 : 0;
  }
  if (operator === "%") return rest;
  if (quotient === 0) return a / b < 0 || Object.is(a / b, -0) ? -0 : 0;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

function isOrdered(operator: string, one: PyValue, other: PyValue, count: Count): boolean {
  const [a, b] =
    typeof one === "string" && typeof other === "string"
      ? [compareTexts(one, other, count), 0]
      : [numberOf(one), numberOf(other)];
  if (a === undefined || b === undefined) {
    throw new RefusedError(`${kindOf(one)} ${operator} ${kindOf(other)}`);
  }
  switch (operator) {
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
    default:
      throw new RefusedError(`the operator ${operator}`);
  }
}

/** By code points, as Python compares; JavaScript's < goes by halves of them. */
function compareTexts(one: string, other: string, count: Count): number {
  count(stepsOfText(Math.min(one.length, other.length)));
  for (let i = 0; i < Math.min(one.length, other.length); i++) {
    // Where two texts part in a pair's second half, the code points that differ there are of one plane.
    const difference = (one.codePointAt(i) ?? 0) - (other.codePointAt(i) ?? 0);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

/** Identity: of None, True, False and symbols; for the rest it is an accident of the interpreter. */
function isSame(one: PyValue, other: PyValue): boolean {
  if (one === null || other === null || typeof one === "boolean" || typeof other === "boolean") {
    return one === other;
  }
  throw new RefusedError(`${kindOf(one)} is ${kindOf(other)}; compare with ==`);
}

function isIn(item: PyValue, container: PyValue, count: Count): boolean {
  if (typeof container === "string" && typeof item === "string") {
    // At worst every character is looked at for each of the other's.
    count(Math.ceil((container.length * item.length) / 2 ** 14));
    return container.includes(item);
  }
  if (isList(container)) return container.items.some((other) => isEqual(item, other, count));
  if (isDict(container)) return container.entries.has(keyOf(item));
  throw new RefusedError(`${kindOf(item)} in ${kindOf(container)}`);
}

function numberOf(value: PyValue): bigint | number | undefined {
  if (typeof value === "boolean") return value ? 1n : 0n;
  return typeof value === "bigint" || typeof value === "number" ? value : undefined;
}

function shortened(value: bigint): string {
  const digits = String(value);
  return digits.length > 20 ? `${digits.slice(0, 20)}…` : digits;
}

// Operators of Jinja's values: arithmetic as Python does it, slices, and what a loop tells of its rounds.
import {
  asNumber,
  checkSize,
  FloatValue,
  isList,
  type LoopValue,
  spend,
  TemplateError,
  typeName,
  type Value,
} from "./jinja-values.ts";

/** `loop.first` and its kin. */
export function partOfLoop({ items, index }: LoopValue, name: string): Value {
  const { length } = items;
  switch (name) {
    case "index":
      return index + 1;
    case "index0":
      return index;
    case "revindex":
      return length - index;
    case "revindex0":
      return length - index - 1;
    case "first":
      return index === 0;
    case "last":
      return index === length - 1;
    case "length":
      return length;
    case "previtem":
      return items[index - 1];
    case "nextitem":
      return items[index + 1];
    case "cycle":
      return (args) => args[index % args.length];
    default:
      throw new TemplateError(`loop.${name} is not known`);
  }
}

/** Python's slices: bounds from the end where negative. */
export function slice(
  items: readonly Value[],
  start: number | undefined,
  stop: number | undefined,
  step: number,
): Value[] {
  const { length } = items;
  spend(step === 1 ? length / 2 : length * 8);
  const bound = (at: number, least: number, most: number) =>
    Math.min(most, Math.max(least, at < 0 ? at + length : at));
  const taken: Value[] = [];
  if (step === 1)
    return items.slice(bound(start ?? 0, 0, length), bound(stop ?? length, 0, length));
  if (step > 0) {
    const end = bound(stop ?? length, 0, length);
    for (let i = bound(start ?? 0, 0, length); i < end; i += step) taken.push(items[i]);
  } else if (step < 0) {
    const end = stop === undefined ? -1 : bound(stop, -1, length - 1);
    for (let i = bound(start ?? length - 1, -1, length - 1); i > end; i += step) {
      taken.push(items[i]);
    }
  } else throw new TemplateError("a slice's step is 0");
  return taken;
}

/** Arithmetic, and `+` and `*` of texts and lists. */
export function calculate(operator: string, left: Value, right: Value): Value {
  const [a, b] = [asNumber(left), asNumber(right)];
  if (a === undefined || b === undefined) return combine(operator, left, right);
  const isFloat = left instanceof FloatValue || right instanceof FloatValue;
  const give = (value: number) => (isFloat ? new FloatValue(value) : value);
  if (b === 0 && ["/", "//", "%"].includes(operator)) throw new TemplateError("division by zero");
  switch (operator) {
    case "+":
      return give(a + b);
    case "-":
      return give(a - b);
    case "*":
      return give(a * b);
    case "/":
      return new FloatValue(a / b);
    case "//":
      return give(Math.floor(a / b));
    case "%":
      return give(a - b * Math.floor(a / b));
    case "**":
      return isFloat || b < 0 ? new FloatValue(a ** b) : a ** b;
    default:
      throw new TemplateError(`the operator ${operator} is not known`);
  }
}

/** Two texts as one. */
export function joined(left: string, right: string): string {
  checkSize(left.length + right.length);
  return left + right;
}

/** Room for an item of a list, in units of text. */
const ITEM_SIZE = 8;

/** Operators of texts and lists. */
function combine(operator: string, left: Value, right: Value): Value {
  if (operator === "+") {
    if (typeof left === "string" && typeof right === "string") return joined(left, right);
    if (isList(left) && isList(right)) {
      checkSize((left.length + right.length) * ITEM_SIZE);
      spend(left.length + right.length);
      return [...left, ...right];
    }
  }
  if (operator === "*" && typeof left === "string" && typeof right === "number") {
    checkSize(left.length * right);
    spend((left.length * Math.max(0, right)) / 2);
    return left.repeat(Math.max(0, right));
  }
  throw new TemplateError(
    `${typeName(left)} ${operator} ${typeName(right)} is nothing that can be worked out`,
  );
}

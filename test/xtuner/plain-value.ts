// A value of the evaluator as JSON that keeps ints, floats, lists and tuples apart, as the oracle writes them.
import { isDict, isList, type PyValue } from "../../src/xtuner/python-value.ts";

export function plainValue(value: PyValue): unknown {
  if (typeof value === "bigint") return { int: String(value) };
  if (typeof value === "number") {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return { float: view.getBigUint64(0).toString(16).padStart(16, "0") };
  }
  if (isList(value)) return { [value.kind]: value.items.map(plainValue) };
  if (isDict(value)) {
    return {
      dict: [...value.entries].map(([key, entry]) => [plainValue(key), plainValue(entry.value)]),
    };
  }
  return value !== null && typeof value === "object" ? { symbol: value.name } : value;
}

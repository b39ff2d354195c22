// Expressions of a config → plain values. Only what describes: nothing is called but dict(), int() and float().
import type { SyntaxNode } from "@lezer/common";
import { readFormatText, readNumber, readString } from "./python-literal.ts";
import { chargeText, checkItems, compare, negate, operate } from "./python-operate.ts";
import { childrenOf, type PythonTree } from "./python-tree.ts";
import {
  type Count,
  isDict,
  isList,
  isSymbol,
  isTruthy,
  keyOf,
  kindOf,
  type PyDict,
  type PyEntry,
  type PyList,
  type PySymbol,
  type PyValue,
  RefusedError,
  stepsOfItems,
  stepsOfText,
} from "./python-value.ts";

/** What an expression may look at. */
export interface Scope {
  readonly tree: PythonTree;
  /** The value of a name; throws where there is none. */
  lookUp(name: string): PyValue;
  /** Whether a file's own name stands in the place of one of Python's. */
  has(name: string): boolean;
  /** What is known behind an imported name: the text of SYSTEM_TEMPLATE.alpaca. */
  resolve(symbol: PySymbol): PyValue;
  /** Called for every node, and for work on whole values by their size. */
  readonly count: Count;
}

/** The value of an expression, or a RefusedError that says what it is. */
export function evaluate(node: SyntaxNode, scope: Scope): PyValue {
  scope.count();
  const read = READERS[node.name];
  if (read !== undefined) return read(node, scope);
  throw new RefusedError(REFUSED[node.name] ?? cut(scope.tree.textOf(node)));
}

/** Values between commas, as they stand after an "=" or inside brackets. */
export function evaluateItems(nodes: readonly SyntaxNode[], scope: Scope): PyValue[] {
  checkItems(nodes.length >> 1);
  const items: PyValue[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined || node.name === ",") continue;
    if (node.name !== "*") {
      items.push(evaluate(node, scope));
      continue;
    }
    i++;
    const more = evaluateAt(nodes, i, scope);
    if (!isList(more)) throw new RefusedError(`* before ${kindOf(more)}`);
    scope.count(stepsOfItems(more.items.length));
    items.push(...more.items);
    checkItems(items.length);
  }
  return items;
}

type Reader = (node: SyntaxNode, scope: Scope) => PyValue;

const READERS: Readonly<Record<string, Reader | undefined>> = {
  None: () => null,
  Boolean: (node, { tree }) => tree.textOf(node) === "True",
  Number: (node, { tree }) => readNumber(tree.textOf(node)),
  String: (node, { tree }) => readString(tree.textOf(node)),
  ContinuedString: (node, scope) => {
    const parts = childrenOf(node).map((part) => evaluate(part, scope));
    const text = parts.filter((part) => typeof part === "string").join(""); // all of them are texts
    chargeText(text.length, scope.count);
    return text;
  },
  FormatString: evaluateFormat,
  VariableName: (node, scope) => scope.lookUp(scope.tree.textOf(node)),
  ParenthesizedExpression: (node, scope) => {
    const [inner] = inside(node);
    if (inner === undefined) throw new RefusedError("empty parentheses");
    return evaluate(inner, scope);
  },
  TupleExpression: (node, scope) => list("tuple", inside(node), node, scope),
  ArrayExpression: (node, scope) => list("list", inside(node), node, scope),
  DictionaryExpression: evaluateDictionary,
  UnaryExpression: (node, scope) => {
    const [operator, operand] = childrenOf(node);
    const sign = operator === undefined ? "" : scope.tree.textOf(operator);
    if (sign === "not") return evaluateNot(operand, scope);
    return negate(sign, evaluateNode(operand, scope));
  },
  BinaryExpression: evaluateBinary,
  ConditionalExpression: (node, scope) => {
    const [yes, , condition, , no] = childrenOf(node);
    return evaluateNode(isTruthy(evaluateNode(condition, scope)) ? yes : no, scope);
  },
  MemberExpression: evaluateMember,
  CallExpression: evaluateCall,
};

const REFUSED: Readonly<Record<string, string | undefined>> = {
  ArrayComprehensionExpression: "a list comprehension",
  ComprehensionExpression: "a comprehension",
  DictionaryComprehensionExpression: "a dict comprehension",
  SetComprehensionExpression: "a set comprehension",
  SetExpression: "a set",
  LambdaExpression: "a lambda",
  AwaitExpression: "an await",
  YieldExpression: "a yield",
  NamedExpression: "an assignment inside an expression",
  Ellipsis: "an ellipsis (...)",
};

function evaluateNode(node: SyntaxNode | undefined, scope: Scope): PyValue {
  if (node === undefined) throw new RefusedError("an expression with a part missing");
  return evaluate(node, scope);
}

function evaluateAt(nodes: readonly SyntaxNode[], index: number, scope: Scope): PyValue {
  return evaluateNode(nodes[index], scope);
}

function list(
  kind: PyList["kind"],
  nodes: readonly SyntaxNode[],
  node: SyntaxNode,
  scope: Scope,
): PyList {
  return { kind, items: evaluateItems(nodes, scope), line: lineOf(node, scope) };
}

/** {"a": 1, **other}: later entries replace earlier ones and keep their place. */
function evaluateDictionary(node: SyntaxNode, scope: Scope): PyDict {
  const entries = new Map<ReturnType<typeof keyOf>, PyEntry>();
  const nodes = inside(node);
  for (let i = 0; i < nodes.length; i++) {
    const part = nodes[i];
    if (part === undefined || part.name === ",") continue;
    if (part.name === "**") {
      i++;
      spread(entries, evaluateAt(nodes, i, scope), scope);
      continue;
    }
    const key = keyOf(evaluate(part, scope));
    i += 2; // the colon, and then the value
    entries.set(key, { value: evaluateAt(nodes, i, scope), line: lineOf(part, scope) });
    checkItems(entries.size);
  }
  return { kind: "dict", entries, line: lineOf(node, scope) };
}

function spread(entries: PyDict["entries"], value: PyValue, { count }: Scope): void {
  if (!isDict(value)) throw new RefusedError(`** before ${kindOf(value)}`);
  count(stepsOfItems(value.entries.size));
  for (const [key, entry] of value.entries) entries.set(key, entry);
  checkItems(entries.size);
}

/**
 * The grammar (1.1.19) takes "not a and b" for "not (a and b)". In Python "not" binds tighter, so it is
 * handed down to the first operand.
 */
function evaluateNot(node: SyntaxNode | undefined, scope: Scope, times = 1): PyValue {
  const { left, operator, right } = partsOf(node, scope);
  if (operator === "and" || operator === "or") {
    return chooseOperand(evaluateNot(left, scope, times), operator, right, scope);
  }
  const [sign, operand] = node?.name === "UnaryExpression" ? childrenOf(node) : [];
  if (sign !== undefined && scope.tree.textOf(sign) === "not") {
    return evaluateNot(operand, scope, times + 1);
  }
  return isTruthy(evaluateNode(node, scope)) === (times % 2 === 0);
}

/** a and b, a or b: `first` is a's value. */
function chooseOperand(
  first: PyValue,
  operator: "and" | "or",
  right: SyntaxNode | undefined,
  scope: Scope,
): PyValue {
  return isTruthy(first) === (operator === "or") ? first : evaluateNode(right, scope);
}

interface BinaryParts {
  readonly left?: SyntaxNode | undefined;
  readonly operator?: string;
  readonly right?: SyntaxNode | undefined;
}

/** The parts of a binary expression; none of anything else. */
function partsOf(node: SyntaxNode | undefined, { tree }: Scope): BinaryParts {
  if (node?.name !== "BinaryExpression") return {};
  const [left, ...rest] = childrenOf(node);
  const right = rest.pop();
  return { left, operator: rest.map((part) => tree.textOf(part)).join(" "), right };
}

function evaluateBinary(node: SyntaxNode, scope: Scope): PyValue {
  const { left, operator = "", right } = partsOf(node, scope);
  if (operator === "and" || operator === "or") {
    return chooseOperand(evaluateNode(left, scope), operator, right, scope);
  }
  const isComparison = COMPARISONS.has(operator);
  if (isComparison && COMPARISONS.has(partsOf(left, scope).operator ?? "")) {
    throw new RefusedError("a chain of comparisons");
  }
  const [one, other] = [evaluateNode(left, scope), evaluateNode(right, scope)].map((value) =>
    isSymbol(value) && !isComparison ? scope.resolve(value) : value,
  ) as [PyValue, PyValue];
  return isComparison
    ? compare(operator, one, other, scope.count)
    : operate(operator, one, other, { line: lineOf(node, scope), count: scope.count });
}

const COMPARISONS: ReadonlySet<string> = new Set([
  ..."== != < <= > >= in is".split(" "),
  "not in",
  "is not",
]);

/** a.b of imported things, a["b"] and a[0] of what the file has made. */
function evaluateMember(node: SyntaxNode, scope: Scope): PyValue {
  const [object, access, key, ...more] = childrenOf(node);
  const value = evaluateNode(object, scope);
  if (access?.name === ".") {
    const name = key === undefined ? "" : scope.tree.textOf(key);
    if (isSymbol(value)) return attributeOf(value, name);
    throw new RefusedError(`.${name} of ${kindOf(value)}`);
  }
  if (key === undefined || more.length !== 1 || key.name === ":") {
    throw new RefusedError("a slice");
  }
  return itemOf(value, evaluate(key, scope), scope);
}

function attributeOf(symbol: PySymbol, name: string): PySymbol {
  if (name.startsWith("__")) throw new RefusedError(`${symbol.name}.${name}`);
  const whole = `${symbol.name}.${name}`;
  if (whole.length > 400) throw new RefusedError(`a dotted name of ${whole.length} characters`);
  return { kind: "symbol", name: whole };
}

/** value[key] as Python has it. */
function itemOf(value: PyValue, key: PyValue, { count }: Scope): PyValue {
  if (isDict(value)) {
    const entry = value.entries.get(keyOf(key));
    if (entry !== undefined) return entry.value;
    throw new RefusedError(`the key ${cut(String(keyOf(key)))}, which the dict does not have`);
  }
  if ((isList(value) || typeof value === "string") && typeof key === "bigint") {
    if (typeof value === "string") count(stepsOfText(value.length));
    const items: readonly PyValue[] = isList(value) ? value.items : Array.from(value);
    const found = items.at(indexIn(items.length, key));
    if (found !== undefined) return found;
  }
  throw new RefusedError(`${kindOf(value)}[${kindOf(key)}]`);
}

/** Python's index, which may count from the end, as one from the beginning. */
export function indexIn(length: number, key: bigint): number {
  const index = Number(key < 0n ? key + BigInt(length) : key);
  if (index < 0 || index >= length) {
    throw new RefusedError(`the index ${String(key)} of a list with ${length} items`);
  }
  return index;
}

function evaluateCall(node: SyntaxNode, scope: Scope): PyValue {
  const [callee, args] = childrenOf(node);
  const name = callee === undefined ? "" : scope.tree.textOf(callee);
  if (!CALLABLE.has(name) || scope.has(name) || args === undefined) {
    let root = callee;
    while (root?.name === "MemberExpression") root = root.firstChild ?? undefined;
    // What was refused where it was bound is not complained of again.
    const rootName = root === undefined ? "" : scope.tree.textOf(root);
    if (root?.name === "VariableName" && scope.has(rootName)) scope.lookUp(rootName);
    throw new RefusedError(`a call of ${cut(name)}()`);
  }
  return name === "dict" ? makeDict(node, args, scope) : convert(name, inside(args), scope);
}

const CALLABLE: ReadonlySet<string> = new Set(["dict", "int", "float"]);

/** int(2.5), float(1): of numbers alone. */
function convert(name: string, args: readonly SyntaxNode[], scope: Scope): PyValue {
  const [value, ...more] = evaluateItems(args, scope);
  if ((typeof value !== "bigint" && typeof value !== "number") || more.length > 0) {
    throw new RefusedError(`a call of ${name}() with anything but a number`);
  }
  if (name === "float") return Number(value);
  if (!Number.isSafeInteger(Math.trunc(Number(value))))
    throw new RefusedError("a number above 2^53");
  return typeof value === "bigint" ? value : BigInt(Math.trunc(value));
}

function makeDict(node: SyntaxNode, args: SyntaxNode, scope: Scope): PyDict {
  const entries: PyDict["entries"] = new Map();
  const nodes = inside(args);
  for (let i = 0; i < nodes.length; i++) {
    const part = nodes[i];
    if (part === undefined || part.name === ",") continue;
    if (part.name === "**") {
      i++;
      spread(entries, evaluateAt(nodes, i, scope), scope);
    } else if (part.name === "VariableName" && nodes[i + 1]?.name === "AssignOp") {
      const key = scope.tree.textOf(part);
      if (entries.has(key)) throw new RefusedError(`${key} twice in a dict()`);
      i += 2;
      entries.set(key, { value: evaluateAt(nodes, i, scope), line: lineOf(part, scope) });
    } else if (i === 0) {
      // dict(other, a=1) begins with a copy.
      spread(entries, evaluate(part, scope), scope);
    } else {
      throw new RefusedError("dict() with several values that have no names");
    }
  }
  checkItems(entries.size);
  return { kind: "dict", entries, line: lineOf(node, scope) };
}

/** f"{root}/a.json": names of texts and whole numbers alone, without formats. */
function evaluateFormat(node: SyntaxNode, scope: Scope): string {
  const text = scope.tree.textOf(node);
  const [opening = "", prefix = "", quote = ""] = /^([a-z]{1,2})('''|"""|'|")/i.exec(text) ?? [];
  if (quote === "" || text.length < opening.length + quote.length || !text.endsWith(quote)) {
    throw new RefusedError(`the text ${cut(text)}`);
  }
  const isRaw = /r/i.test(prefix);
  let result = "";
  let at = node.from + opening.length;
  const addText = (to: number) => {
    result += readFormatText(text.slice(at - node.from, to - node.from), isRaw);
  };
  for (const part of childrenOf(node)) {
    if (part.name === "Escape") continue;
    addText(part.from);
    const inner = childrenOf(part).slice(1, -1);
    const [only] = inner;
    if (part.name !== "FormatReplacement" || inner.length !== 1 || only?.name !== "VariableName") {
      throw new RefusedError(`the f-string's ${cut(scope.tree.textOf(part))}`);
    }
    const value = evaluate(only, scope);
    const resolved = isSymbol(value) ? scope.resolve(value) : value;
    if (typeof resolved !== "string" && typeof resolved !== "bigint") {
      throw new RefusedError(`${kindOf(resolved)} in an f-string`);
    }
    result += String(resolved);
    chargeText(result.length, scope.count);
    at = part.to;
  }
  addText(node.to - quote.length);
  chargeText(result.length, scope.count);
  return result;
}

/** What stands between a node's brackets. */
function inside(node: SyntaxNode): SyntaxNode[] {
  return childrenOf(node).slice(1, -1);
}

function lineOf(node: SyntaxNode, { tree }: Scope): number {
  return tree.lineAt(node.from);
}

function cut(text: string): string {
  const line = text.slice(0, 300).replaceAll(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}

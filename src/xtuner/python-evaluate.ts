// A config in Python → the names it binds, evaluated as literals. Nothing is ever executed or imported.
//
// What a config may not do is collected with its line, and names that depend on it stay unknown in
// silence: one cause, one complaint.
import type { SyntaxNode } from "@lezer/common";
import { evaluate, evaluateItems, indexIn, type Scope } from "./python-expression.ts";
import { operate } from "./python-operate.ts";
import { childrenOf, parsePython } from "./python-tree.ts";
import {
  isDict,
  isList,
  isSymbol,
  isTruthy,
  keyOf,
  kindOf,
  type Namespace,
  type PyEntry,
  type PyList,
  type PySymbol,
  type PyValue,
  RefusedError,
  type Refusal,
  stepsOfItems,
} from "./python-value.ts";

export interface Evaluated {
  /** All names that the file binds, those of imports among them. */
  readonly names: Namespace;
  readonly refused: readonly Refusal[];
}

/** Most nodes that are looked at, those of values walked through included. */
const MOST_STEPS = 50_000;

/**
 * Evaluates a config's text. `resolve` gives what is known behind an imported name where a text is needed,
 * or the symbol itself.
 */
export function evaluatePython(
  text: string,
  place: string,
  resolve: (symbol: PySymbol) => PyValue,
): Evaluated {
  const tree = parsePython(text, place);
  const names = new Map<string, PyEntry>();
  const unknown = new Set<string>();
  const refused: Refusal[] = [];
  let steps = 0;
  const scope: Scope = {
    tree,
    lookUp(name) {
      if (unknown.has(name)) throw new UnknownError();
      const entry = names.get(name);
      if (entry === undefined)
        throw new RefusedError(`the name ${name}, which nothing above binds`);
      return entry.value;
    },
    has: (name) => names.has(name) || unknown.has(name),
    resolve,
    count(more = 1) {
      steps += more;
      if (steps > MOST_STEPS) throw new RefusedError(`more than ${MOST_STEPS} steps`);
    },
  };
  const file: File = { scope, names, unknown };
  const run = (statements: readonly SyntaxNode[]) => {
    for (const statement of statements) {
      try {
        execute(statement, file, run);
      } catch (error) {
        for (const name of boundNames(statement, file)) unknown.add(name);
        if (error instanceof UnknownError) continue;
        if (!(error instanceof RefusedError)) throw error;
        refused.push({ line: tree.lineAt(statement.from), text: error.message });
        if (steps > MOST_STEPS) return;
      }
    }
  };
  run(childrenOf(tree.top));
  return { names, refused };
}

interface File {
  readonly scope: Scope;
  readonly names: Map<string, PyEntry>;
  /** Bound by something that was refused. */
  readonly unknown: Set<string>;
}

/** Something depends on what was refused before. */
class UnknownError extends Error {}

function execute(
  node: SyntaxNode,
  file: File,
  run: (statements: readonly SyntaxNode[]) => void,
): void {
  file.scope.count();
  switch (node.name) {
    case "ImportStatement":
      return importNames(node, file);
    case "AssignStatement":
      return assign(node, file);
    case "UpdateStatement":
      return update(node, file);
    case "IfStatement":
      return run(chosenBranch(node, file.scope));
    case "StatementGroup":
      return run(childrenOf(node).filter(({ name }) => name !== ";"));
    case "ExpressionStatement": {
      const [expression] = childrenOf(node);
      // A text alone is a comment; anything else is there for what it does.
      if (expression) evaluate(expression, file.scope);
      return;
    }
    case "PassStatement":
      return;
    default:
      throw new RefusedError(STATEMENTS[node.name] ?? `a statement (${node.name})`);
  }
}

const STATEMENTS: Readonly<Record<string, string | undefined>> = {
  FunctionDefinition:
    "a function of its own. Give the data in a form that hone list-dataset-format names instead",
  ClassDefinition: "a class of its own",
  DecoratedStatement: "a function or class with a decorator",
  ForStatement: "a for loop",
  WhileStatement: "a while loop",
  TryStatement: "try",
  WithStatement:
    "with: the settings of other files (read_base) are not read. Run XTuner's own copy-cfg, or take the resolved config from a run's folder",
  DeleteStatement: "del",
  AssertStatement: "assert",
  RaiseStatement: "raise",
  ReturnStatement: "return",
  ScopeStatement: "global",
  MatchStatement: "match",
  TypeDefinition: "a type of its own",
  PrintStatement: "print",
};

/** Packages whose names stand in configs. A config that takes anything else does more than describe. */
const PACKAGES: ReadonlySet<string> = new Set(
  "torch datasets mmengine mmcv peft transformers xtuner bitsandbytes modelscope deepspeed flash_attn".split(
    " ",
  ),
);

/** from a.b import (c as d, e); import a.b as c */
function importNames(node: SyntaxNode, { scope, names, unknown }: File): void {
  const words = childrenOf(node)
    .map((child) => scope.tree.textOf(child))
    .filter((word) => word !== "(" && word !== ")");
  const at = words.indexOf("import");
  const from = words[0] === "from" ? words.slice(1, at).join("") : "";
  const root = (from === "" ? words[at + 1] : from.split(".", 1)[0]) ?? "";
  if (from.startsWith(".")) {
    throw new RefusedError(`an import from another file (${from}), which is not read`);
  }
  if (!PACKAGES.has(root)) {
    throw new RefusedError(`an import from ${root || from}: a config is read and never executed`);
  }
  const line = scope.tree.lineAt(node.from);
  for (const { name, as } of importedNames(words.slice(at + 1))) {
    if (name === "*") throw new RefusedError("import *");
    const whole = from === "" ? name : `${from}.${name}`;
    // "import a.b" binds a, and "import a.b as c" binds a.b.
    const first = name.split(".", 1)[0] ?? name;
    const bound = as ?? first;
    const symbol: PySymbol = {
      kind: "symbol",
      name: from === "" && as === undefined ? first : whole,
    };
    unknown.delete(bound);
    names.set(bound, { value: symbol, line });
  }
}

function importedNames(words: readonly string[]): { name: string; as: string | undefined }[] {
  const groups: string[][] = [[]];
  for (const word of words) {
    if (word === ",") groups.push([]);
    else groups.at(-1)?.push(word);
  }
  return groups
    .filter((group) => group.length > 0)
    .map((group) => {
      const at = group.indexOf("as");
      return at < 0
        ? { name: group.join(""), as: undefined }
        : { name: group.slice(0, at).join(""), as: group[at + 1] };
    });
}

/** a = b = 1; a: int = 1; a, b = 1, 2; a["b"] = 1 */
function assign(node: SyntaxNode, file: File): void {
  const sides = splitAtAssignments(childrenOf(node).filter(({ name }) => name !== "TypeDef"));
  const values = sides.pop() ?? [];
  if (sides.length === 0) return; // "a: int" binds nothing
  const line = file.scope.tree.lineAt(node.from);
  const [only] = values;
  const value: PyValue =
    values.length === 1 && only !== undefined
      ? evaluate(only, file.scope)
      : { kind: "tuple", items: evaluateItems(values, file.scope), line };
  for (const target of sides) bindAll(target, { value, line }, file);
}

function splitAtAssignments(nodes: readonly SyntaxNode[]): SyntaxNode[][] {
  const sides: SyntaxNode[][] = [[]];
  for (const node of nodes) {
    if (node.name === "AssignOp") sides.push([]);
    else sides.at(-1)?.push(node);
  }
  return sides;
}

function bindAll(target: readonly SyntaxNode[], entry: PyEntry, file: File): void {
  const places = target.filter(({ name }) => name !== ",");
  const [only] = places;
  if (only === undefined) throw new RefusedError("an assignment to nothing");
  if (target.length === 1) return bind(only, entry, file);
  if (!isList(entry.value) || entry.value.items.length !== places.length) {
    throw new RefusedError(`${kindOf(entry.value)} for ${places.length} names`);
  }
  for (const [index, place] of places.entries()) {
    bind(place, { value: entry.value.items[index] ?? null, line: entry.line }, file);
  }
}

function bind(target: SyntaxNode, entry: PyEntry, { scope, names, unknown }: File): void {
  if (target.name === "VariableName") {
    const name = scope.tree.textOf(target);
    if (name === "_base_") {
      throw new RefusedError(
        "_base_: settings of other files are not read. Take the resolved config from a run's folder",
      );
    }
    unknown.delete(name);
    names.set(name, entry);
    return;
  }
  const [object, access, key] = childrenOf(target);
  if (target.name !== "MemberExpression" || access?.name !== "[" || !object || !key) {
    throw new RefusedError(`an assignment to ${scope.tree.textOf(target).slice(0, 60)}`);
  }
  const container = evaluate(object, scope);
  const at = evaluate(key, scope);
  refuseCycle(entry.value, container, scope);
  if (isDict(container)) container.entries.set(keyOf(at), entry);
  else if (isList(container) && container.kind === "list" && typeof at === "bigint") {
    container.items[indexIn(container.items.length, at)] = entry.value;
  } else throw new RefusedError(`an assignment into ${kindOf(container)}`);
}

/** a += b. A list grows in place, so that all its names see it, as in Python. */
function update(node: SyntaxNode, file: File): void {
  const [target, operator, ...values] = childrenOf(node);
  if (target === undefined || operator === undefined) throw new RefusedError("an update");
  const { scope } = file;
  const line = scope.tree.lineAt(node.from);
  const at = { line, count: scope.count };
  const before = evaluate(target, scope);
  const change = evaluateItems(values, scope);
  if (change.length !== 1 || values.length !== 1) throw new RefusedError("a tuple after +=");
  const [by = null] = change;
  const sign = scope.tree.textOf(operator).slice(0, -1);
  if (isList(before) && before.kind === "list" && sign === "+" && isList(by)) {
    grow(before, by, scope);
    return;
  }
  const [one, other] = [before, by].map((value) =>
    isSymbol(value) ? scope.resolve(value) : value,
  );
  bind(target, { value: operate(sign, one ?? null, other ?? null, at), line }, file);
}

function grow(list: PyList, by: PyList, scope: Scope): void {
  for (const item of by.items) refuseCycle(item, list, scope);
  // Made anew first, which refuses what is too long.
  const grown = operate(
    "+",
    list,
    { ...by, kind: "list" },
    { line: list.line, count: scope.count },
  );
  if (isList(grown)) list.items.splice(0, list.items.length, ...grown.items);
}

/** Refuses to put `container` inside itself. */
function refuseCycle(value: PyValue, container: PyValue, scope: Scope): void {
  const seen = new Set<PyValue>();
  const waiting: PyValue[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next === container && (isList(next) || isDict(next))) {
      throw new RefusedError(`a ${next.kind} that holds itself`);
    }
    if (seen.has(next) || !(isList(next) || isDict(next))) continue;
    seen.add(next);
    scope.count(1 + stepsOfItems(isList(next) ? next.items.length : next.entries.size));
    const inner = isList(next)
      ? next.items
      : [...next.entries.values()].map((entry) => entry.value);
    waiting.push(...inner);
  }
}

/** The statements of the branch that is taken. */
function chosenBranch(node: SyntaxNode, scope: Scope): SyntaxNode[] {
  const parts = childrenOf(node);
  for (let i = 0; i < parts.length; i++) {
    const word = parts[i]?.name;
    if (word === "if" || word === "elif") {
      const condition = parts[i + 1];
      const body = parts[i + 2];
      if (condition === undefined || body === undefined) break;
      if (isTruthy(evaluate(condition, scope))) return childrenOf(body).slice(1);
      i += 2;
    } else if (word === "else") {
      const body = parts[i + 1];
      return body === undefined ? [] : childrenOf(body).slice(1);
    }
  }
  return [];
}

/** All names that a statement would have bound, in whatever branch. */
function boundNames(node: SyntaxNode, { scope }: File): string[] {
  const textOf = (part: SyntaxNode) => scope.tree.textOf(part);
  switch (node.name) {
    case "ImportStatement": {
      const words = childrenOf(node).map((child) => textOf(child));
      const names = importedNames(
        words.slice(words.indexOf("import") + 1).filter((word) => word !== "(" && word !== ")"),
      );
      return names.map(({ name, as }) => as ?? name.split(".", 1)[0] ?? name);
    }
    case "FunctionDefinition":
    case "ClassDefinition":
      return childrenOf(node)
        .filter(({ name }) => name === "VariableName")
        .slice(0, 1)
        .map((child) => textOf(child));
    case "AssignStatement":
    case "UpdateStatement":
      return splitAtAssignments(childrenOf(node))
        .slice(0, node.name === "AssignStatement" ? -1 : undefined)
        .flatMap((side) => side.slice(0, side[1]?.name === "UpdateOp" ? 1 : undefined))
        .flatMap((target) => rootName(target, textOf));
    default:
      return childrenOf(node).flatMap((child) =>
        /Statement|Body|Definition|StatementGroup/.test(child.name)
          ? boundNames(child, { scope } as File)
          : [],
      );
  }
}

/** "a" of a["b"]["c"]. */
function rootName(target: SyntaxNode, textOf: (node: SyntaxNode) => string): string[] {
  let node: SyntaxNode | null = target;
  while (node?.name === "MemberExpression") node = node.firstChild;
  return node?.name === "VariableName" ? [textOf(node)] : [];
}

// Runs a parsed Jinja template as Python's Jinja does, with a budget. The parser is a library's; its interpreter is
// JavaScript at heart, where templates need Python: `strip("\n")`, `==` of dicts, scopes, "None". Past 400 lines,
// since it is one case for each kind of node.
import { applyFilter, applyTest, itemOf } from "./jinja-filters.ts";
import { attributeOf, intOf } from "./jinja-methods.ts";
import { calculate, joined, partOfLoop, slice } from "./jinja-operators.ts";
import {
  areEqual,
  type Callable,
  compare,
  contains,
  costOf,
  FloatValue,
  isList,
  isTrue,
  iterate,
  LoopValue,
  NamespaceValue,
  spend,
  startWork,
  TemplateError,
  toText,
  typeName,
  type Value,
} from "./jinja-values.ts";

/** What the parser makes. Which parts a node has follows from its type. */
export interface Node {
  readonly type: string;
  readonly [part: string]: unknown;
}

/** Rounds that all loops of one rendering may take together. */
const LOOP_BUDGET = 300_000;

/** What working out one expression costs. */
const STEP_WORK = 20;
/** What looking for a name costs in each scope. */
const LOOKUP_WORK = 4;
/** What a round of a loop or a call of a macro costs beside its body. */
const ROUND_WORK = 60;
/** What a dict costs for each entry. */
const ENTRY_WORK = 30;

/** What ends a round of a loop early. */
type Jump = "break" | "continue" | undefined;

/** Names of a loop's round, a macro or the whole template; what is not found is looked for further out. */
class Scope {
  readonly #names = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Value {
    spend(LOOKUP_WORK);
    return this.#names.has(name) ? this.#names.get(name) : this.#outer?.get(name);
  }

  set(name: string, value: Value): void {
    this.#names.set(name, value);
  }
}

/** Renders `program`, a parsed template, with `globals` as its names. */
export function renderProgram(program: Node, globals: Readonly<Record<string, Value>>): string {
  startWork();
  const scope = new Scope();
  scope.set("namespace", makeNamespace);
  scope.set("dict", (args, named) => new Map<Value, Value>([...entriesOf(args[0]), ...named]));
  for (const [name, value] of Object.entries(globals)) scope.set(name, value);
  const inner = new Scope(scope);
  return new Interpreter().renderBody(program["body"] as Node[], inner).text;
}

function makeNamespace(args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const namespace = new NamespaceValue();
  for (const [name, value] of [...entriesOf(args[0]), ...named]) {
    namespace.entries.set(toText(name), value);
  }
  return namespace;
}

function entriesOf(value: Value): [Value, Value][] {
  spend(costOf(value) * ENTRY_WORK);
  if (value instanceof Map) return [...value] as [Value, Value][];
  return iterate(value).map((pair) => {
    const [key, item] = iterate(pair);
    return [key, item];
  });
}

class Interpreter {
  #roundsLeft = LOOP_BUDGET;

  renderBody(body: readonly Node[], scope: Scope): { text: string; jump: Jump } {
    let text = "";
    for (const node of body) {
      if (node.type === "Break") return { text, jump: "break" };
      if (node.type === "Continue") return { text, jump: "continue" };
      const part = this.#render(node, scope);
      if (typeof part === "string") text = joined(text, part);
      else {
        text = joined(text, part.text);
        if (part.jump !== undefined) return { text, jump: part.jump };
      }
    }
    return { text, jump: undefined };
  }

  #render(node: Node, scope: Scope): string | { text: string; jump: Jump } {
    switch (node.type) {
      case "Comment":
        return "";
      case "If": {
        const holds = isTrue(this.#evaluate(node["test"] as Node, scope));
        return this.renderBody(node[holds ? "body" : "alternate"] as Node[], scope);
      }
      case "For":
        return this.#renderFor(node, scope);
      case "Set":
        this.#set(node, scope);
        return "";
      case "Macro": {
        const macro = this.#makeMacro(node["args"] as Node[], node["body"] as Node[], scope);
        scope.set(nameOf(node["name"] as Node), macro);
        return "";
      }
      case "CallStatement": {
        const parameters = (node["callerArgs"] ?? []) as Node[];
        const caller = this.#makeMacro(parameters, node["body"] as Node[], scope);
        return toText(this.#call(node["call"] as Node, scope, caller));
      }
      case "FilterStatement": {
        const { text } = this.renderBody(node["body"] as Node[], new Scope(scope));
        return toText(this.#filter(text, node["filter"] as Node, scope));
      }
      default:
        return toText(this.#evaluate(node, scope));
    }
  }

  #renderFor(node: Node, scope: Scope): { text: string; jump: Jump } {
    const target = node["loopvar"] as Node;
    let source = node["iterable"] as Node;
    let test: Node | undefined;
    if (source.type === "SelectExpression") {
      test = source["test"] as Node;
      source = source["lhs"] as Node;
    }
    let items = iterate(this.#evaluate(source, scope));
    if (test !== undefined) {
      const condition = test;
      items = items.filter((item) => {
        const trial = new Scope(scope);
        this.#assign(target, item, trial);
        return isTrue(this.#evaluate(condition, trial));
      });
    }
    if (items.length === 0) return this.renderBody(node["defaultBlock"] as Node[], scope);
    let text = "";
    for (const [index, item] of items.entries()) {
      if (this.#roundsLeft-- <= 0) throw new TemplateError("its loops take too many rounds");
      spend(ROUND_WORK);
      const round = new Scope(scope);
      round.set("loop", new LoopValue(items, index));
      this.#assign(target, item, round);
      const part = this.renderBody(node["body"] as Node[], round);
      text = joined(text, part.text);
      if (part.jump === "break") break;
    }
    return { text, jump: undefined };
  }

  #set(node: Node, scope: Scope): void {
    const source = node["value"] as Node | null;
    const value =
      source === null
        ? this.renderBody(node["body"] as Node[], new Scope(scope)).text
        : this.#evaluate(source, scope);
    this.#assign(node["assignee"] as Node, value, scope);
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    switch (target.type) {
      case "Identifier":
        scope.set(nameOf(target), value);
        return;
      case "TupleLiteral": {
        const targets = target["value"] as Node[];
        const values = iterate(value);
        if (values.length !== targets.length) {
          throw new TemplateError(
            `${values.length} values cannot be set to ${targets.length} names`,
          );
        }
        for (const [i, inner] of targets.entries()) this.#assign(inner, values[i], scope);
        return;
      }
      case "MemberExpression": {
        const namespace = this.#evaluate(target["object"] as Node, scope);
        if (!(namespace instanceof NamespaceValue)) {
          throw new TemplateError(`a part of ${typeName(namespace)} cannot be set`);
        }
        namespace.entries.set(nameOf(target["property"] as Node), value);
        return;
      }
      default:
        throw new TemplateError(`${target.type} cannot be set`);
    }
  }

  #makeMacro(parameters: readonly Node[], body: readonly Node[], outer: Scope): Callable {
    return (args, named) => {
      spend(ROUND_WORK);
      const scope = new Scope(outer);
      const names = parameters.map((node) => nameOf((node["key"] ?? node) as Node));
      if (args.length > names.length) throw new TemplateError("a macro got too many values");
      const spare = new Map(named);
      for (const [i, name] of names.entries()) {
        const fallback =
          parameters[i]?.type === "Identifier" ? undefined : parameters[i]?.["value"];
        const given = i < args.length ? args[i] : named.get(name);
        const isGiven = i < args.length || named.has(name);
        const value =
          isGiven || fallback === undefined ? given : this.#evaluate(fallback as Node, scope);
        scope.set(name, value);
        spare.delete(name);
      }
      scope.set("caller", named.get("caller"));
      spare.delete("caller");
      scope.set("kwargs", spare);
      return this.renderBody(body, scope).text;
    };
  }

  #evaluate(node: Node, scope: Scope): Value {
    spend(STEP_WORK);
    switch (node.type) {
      case "StringLiteral":
      case "IntegerLiteral":
        return node["value"] as string | number;
      case "FloatLiteral":
        return new FloatValue(node["value"] as number);
      case "ArrayLiteral":
      case "TupleLiteral":
        return (node["value"] as Node[]).map((item) => this.#evaluate(item, scope));
      case "ObjectLiteral":
        return new Map(
          Array.from(node["value"] as Map<Node, Node>, ([key, value]) => {
            const name = this.#evaluate(key, scope);
            spend(costOf(name));
            return [name, this.#evaluate(value, scope)];
          }),
        );
      case "Identifier":
        return scope.get(nameOf(node));
      case "MemberExpression":
        return this.#member(node, scope);
      case "CallExpression":
        return this.#call(node, scope);
      case "UnaryExpression":
        return this.#unary(node, scope);
      case "BinaryExpression":
        return this.#binary(node, scope);
      case "FilterExpression":
        return this.#filter(
          this.#evaluate(node["operand"] as Node, scope),
          node["filter"] as Node,
          scope,
        );
      case "TestExpression": {
        const operand = this.#evaluate(node["operand"] as Node, scope);
        return applyTest(nameOf(node["test"] as Node), operand, []) !== (node["negate"] === true);
      }
      case "SelectExpression":
        return isTrue(this.#evaluate(node["test"] as Node, scope))
          ? this.#evaluate(node["lhs"] as Node, scope)
          : undefined;
      case "Ternary": {
        const holds = isTrue(this.#evaluate(node["condition"] as Node, scope));
        return this.#evaluate(node[holds ? "trueExpr" : "falseExpr"] as Node, scope);
      }
      default:
        throw new TemplateError(`${node.type} is not known`);
    }
  }

  #member(node: Node, scope: Scope): Value {
    const object = this.#evaluate(node["object"] as Node, scope);
    const property = node["property"] as Node;
    if (property.type === "SliceExpression") return this.#slice(object, property, scope);
    if (object === undefined) {
      throw new TemplateError(`${describe(node["object"] as Node)} is undefined`);
    }
    if (object instanceof LoopValue) {
      return partOfLoop(
        object,
        node["computed"] === true ? toText(this.#evaluate(property, scope)) : nameOf(property),
      );
    }
    // x["a"] looks among the items first, x.a among the attributes.
    if (node["computed"] === true) {
      const key = this.#evaluate(property, scope);
      const item = itemOf(object, key);
      return item === undefined && typeof key === "string" ? attributeOf(object, key) : item;
    }
    const name =
      property.type === "IntegerLiteral" ? (property["value"] as number) : nameOf(property);
    const attribute = typeof name === "string" ? attributeOf(object, name) : undefined;
    return attribute === undefined ? itemOf(object, name) : attribute;
  }

  #slice(object: Value, node: Node, scope: Scope): Value {
    const [start, stop, step] = ["start", "stop", "step"].map((part) => {
      const bound = node[part] as Node | undefined;
      const value = bound && this.#evaluate(bound, scope);
      return value === undefined || value === null ? undefined : intOf(value, "a slice's bound");
    });
    if (typeof object !== "string" && !isList(object)) {
      throw new TemplateError(`${typeName(object)} cannot be sliced`);
    }
    const taken = slice(iterate(object), start, stop, step ?? 1);
    return typeof object === "string" ? taken.map(toText).join("") : taken;
  }

  #call(node: Node, scope: Scope, caller?: Callable): Value {
    const callee = node["callee"] as Node;
    const { args, named } = this.#arguments(node["args"] as Node[], scope);
    if (caller !== undefined) named.set("caller", caller);
    const target = this.#evaluate(callee, scope);
    if (typeof target !== "function") {
      throw new TemplateError(`${describe(callee)} is ${typeName(target)} and cannot be called`);
    }
    return target(args, named);
  }

  #arguments(nodes: readonly Node[], scope: Scope): { args: Value[]; named: Map<string, Value> } {
    const args: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === "KeywordArgumentExpression") {
        named.set(nameOf(node["key"] as Node), this.#evaluate(node["value"] as Node, scope));
      } else if (node.type === "SpreadExpression") {
        args.push(...iterate(this.#evaluate(node["argument"] as Node, scope)));
      } else if (node.type === "KeywordSpreadExpression") {
        for (const [key, value] of entriesOf(this.#evaluate(node["argument"] as Node, scope))) {
          named.set(toText(key), value);
        }
      } else args.push(this.#evaluate(node, scope));
    }
    return { args, named };
  }

  #filter(value: Value, node: Node, scope: Scope): Value {
    spend(costOf(value));
    if (node.type === "Identifier") return applyFilter(nameOf(node), value, [], new Map());
    const { args, named } = this.#arguments(node["args"] as Node[], scope);
    return applyFilter(nameOf(node["callee"] as Node), value, args, named);
  }

  #unary(node: Node, scope: Scope): Value {
    const value = this.#evaluate(node["argument"] as Node, scope);
    const operator = operatorOf(node);
    return operator === "not" ? !isTrue(value) : calculate(operator, 0, value);
  }

  #binary(node: Node, scope: Scope): Value {
    const operator = operatorOf(node);
    const left = this.#evaluate(node["left"] as Node, scope);
    if (operator === "and" && !isTrue(left)) return left;
    if (operator === "or" && isTrue(left)) return left;
    const right = this.#evaluate(node["right"] as Node, scope);
    switch (operator) {
      case "and":
      case "or":
        return right;
      case "==":
        return areEqual(left, right);
      case "!=":
        return !areEqual(left, right);
      case "in":
        return contains(right, left);
      case "not in":
        return !contains(right, left);
      case "<":
        return compare(left, right) < 0;
      case "<=":
        return compare(left, right) <= 0;
      case ">":
        return compare(left, right) > 0;
      case ">=":
        return compare(left, right) >= 0;
      case "~":
        return joined(toText(left), toText(right));
      default:
        return calculate(operator, left, right);
    }
  }
}

function nameOf(node: Node): string {
  return String(node["value"]);
}

function operatorOf(node: Node): string {
  return (node["operator"] as { value: string }).value;
}

/** What an expression is called in errors: message.content. */
function describe(node: Node): string {
  if (node.type === "MemberExpression") {
    return `${describe(node["object"] as Node)}.${nameOf(node["property"] as Node)}`;
  }
  return node.type === "Identifier" ? nameOf(node) : "a value";
}

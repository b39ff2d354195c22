// A reader of Python pickles that builds plain values and calls nothing.
//
// A pickle is a program for a small stack machine, and Python's own lets it call any function. Here the
// machine knows the opcodes of protocols 2 to 5 that build data, and only the names in a table that its user
// gives; everything else is refused with its byte. It is a loop over bytes: a value is never walked, so depth
// and shared references cost nothing. What a file can make it do is bounded by `LIMITS`.
import { UserError } from "../base/error.ts";
import { PickleMachine } from "./pickle-machine.ts";
import {
  describePickled,
  type GlobalRules,
  PickleGlobal,
  PickleRecord,
  PickleRefusal,
  PickleTuple,
  type PickleValue,
} from "./pickle-values.ts";

export interface PickleParts {
  /** The names that the pickle may mention, and what becomes of each. */
  readonly globals: GlobalRules;
  /** What a persistent id stands for: in files of PyTorch, a storage. Throws a `PickleRefusal`. */
  readonly persistent: (id: PickleValue) => PickleValue;
  /** Where the pickle begins; 0, if not given. */
  readonly start?: number;
}

/** Thrown where the bytes end before the pickle does, so that a caller with more of them can try again. */
export class TruncatedPickle extends UserError {}

/**
 * Reads one pickle. Returns its value and where it ends. `place` names it in errors, which say the byte,
 * counted from the first of `bytes`.
 */
export function unpickle(
  bytes: Uint8Array,
  place: string,
  parts: PickleParts,
): { value: PickleValue; end: number } {
  const machine = new PickleMachine(bytes, parts.start ?? 0);
  try {
    readProtocol(machine);
    for (;;) {
      const opcode = machine.nextOpcode();
      if (opcode === STOP) return { value: machine.result(), end: machine.at };
      const act = ACTIONS.get(opcode);
      if (!act) throw new PickleRefusal(unknownOpcode(opcode));
      act(machine, parts);
    }
  } catch (error) {
    if (!(error instanceof PickleRefusal)) throw error;
    const fact = `${place}: at byte ${machine.opcodeAt} the pickle ${error.message}.`;
    throw machine.isTruncated
      ? new TruncatedPickle(fact, "Download or copy the file again.")
      : new UserError(fact, UNTRUSTED);
  }
}

const UNTRUSTED =
  "A pickle can carry programs; Hone reads only tensors and plain values from one. Ask for the weights as safetensors.";

const PROTO = 0x80;
const STOP = 0x2e;

function readProtocol(machine: PickleMachine): void {
  const opcode = machine.nextOpcode();
  if (opcode !== PROTO) {
    throw new PickleRefusal(`begins with byte 0x${hex(opcode)}, where a protocol (0x80) must be`);
  }
  checkProtocol(machine);
}

function checkProtocol(machine: PickleMachine): void {
  const version = machine.byte();
  if (version >= 2 && version <= 5) return;
  throw new PickleRefusal(`is of protocol ${version}; protocols 2 to 5 are read`);
}

/** Opcodes that no file of tensors needs. */
const REFUSED: Readonly<Record<number, string>> = {
  0x69: "makes an object (INST)",
  0x6f: "makes an object (OBJ)",
  0x82: "makes an object of a registered extension (EXT1)",
  0x83: "makes an object of a registered extension (EXT2)",
  0x84: "makes an object of a registered extension (EXT4)",
  0x92: "makes an object with named arguments (NEWOBJ_EX)",
  0x50: "has a persistent id as text (PERSID)",
  0x97: "takes a buffer from outside the file (NEXT_BUFFER)",
  0x98: "takes a buffer from outside the file (READONLY_BUFFER)",
  0x46: "has a float as text, of protocol 0 (FLOAT)",
  0x49: "has a number as text, of protocol 0 (INT)",
  0x4c: "has a number as text, of protocol 0 (LONG)",
  0x53: "has a string as text, of protocol 0 (STRING)",
  0x56: "has a string as text, of protocol 0 (UNICODE)",
  0x67: "has a reference as text, of protocol 0 (GET)",
  0x70: "has a reference as text, of protocol 0 (PUT)",
};

function unknownOpcode(opcode: number): string {
  return REFUSED[opcode] ?? `has byte 0x${hex(opcode)}, which is no opcode`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

type Action = (machine: PickleMachine, parts: PickleParts) => void;

const ACTIONS: ReadonlyMap<number, Action> = new Map<number, Action>([
  [PROTO, checkProtocol],
  [0x95, (m) => m.frame()],
  // Constants.
  [0x4e, (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
  [0x4b, (m) => m.push(m.byte())],
  [0x4d, (m) => m.push(m.uint(2))],
  [0x4a, (m) => m.push(m.uint(4) | 0)],
  [0x8a, (m) => m.push(m.long(m.byte()))],
  [0x8b, (m) => m.push(m.long(m.uint(4)))],
  [0x47, (m) => m.push(m.float())],
  [0x8c, (m) => m.push(m.text(m.byte()))],
  [0x58, (m) => m.push(m.text(m.uint(4)))],
  [0x8d, (m) => m.push(m.text(m.uint(8)))],
  [0x55, (m) => m.push(m.latin(m.byte()))],
  [0x54, (m) => m.push(m.latin(m.uint(4)))],
  [0x43, (m) => m.pushNew(m.take(m.byte()))],
  [0x42, (m) => m.pushNew(m.take(m.uint(4)))],
  [0x8e, (m) => m.pushNew(m.take(m.uint(8)))],
  [0x96, (m) => m.pushNew(m.take(m.uint(8)))],
  // Containers.
  [0x29, (m) => m.pushNew(new PickleTuple([]))],
  [0x85, (m) => m.pushNew(new PickleTuple(m.popMany(1)))],
  [0x86, (m) => m.pushNew(new PickleTuple(m.popMany(2)))],
  [0x87, (m) => m.pushNew(new PickleTuple(m.popMany(3)))],
  [0x74, (m) => m.pushNew(new PickleTuple(m.popToMark()))],
  [0x5d, (m) => m.pushNew([])],
  [0x6c, (m) => m.pushNew(m.popToMark())],
  [0x7d, (m) => m.pushNew(new Map())],
  [0x64, (m) => m.pushNew(withItems(m.popToMark()))],
  [0x8f, (m) => m.pushNew(new Set())],
  [0x91, (m) => m.pushNew(new Set(m.popToMark().map(asKey)))],
  // Filling them.
  [0x61, (m) => append(m, [m.pop()])],
  [0x65, (m) => append(m, m.popToMark())],
  [0x73, (m) => setItems(m, m.popMany(2))],
  [0x75, (m) => setItems(m, m.popToMark())],
  [0x90, (m) => addToSet(m, m.popToMark())],
  // The stack and the memo.
  [0x28, (m) => m.mark()],
  [0x30, (m) => m.discard()],
  [0x31, (m) => void m.popToMark()],
  [0x32, (m) => m.push(m.top())],
  [0x71, (m) => m.remember(m.byte())],
  [0x72, (m) => m.remember(m.uint(4))],
  [0x94, (m) => m.remember(m.memoSize)],
  [0x68, (m) => m.push(m.recall(m.byte()))],
  [0x6a, (m) => m.push(m.recall(m.uint(4)))],
  // Names, and what is made with them.
  [0x63, (m, { globals }) => m.push(findGlobal(m.line(), m.line(), globals))],
  [0x93, stackGlobal],
  [0x51, (m, { persistent }) => m.pushNew(persistent(m.pop()))],
  [0x52, reduce],
  [0x81, makeObject],
  [0x62, build],
]);

const NAME = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/;

function findGlobal(module: string, name: string, globals: GlobalRules): PickleGlobal {
  if (!NAME.test(module) || !NAME.test(name)) {
    throw new PickleRefusal(
      `asks for ${describePickled(`${module} ${name}`)}, which is no name of Python`,
    );
  }
  const whole = `${module}.${name}`;
  const rule = globals.get(whole);
  if (rule) return new PickleGlobal(whole, rule);
  throw new PickleRefusal(`asks for ${describePickled(whole)}, which is no part of a tensor file`);
}

function stackGlobal(machine: PickleMachine, { globals }: PickleParts): void {
  const [module, name] = machine.popMany(2);
  if (typeof module !== "string" || typeof name !== "string") {
    throw new PickleRefusal(
      `asks for a name made of ${describePickled(module)} and ${describePickled(name)}`,
    );
  }
  machine.push(findGlobal(module, name, globals));
}

function reduce(machine: PickleMachine): void {
  const [callee, args] = machine.popMany(2);
  if (!(callee instanceof PickleGlobal)) {
    throw new PickleRefusal(`calls ${describePickled(callee)}, which is no function`);
  }
  if (!(args instanceof PickleTuple)) {
    throw new PickleRefusal(`calls ${callee.name} with ${describePickled(args)}`);
  }
  const { rule, name } = callee;
  if (rule.kind === "name") throw new PickleRefusal(`calls ${name}, which is no function here`);
  machine.pushNew(
    rule.kind === "record" ? new PickleRecord(name, args) : rule.call(args.items, machine),
  );
}

function makeObject(machine: PickleMachine): void {
  const [type, args] = machine.popMany(2);
  if (!(type instanceof PickleGlobal) || type.rule.kind !== "record") {
    throw new PickleRefusal(`makes an object of ${describePickled(type)}`);
  }
  machine.pushNew(new PickleRecord(type.name, args ?? null));
}

/** What an object's `__setstate__` would be given: kept for a record, nothing to an OrderedDict. */
function build(machine: PickleMachine): void {
  const state = machine.pop();
  const target = machine.top();
  if (target instanceof PickleRecord) target.state = state;
  // Modules leave `_metadata` on the dict of their tensors.
  else if (!(target instanceof Map && state instanceof Map)) {
    throw new PickleRefusal(
      `sets the state of ${describePickled(target)} to ${describePickled(state)}`,
    );
  }
}

function append(machine: PickleMachine, values: readonly PickleValue[]): void {
  const target = machine.top();
  const list = target instanceof PickleRecord ? target.items : target;
  if (!Array.isArray(list)) throw new PickleRefusal(`appends to ${describePickled(target)}`);
  appendAll(list, values);
}

/** Not `push(...values)`: a million arguments overflow the stack. */
function appendAll(list: PickleValue[], values: readonly PickleValue[]): void {
  for (const value of values) list.push(value);
}

/** `pairs` is a key, its value, a key … */
function setItems(machine: PickleMachine, pairs: readonly PickleValue[]): void {
  const target = machine.top();
  if (target instanceof PickleRecord) appendAll(target.items, pairs);
  else if (target instanceof Map) {
    for (const [key, value] of withItems(pairs)) target.set(key, value);
  } else throw new PickleRefusal(`sets an item of ${describePickled(target)}`);
}

function withItems(pairs: readonly PickleValue[]): Map<PickleValue, PickleValue> {
  if (pairs.length % 2 !== 0) throw new PickleRefusal("sets a key that has no value");
  const items = new Map<PickleValue, PickleValue>();
  for (let i = 0; i < pairs.length; i += 2) items.set(asKey(pairs[i]), pairs[i + 1] ?? null);
  return items;
}

function addToSet(machine: PickleMachine, values: readonly PickleValue[]): void {
  const target = machine.top();
  if (!(target instanceof Set)) throw new PickleRefusal(`adds to ${describePickled(target)}`);
  for (const value of values) target.add(asKey(value));
}

/** What Python can hash. Tuples are told apart by identity here, which no file of tensors minds. */
function asKey(value: PickleValue | undefined): PickleValue {
  const isHashable = !Array.isArray(value) && !(value instanceof Map) && !(value instanceof Set);
  if (value !== undefined && isHashable) return value;
  throw new PickleRefusal(`has ${describePickled(value)} as a key`);
}

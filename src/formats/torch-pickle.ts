// The names that a file of PyTorch may mention, and what becomes of each: storages and tensors become
// descriptions of where numbers lie, the training program's data holders become records, all else is refused.
import {
  describePickled,
  type GlobalRule,
  type GlobalRules,
  type PickleBudget,
  PickleGlobal,
  type PickleMade,
  PickleRecord,
  PickleRefusal,
  PickleTuple,
  type PickleValue,
} from "./pickle-values.ts";
import { type SafetensorsDtype, tensorBytes } from "./safetensors.ts";

/** A run of numbers in the file that tensors are views of. */
export interface PickledStorage extends PickleMade {
  readonly made: "storage";
  /** The name that the file has for it. */
  readonly key: string;
  /** Undefined where it is bytes, of which each tensor says the type. */
  readonly dtype: SafetensorsDtype | undefined;
  /** Elements of that type; bytes, where there is none. */
  readonly size: number;
  /** Of which this is a part, from this element on, in files before PyTorch 0.4. */
  readonly part?: { readonly first: number; readonly size: number };
}

/** A tensor as the pickle describes it; its numbers were not looked at. */
export interface PickledTensor extends PickleMade {
  readonly made: "tensor";
  readonly storage: PickledStorage;
  readonly dtype: SafetensorsDtype;
  /** Of its first element, in elements from the storage's first. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** In elements. */
  readonly strides: readonly number[];
}

export function isPickledTensor(value: PickleValue | undefined): value is PickledTensor {
  return isMade(value) && value.made === "tensor";
}

function isStorage(value: PickleValue | undefined): value is PickledStorage {
  return isMade(value) && value.made === "storage";
}

function isMade(value: PickleValue | undefined): value is PickleMade {
  return typeof value === "object" && value !== null && "made" in value;
}

const STORAGES: Readonly<Record<string, SafetensorsDtype>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
  ComplexFloatStorage: "C64",
};

/** Types of numbers by their names in PyTorch: those without a storage class of their own too. */
const DTYPES: Readonly<Record<string, SafetensorsDtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  uint8: "U8",
  bool: "BOOL",
  complex64: "C64",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
  float8_e8m0fnu: "F8_E8M0",
};

const UNTYPED = "torch.storage.UntypedStorage";
const HISTORY = "mmengine.logging.history_buffer.HistoryBuffer";
/** The functions of a HistoryBuffer, of which it keeps a list among its data. */
const HISTORY_FUNCTIONS = ["min", "max", "mean", "current"];

/** Holders of data in the checkpoints of MMEngine, and what NumPy's arrays are made of. */
const RECORDS = [
  HISTORY,
  "mmengine.config.config.ConfigDict",
  "collections.deque",
  "numpy.dtype",
  ...["numpy.core", "numpy._core"].flatMap((core) => [
    `${core}.multiarray._reconstruct`,
    `${core}.multiarray.scalar`,
    `${core}.numeric._frombuffer`,
  ]),
  "torch.device",
];

const NAMES = [
  "numpy.ndarray",
  UNTYPED,
  // As protocol 4 names them; earlier ones ask for getattr.
  ...HISTORY_FUNCTIONS.map((name) => `${HISTORY}.${name}`),
];

const call = (make: (args: readonly PickleValue[], budget: PickleBudget) => PickleValue) =>
  ({ kind: "function", call: make }) satisfies GlobalRule;

/** Every name that is allowed. */
export const TORCH_GLOBALS: GlobalRules = new Map<string, GlobalRule>([
  ...[...NAMES, ...under("torch", STORAGES), ...under("torch", DTYPES)].map(
    (name) => [name, { kind: "name" }] as const,
  ),
  ...RECORDS.map((name) => [name, { kind: "record" }] as const),
  ["torch._utils._rebuild_tensor_v2", call(rebuildTensor)],
  ["torch._utils._rebuild_tensor_v3", call(rebuildTensor)],
  ["torch._utils._rebuild_tensor", call(rebuildTensor)],
  ["torch._utils._rebuild_parameter", call(unwrapParameter)],
  ["torch._utils._rebuild_parameter_with_state", call(unwrapParameter)],
  ["torch.Size", call(([sizes]) => requireTuple(sizes, "torch.Size"))],
  ["collections.OrderedDict", call(orderedDict)],
  ["_codecs.encode", call(encodeText)],
  ...["__builtin__", "builtins"].flatMap((module): [string, GlobalRule][] => [
    [`${module}.set`, call(([items], budget) => setOf(items, budget))],
    [`${module}.frozenset`, call(([items], budget) => setOf(items, budget))],
    [`${module}.bytes`, call((args) => emptyBytes(args))],
    [`${module}.getattr`, call(functionOfHistory)],
  ]),
]);

function under(module: string, names: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(names).map((name) => `${module}.${name}`);
}

/** ("storage", class, key, device, size), and in the old format a part of it. */
export function readStorage(id: PickleValue): PickledStorage {
  const [kind, type, key, _device, size, part] = requireTuple(id, "a persistent id").items;
  if (kind !== "storage") {
    throw new PickleRefusal(`has a persistent id of kind ${describePickled(kind)}`);
  }
  const dtype = storageType(type);
  if (typeof key !== "string" || key.length > 100) {
    throw new PickleRefusal(`has a storage called ${describePickled(key)}`);
  }
  const count = requireSize(size, `the size of storage ${describePickled(key)}`);
  if (storageBytes(dtype, count) === undefined) {
    throw new PickleRefusal(`has a storage of ${count} elements, more bytes than can be counted`);
  }
  const whole: PickledStorage = { made: "storage", key, dtype, size: count };
  return part === undefined || part === null ? whole : { ...whole, part: readPart(part, count) };
}

/** Bytes of so many elements of a storage's type; undefined where a double cannot count them. */
export function storageBytes(
  dtype: SafetensorsDtype | undefined,
  size: number,
): number | undefined {
  return tensorBytes(dtype ?? "U8", [size]);
}

/** (key, first element, number of elements) */
function readPart(part: PickleValue, whole: number): { first: number; size: number } {
  const [, first, size] = requireTuple(part, "a part of a storage").items;
  const from = requireSize(first, "the start of a part of a storage");
  const count = requireSize(size, "the size of a part of a storage");
  if (from + count <= whole) return { first: from, size: count };
  throw new PickleRefusal(
    `has a part of a storage up to element ${from + count}, and the storage has ${whole}`,
  );
}

function storageType(type: PickleValue | undefined): SafetensorsDtype | undefined {
  if (type instanceof PickleGlobal) {
    if (type.name === UNTYPED) return undefined;
    const dtype = STORAGES[type.name.replace(/^torch\./, "")];
    if (dtype) return dtype;
  }
  throw new PickleRefusal(`has a storage of type ${describePickled(type)}`);
}

/** (storage, offset, shape, strides, requires_grad, hooks, and a dtype in v3) */
function rebuildTensor(args: readonly PickleValue[]): PickledTensor {
  const [storage, first, sizes, steps, _requiresGrad, _hooks, type] = args;
  if (!isStorage(storage)) {
    throw new PickleRefusal(`makes a tensor of ${describePickled(storage)}, which is no storage`);
  }
  const dtype = storage.dtype ?? namedDtype(type);
  const offset = requireSize(first, "a tensor's offset");
  const shape = requireSizes(sizes, "shape");
  const strides = requireSizes(steps, "strides");
  const bytes = tensorBytes(dtype, shape);
  if (bytes === undefined || shape.length !== strides.length) {
    throw new PickleRefusal(
      `has a tensor of shape [${shape.join(", ")}] and strides [${strides.join(", ")}], which is none`,
    );
  }
  const elements = bytes / (storageBytes(dtype, 1) ?? 1);
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * (strides[i] ?? 0), offset);
  const has = elementsOf(storage, dtype);
  if (elements > 0 && (!Number.isSafeInteger(last) || last >= has)) {
    throw new PickleRefusal(`has a tensor up to element ${last}, and its storage has ${has}`);
  }
  if (elements > has) {
    throw new PickleRefusal(
      `has a tensor that repeats ${has} numbers to ${elements} (an expanded tensor)`,
    );
  }
  return { made: "tensor", storage, dtype, offset, shape, strides };
}

function namedDtype(type: PickleValue | undefined): SafetensorsDtype {
  const name = type instanceof PickleGlobal ? type.name.replace(/^torch\./, "") : "";
  const dtype = DTYPES[name];
  if (dtype) return dtype;
  throw new PickleRefusal(`has a tensor of type ${describePickled(type)}`);
}

function elementsOf({ dtype: own, size, part }: PickledStorage, dtype: SafetensorsDtype): number {
  const units = part?.size ?? size;
  return own ? units : Math.floor(units / (storageBytes(dtype, 1) ?? 1));
}

/** (tensor, requires_grad, hooks …) */
function unwrapParameter([tensor]: readonly PickleValue[]): PickledTensor {
  if (isPickledTensor(tensor)) return tensor;
  throw new PickleRefusal(`makes a parameter of ${describePickled(tensor)}`);
}

/** Of nothing, or of a list of pairs. */
function orderedDict(
  [pairs]: readonly PickleValue[],
  budget: PickleBudget,
): Map<PickleValue, PickleValue> {
  const items = new Map<PickleValue, PickleValue>();
  if (pairs === undefined) return items;
  const list = itemsOf(pairs, "an OrderedDict", budget);
  for (const pair of list) {
    const [key, value, extra] = itemsOf(pair, "an OrderedDict's pair", budget);
    if (typeof key !== "string" || value === undefined || extra !== undefined) {
      throw new PickleRefusal(`has an OrderedDict with ${describePickled(pair)} as a pair`);
    }
    items.set(key, value);
  }
  return items;
}

function setOf(items: PickleValue | undefined, budget: PickleBudget): Set<PickleValue> {
  return new Set(items === undefined ? [] : itemsOf(items, "a set", budget));
}

/** Of memory, and about as much time, as so many bytes copied. */
const BYTES_A_MEMBER = 32;

function itemsOf(list: PickleValue, what: string, budget: PickleBudget): readonly PickleValue[] {
  const items = list instanceof PickleTuple ? list.items : list;
  if (!Array.isArray(items)) throw new PickleRefusal(`makes ${what} of ${describePickled(list)}`);
  budget.spend(BYTES_A_MEMBER * (items.length + 1));
  return items as readonly PickleValue[];
}

/** How protocol 2 writes bytes: as a text of which each letter is one. */
function encodeText([text, encoding]: readonly PickleValue[], budget: PickleBudget): Uint8Array {
  if (typeof text !== "string" || encoding !== "latin1") {
    throw new PickleRefusal(
      `encodes ${describePickled(text)} as ${describePickled(encoding)}; only bytes written as latin1 are read`,
    );
  }
  budget.spend(text.length);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const letter = text.charCodeAt(i);
    if (letter > 0xff) throw new PickleRefusal("has bytes written as letters that are none");
    bytes[i] = letter;
  }
  return bytes;
}

function emptyBytes(args: readonly PickleValue[]): Uint8Array {
  if (args.length === 0) return new Uint8Array(0);
  throw new PickleRefusal(`makes bytes of ${describePickled(args[0])}`);
}

/** A HistoryBuffer's state names its class's functions by `getattr`; nothing else of it is allowed. */
function functionOfHistory([owner, name]: readonly PickleValue[]): PickleRecord {
  const isHistory = owner instanceof PickleGlobal && owner.name === HISTORY;
  if (isHistory && typeof name === "string" && HISTORY_FUNCTIONS.includes(name)) {
    return new PickleRecord(`${HISTORY}.${name}`, null);
  }
  throw new PickleRefusal(
    `asks for ${describePickled(name)} of ${describePickled(owner)} (getattr), which is no part of a tensor file`,
  );
}

function requireTuple(value: PickleValue | undefined, what: string): PickleTuple {
  if (value instanceof PickleTuple) return value;
  throw new PickleRefusal(`has ${describePickled(value)} as ${what}, where a tuple is needed`);
}

function requireSizes(value: PickleValue | undefined, what: string): number[] {
  const { items } = requireTuple(value, `a tensor's ${what}`);
  if (items.length > 64) throw new PickleRefusal(`has a tensor of ${items.length} dimensions`);
  return items.map((size) => requireSize(size, `one of a tensor's ${what}`));
}

function requireSize(value: PickleValue | undefined, what: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new PickleRefusal(`has ${describePickled(value)} as ${what}`);
}

// Pickles, ZIP archives and files of torch.save, written opcode by opcode and field by field: right ones, and
// wrong ones that no library would write. Shares nothing with what reads them.

type Code = Uint8Array<ArrayBuffer>;

type Part = Uint8Array | readonly number[] | readonly Uint8Array[];

export function join(...given: Part[]): Code {
  const parts: (Uint8Array | readonly number[])[] = given.flatMap(
    (part): readonly (Uint8Array | readonly number[])[] => (isList(part) ? part : [part]),
  );
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const isList = (part: Part): part is readonly Uint8Array[] => part[0] instanceof Uint8Array;

function number(size: number, value: number): Code {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return bytes.slice(0, size);
}

const u16 = (value: number) => number(2, value);
export const u32 = (value: number) => number(4, value);
export const u64 = (value: number) => number(8, value);

const letters = (value: string) => new TextEncoder().encode(value);
const op = (letter: string) => letters(letter);

// Values.
export const none = op("N");
const no = join([0x89]);
export const text = (value: string) => join(op("X"), u32(letters(value).length), letters(value));
/** Of any size: 32 bits where they do, else a LONG1 of 8 bytes. */
export const int = (value: number) =>
  value === (value | 0) ? join(op("J"), u32(value)) : join([0x8a, 8], u64(value));
export const global = (module: string, name: string) =>
  join(op("c"), letters(`${module}\n${name}\n`));
export const stackGlobal = (module: string, name: string) => join(text(module), text(name), [0x93]);
export const tuple = (...items: Code[]) => join(op("("), ...items, op("t"));
export const list = (...items: Code[]) => join(op("]"), op("("), ...items, op("e"));
export const dict = (...pairs: (readonly [Code, Code])[]) =>
  join(op("}"), op("("), ...pairs.flat(), op("u"));
export const call = (callee: Code, ...args: Code[]) => join(callee, tuple(...args), op("R"));
export const build = (target: Code, state: Code) => join(target, state, op("b"));
export const put = (value: Code, index: number) => join(value, op("r"), u32(index));
export const get = (index: number) => join(op("j"), u32(index));

/** A whole pickle of protocol 2. */
export const pickle = (value: Code) => join([0x80, 2], value, op("."));

export interface ViewParts {
  readonly key?: string;
  readonly type?: Code;
  /** Of the storage, in elements. */
  readonly size: number;
  readonly offset?: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export const floats = global("torch", "FloatStorage");
export const storage = (type: Code, key: string, size: number) =>
  join(tuple(text("storage"), type, text(key), text("cpu"), int(size)), op("Q"));

/** A tensor, as torch.save describes it. */
export function tensor({
  key = "0",
  type = floats,
  size,
  offset = 0,
  shape,
  strides,
}: ViewParts): Code {
  return call(
    global("torch._utils", "_rebuild_tensor_v2"),
    storage(type, key, size),
    int(offset),
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    no,
    call(global("collections", "OrderedDict")),
  );
}

export interface Entry {
  readonly name: string;
  readonly data: Uint8Array;
  /** In both headers, unless the local one says something else. */
  readonly method?: number;
  readonly flags?: number;
  readonly localName?: string;
  readonly localBytes?: number;
  /** Of the local header: alignment, as PyTorch pads with. */
  readonly extra?: Uint8Array;
  /** Between this entry's data and what follows. */
  readonly gap?: Uint8Array;
  /** What the central directory says. */
  readonly listed?: {
    readonly bytes?: number;
    readonly storedBytes?: number;
    readonly offset?: number;
    readonly extra?: Uint8Array;
  };
}

export interface ZipParts {
  readonly entries: readonly Entry[];
  /** Written after the end record, or as its comment. */
  readonly behind?: Uint8Array;
  readonly before?: Uint8Array;
  readonly comment?: Uint8Array;
  readonly count?: number;
  readonly disk?: number;
  readonly directoryAt?: number;
  /** Whether a 64-bit end record is written, and where its locator says it is. */
  readonly is64?: boolean;
  readonly end64At?: number;
}

export function zip(parts: ZipParts): Code {
  const { entries, before = new Uint8Array(0), behind = new Uint8Array(0) } = parts;
  const files: Uint8Array[] = [before];
  const listed: Code[] = [];
  let at = before.length;
  for (const entry of entries) {
    const file = localEntry(entry);
    files.push(file);
    listed.push(centralEntry(entry, at));
    at += file.length;
  }
  const directory = join(...listed);
  const start = parts.directoryAt ?? at;
  const count = parts.count ?? entries.length;
  const comment = parts.comment ?? new Uint8Array(0);
  const narrow = parts.is64 ? [0xffff, 0xffffffff, 0xffffffff] : [count, directory.length, start];
  const [narrowCount = 0, narrowBytes = 0, narrowStart = 0] = narrow;
  const end64 = join(
    letters("PK\x06\x06"),
    [u64(44), u16(45), u16(45), u32(0), u32(0)],
    [u64(count), u64(count), u64(directory.length), u64(start)],
    letters("PK\x06\x07"),
    [u32(0), u64(parts.end64At ?? at + directory.length), u32(1)],
  );
  const end = join(
    letters("PK\x05\x06"),
    [u16(parts.disk ?? 0), u16(0), u16(narrowCount), u16(narrowCount)],
    [u32(narrowBytes), u32(narrowStart), u16(comment.length), comment],
  );
  return join(...files, directory, parts.is64 ? end64 : [], end, behind);
}

function localEntry(entry: Entry): Code {
  const { data, method = 0, flags = 0, extra = new Uint8Array(0), gap = new Uint8Array(0) } = entry;
  const name = letters(entry.localName ?? entry.name);
  const bytes = entry.localBytes ?? data.length;
  return join(
    letters("PK\x03\x04"),
    [u16(20), u16(flags), u16(method), u32(0), u32(0), u32(bytes), u32(bytes)],
    [u16(name.length), u16(extra.length), name, extra, data, gap],
  );
}

function centralEntry({ name, data, method = 0, flags = 0, listed = {} }: Entry, at: number): Code {
  const path = letters(name);
  const bytes = listed.bytes ?? data.length;
  const extra = listed.extra ?? new Uint8Array(0);
  return join(
    letters("PK\x01\x02"),
    [u16(20), u16(20), u16(flags), u16(method), u32(0), u32(0)],
    [u32(listed.storedBytes ?? bytes), u32(bytes), u16(path.length), u16(extra.length), u16(0)],
    [u16(0), u16(0), u32(0), u32(listed.offset ?? at), path, extra],
  );
}

/** The entries of a file of torch.save, of which a test changes what it is about. */
export function torchEntries(code: Uint8Array, data: Uint8Array, key = "0"): Entry[] {
  return [
    { name: "a/data.pkl", data: code },
    { name: "a/byteorder", data: letters("little") },
    { name: `a/data/${key}`, data, extra: join(letters("FB"), u16(12), new Uint8Array(12)) },
    { name: "a/version", data: letters("3\n") },
  ];
}

/** A file of one storage. */
export function torchZip(value: Uint8Array, data: Uint8Array = new Uint8Array(16)): Code {
  return zip({ entries: torchEntries(pickle(join(value)), data) });
}

const MAGIC = "8002 8a0a 6cfc9c46f920 6aa85019 2e".replaceAll(" ", "");

/** A file in the format before PyTorch 1.6. */
export function legacyFile(parts: {
  readonly value: Uint8Array;
  readonly keys?: readonly string[];
  readonly storages?: Uint8Array;
  readonly version?: number;
  readonly system?: Code;
}): Code {
  const system = parts.system ?? dict([text("little_endian"), join([0x88])]);
  return join(
    Uint8Array.from(MAGIC.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)),
    pickle(int(parts.version ?? 1001)),
    pickle(system),
    pickle(join(parts.value)),
    pickle(list(...(parts.keys ?? ["0"]).map(text))),
    parts.storages ?? join(u64(4), new Uint8Array(16)),
  );
}

const CLASSES: Readonly<Record<string, string>> = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
};

/** A right file of whole tensors, each in a storage of its own, as torch.save writes a state_dict. */
export function torchFile(
  tensors: Iterable<
    readonly [
      string,
      { readonly dtype: string; readonly shape: readonly number[]; readonly bytes: Uint8Array },
    ]
  >,
): Code {
  const all = [...tensors];
  const items = all.map(([name, { dtype, shape }], index) => {
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
    const size = shape.reduce((a, b) => a * b, 1);
    const type = global("torch", CLASSES[dtype] ?? "");
    return [text(name), tensor({ key: String(index), type, size, shape, strides })] as const;
  });
  return zip({
    entries: [
      { name: "a/data.pkl", data: pickle(dict(...items)) },
      ...all.map(([, { bytes }], index) => ({ name: `a/data/${index}`, data: bytes })),
    ],
  });
}

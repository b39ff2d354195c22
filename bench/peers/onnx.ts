// Writes small ONNX models by hand: the protobuf fields that a graph of matrix products needs, no more.
//
// Field numbers are those of onnx.proto (ir_version 8).

/** An attribute of a node: a whole number. */
export type Attributes = Readonly<Record<string, number>>;

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Default "": the standard operators. */
  readonly domain?: string;
  readonly attributes?: Attributes;
}

export type ElementType = "f32" | "f16" | "u8";

export interface OnnxConstant {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Little-endian elements, row-major. */
  readonly data: Uint8Array;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

// TensorProto.DataType
const ELEMENT_CODES: Readonly<Record<ElementType, number>> = { f32: 1, f16: 10, u8: 2 };
// AttributeProto.AttributeType
const INT_ATTRIBUTE = 2;

/** The bytes of a model with one graph, of the standard operators and Microsoft's. */
export function encodeModel({ nodes, constants, inputs, outputs }: OnnxGraph): Uint8Array {
  const graph = concat([
    ...nodes.map((node) => lengthDelimited(1, encodeNode(node))),
    text(2, "graph"),
    ...constants.map((constant) => lengthDelimited(5, encodeConstant(constant))),
    ...inputs.map((value) => lengthDelimited(11, encodeValue(value))),
    ...outputs.map((value) => lengthDelimited(12, encodeValue(value))),
  ]);
  return concat([
    integer(1, 8), // ir_version
    lengthDelimited(7, graph),
    lengthDelimited(8, concat([text(1, ""), integer(2, 17)])),
    lengthDelimited(8, concat([text(1, "com.microsoft"), integer(2, 1)])),
  ]);
}

function encodeNode({ op, inputs, outputs, domain = "", attributes = {} }: OnnxNode): Uint8Array {
  return concat([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, `${op}_${outputs[0] ?? ""}`),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      lengthDelimited(5, concat([text(1, name), integer(3, value), integer(20, INT_ATTRIBUTE)])),
    ),
    text(7, domain),
  ]);
}

function encodeConstant({ name, type, shape, data }: OnnxConstant): Uint8Array {
  return concat([
    ...shape.map((size) => integer(1, size)),
    integer(2, ELEMENT_CODES[type]),
    text(8, name),
    lengthDelimited(9, data),
  ]);
}

function encodeValue({ name, type, shape }: OnnxValue): Uint8Array {
  const dimensions = shape.map((size) => lengthDelimited(1, integer(1, size)));
  const tensor = concat([
    integer(1, ELEMENT_CODES[type]),
    lengthDelimited(2, concat(dimensions)), // an empty shape is a scalar's
  ]);
  return concat([text(1, name), lengthDelimited(2, lengthDelimited(1, tensor))]);
}

// The two wire types that are used: 0, a number of 7 bits a byte, and 2, bytes after their count.

function integer(field: number, value: number): Uint8Array {
  return concat([variableLength(field * 8), variableLength(value)]);
}

function lengthDelimited(field: number, bytes: Uint8Array): Uint8Array {
  return concat([variableLength(field * 8 + 2), variableLength(bytes.length), bytes]);
}

function text(field: number, value: string): Uint8Array {
  return lengthDelimited(field, new TextEncoder().encode(value));
}

function variableLength(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  return bytes;
}

// What a shader is to the rest of the engine: its text, its bindings, its parameters.
//
// The text handed to WebGPU is a generated header (enable lines, type aliases, constants), then whole
// files of shaders/lib, then the shader file itself. Nothing is ever put into the middle of a text.

export interface Shader<Binding extends string, Param extends string> {
  /** The shader file's stem; names pipelines in errors and traces. */
  readonly label: string;
  /** Whole files: those of shaders/lib it uses, then its own. */
  readonly source: readonly string[];
  /**
   * The storage bindings of group 0 in order: the first is @binding(1). Binding 0 holds the parameters.
   * An entry point binds only those it uses.
   */
  readonly bindings: Readonly<Record<Binding, "read" | "read_write">>;
  /** Fields of the shader's `Params` struct, in order. Fixed when a program is recorded. */
  readonly params: Readonly<Record<Param, "u32" | "f32">>;
  /** Whether it reads the step's scalars, `step` of lib/step.wgsl, at group 1. */
  readonly usesStep?: boolean;
  /** Extensions of WGSL that it is written in, besides f16. */
  readonly enables?: readonly string[];
}

/** The part of a shader's text that differs between its variants. */
export interface Variant {
  /** `alias NAME = TYPE;` for element types. */
  readonly types?: Readonly<Record<string, string>>;
  /** `const NAME = VALUE;` as u32 or bool. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
}

/** The complete text of one variant. */
export function shaderText(
  shader: Shader<string, string>,
  { types = {}, constants = {} }: Variant,
): string {
  const needsF16 = Object.values(types).some((type) => type.includes("f16"));
  return [
    ...(needsF16 ? ["enable f16;"] : []),
    ...(shader.enables ?? []).map((name) => `enable ${name};`),
    ...Object.entries(types).map(([name, type]) => `alias ${name} = ${type};`),
    ...Object.entries(constants).map(([name, value]) =>
      typeof value === "boolean" ? `const ${name} = ${value};` : `const ${name} = ${value}u;`,
    ),
    ...shader.source,
  ].join("\n");
}

/** Names a variant in pipeline labels and caches: "matmul.forward A=f32 TILE=8". */
export function variantName(
  shader: Shader<string, string>,
  entry: string,
  { types = {}, constants = {} }: Variant,
): string {
  const parts = [...Object.entries(types), ...Object.entries(constants)];
  return [`${shader.label}.${entry}`, ...parts.map(([name, value]) => `${name}=${value}`)].join(
    " ",
  );
}

/** The bytes of a `Params` struct; 16 at the least, as uniform buffers want. */
export function packParams(
  shader: Shader<string, string>,
  values: Readonly<Record<string, number>>,
): Uint8Array<ArrayBuffer> {
  const fields = Object.entries(shader.params);
  const view = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(fields.length / 4) * 16)));
  fields.forEach(([name, type], index) => {
    const value = values[name];
    if (value === undefined) throw new Error(`internal: ${shader.label} lacks parameter ${name}`);
    if (type === "u32") view.setUint32(index * 4, value, true);
    else view.setFloat32(index * 4, value, true);
  });
  return new Uint8Array(view.buffer);
}

// WebGPU's limit on each dimension of a dispatch.
export const MAX_WORKGROUPS = 65_535;

/** How many workgroups of `size` cover `count`. */
export function workgroups(count: number, size: number): number {
  return Math.ceil(count / size);
}

/**
 * A one-dimensional grid folded into two where it passes the limit. The shader finds its index with
 * `flat_workgroup` of lib/grid.wgsl.
 */
export function foldGrid(count: number): [x: number, y: number] {
  if (count <= MAX_WORKGROUPS) return [count, 1];
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / y), y];
}

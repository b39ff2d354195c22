// Compiles shader variants, all of a program at the same time, each variant once per device.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { COMPUTE_STAGE } from "./flags.ts";
import { type Shader, shaderText, type Variant, variantName } from "./kernel.ts";

export interface PipelineRequest extends Variant {
  readonly shader: Shader<string, string>;
  readonly entry: string;
  /** Binding numbers of group 0 that the entry point uses. */
  readonly bindings: readonly number[];
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Present if the shader reads the step's scalars. */
  readonly stepLayout: GPUBindGroupLayout | undefined;
}

interface Cache {
  /** By shader, then by the variant's name and bindings: spares making the text again. */
  readonly byShader: WeakMap<Shader<string, string>, Map<string, Promise<Pipeline>>>;
  /** By the whole text. */
  readonly pipelines: Map<string, Promise<Pipeline>>;
  readonly layouts: Map<string, GPUBindGroupLayout>;
}

const caches = new WeakMap<Gpu, Cache>();

/** What to tell of requests to a GPU. */
const watchers = new WeakMap<Gpu, (requests: readonly PipelineRequest[]) => void>();

/**
 * Compiles what `record` records on a GPU that only counts on `gpu`, where it is then known: nothing waits for it
 * and no memory is taken when it is recorded in earnest. A fault is not told here: it comes again then.
 */
export async function compileAhead(
  gpu: Gpu,
  counting: Gpu,
  record: (counting: Gpu) => Promise<unknown>,
): Promise<void> {
  const compiling: Promise<unknown>[] = [];
  watchers.set(counting, (requests) => {
    const made = compilePipelines(gpu, requests);
    made.catch(() => {});
    compiling.push(made);
  });
  await record(counting).catch(() => {});
  await Promise.allSettled(compiling);
}

/** The pipelines in the order of the requests. Throws what the shader compiler says, with its lines. */
export async function compilePipelines(
  gpu: Gpu,
  requests: readonly PipelineRequest[],
): Promise<Pipeline[]> {
  watchers.get(gpu)?.(requests);
  const cache = caches.get(gpu) ?? {
    byShader: new WeakMap(),
    pipelines: new Map(),
    layouts: new Map(),
  };
  caches.set(gpu, cache);
  return Promise.all(
    requests.map((request) => {
      const { shader, entry, bindings } = request;
      const ofShader = cache.byShader.get(shader) ?? new Map<string, Promise<Pipeline>>();
      cache.byShader.set(shader, ofShader);
      const name = variantName(shader, entry, request);
      const variant = `${name} @${bindings.join(",")}`;
      const known = ofShader.get(variant) ?? pipelineOf(gpu, cache, name, variant, request);
      ofShader.set(variant, known);
      return known;
    }),
  );
}

function pipelineOf(
  gpu: Gpu,
  cache: Cache,
  name: string,
  variant: string,
  request: PipelineRequest,
): Promise<Pipeline> {
  const code = shaderText(request.shader, request);
  // The whole text: two shaders of one name but different libraries are different shaders.
  const key = `${variant}\n${code}`;
  const made = cache.pipelines.get(key) ?? compile(gpu, cache, name, code, request);
  cache.pipelines.set(key, made);
  return made;
}

async function compile(
  gpu: Gpu,
  cache: Cache,
  label: string,
  code: string,
  { shader, entry, bindings }: PipelineRequest,
): Promise<Pipeline> {
  const layout = storageLayout(gpu, cache, shader, bindings);
  const stepLayout = shader.usesStep ? stepLayoutOf(gpu, cache) : undefined;
  gpu.creations.pipelines++;
  const module = gpu.device.createShaderModule({ label, code });
  try {
    const pipeline = await gpu.device.createComputePipelineAsync({
      label,
      layout: gpu.device.createPipelineLayout({
        label,
        bindGroupLayouts: stepLayout ? [layout, stepLayout] : [layout],
      }),
      compute: { module, entryPoint: entry },
    });
    return { pipeline, layout, stepLayout };
  } catch (error) {
    throw new Error(`internal: ${label}: ${await explain(module, code, error)}`, { cause: error });
  }
}

/** The compiler's messages, each with the line it means; else what the failure said. */
async function explain(module: GPUShaderModule, code: string, error: unknown): Promise<string> {
  const { messages } = await module.getCompilationInfo();
  const lines = code.split("\n");
  const faults = messages.filter(({ type }) => type === "error");
  if (faults.length === 0) return String(error);
  return faults
    .map(({ lineNum, message }) => `${message}\n  ${lineNum}: ${lines[lineNum - 1] ?? ""}`)
    .join("\n");
}

function storageLayout(
  gpu: Gpu,
  cache: Cache,
  shader: Shader<string, string>,
  bindings: readonly number[],
): GPUBindGroupLayout {
  const access = Object.values(shader.bindings);
  const kinds = bindings.map((binding) => {
    const kind = access[binding - 1];
    invariant(kind !== undefined, () => `${shader.label} has no binding ${binding}`);
    return { binding, kind };
  });
  const key = kinds.map(({ binding, kind }) => `${binding}:${kind}`).join(" ");
  const known = cache.layouts.get(key);
  if (known) return known;
  const made = gpu.device.createBindGroupLayout({
    label: key,
    entries: [
      { binding: 0, visibility: COMPUTE_STAGE, buffer: { type: "uniform" } },
      ...kinds.map(({ binding, kind }): GPUBindGroupLayoutEntry => {
        const type = kind === "read" ? "read-only-storage" : "storage";
        return { binding, visibility: COMPUTE_STAGE, buffer: { type } };
      }),
    ],
  });
  cache.layouts.set(key, made);
  return made;
}

function stepLayoutOf(gpu: Gpu, cache: Cache): GPUBindGroupLayout {
  const known = cache.layouts.get("step");
  if (known) return known;
  const made = gpu.device.createBindGroupLayout({
    label: "step",
    entries: [{ binding: 0, visibility: COMPUTE_STAGE, buffer: { type: "uniform" } }],
  });
  cache.layouts.set("step", made);
  return made;
}

// Opens a GPU: the limits and features we ask for, what has been allocated, and how its loss is told.
//
// Every buffer of the engine is made here, so that its bytes are counted and a refusal by the driver
// becomes an error with numbers in it instead of a run over invalid buffers.
import { invariant, UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import type { Choices } from "./choices.ts";
import { USAGE } from "./flags.ts";
import {
  matrixConfigsOf,
  SUBGROUP_MATRIX,
  SUBGROUP_SIZE,
  type SubgroupMatrixConfig,
  SUBGROUPS,
} from "./subgroups.ts";
import { byteLength, type Dtype, type StoredTensor } from "./tensor.ts";

export interface GpuOptions {
  /** Ask for none of the optional features and only WebGPU's default limits, as the weakest adapter has. */
  readonly baseline?: boolean;
  /** Leave `shader-f16` off although the adapter has it. */
  readonly withoutF16?: boolean;
  /** Say that the device multiplies these matrices, whatever the adapter tells; to check shaders by. */
  readonly matrixConfigs?: readonly SubgroupMatrixConfig[];
}

/** The device is gone: a driver reset, a hung dispatch, another's failed call. What was saved is safe. */
export class DeviceLostError extends UserError {
  override readonly name = "DeviceLostError";

  constructor(reason: string, message: string) {
    super(
      `The GPU was lost (${reason}${message ? `: ${message.trim()}` : ""}).`,
      "Start again: a run goes on from its last checkpoint.",
    );
  }
}

/** The driver refused a buffer: memory is out. */
export class OutOfMemoryError extends UserError {
  override readonly name = "OutOfMemoryError";
  /** Bytes that it had granted before. */
  readonly heldBytes: number;

  constructor(problem: string, remedy: string, heldBytes: number, options?: ErrorOptions) {
    super(problem, remedy, options);
    this.heldBytes = heldBytes;
  }
}

/** One buffer or tensor is larger than the adapter's limits allow, however much memory there is. */
export class TooLargeError extends UserError {
  override readonly name = "TooLargeError";
}

/** What has been created on the device so far; a training step must leave all of it unchanged. */
export interface Creations {
  buffers: number;
  bindGroups: number;
  pipelines: number;
}

// Features we use when an adapter has them. Each has a path without it.
const WANTED_FEATURES: readonly string[] = [
  "shader-f16",
  "timestamp-query",
  SUBGROUPS.feature,
  SUBGROUP_SIZE.feature,
  SUBGROUP_MATRIX.feature,
];

// Limits raised to what the adapter offers; the others stay at WebGPU's defaults.
const RAISED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

export class Gpu {
  readonly device: GPUDevice;
  readonly info: GPUAdapterInfo;
  /** Whether shaders may compute and store f16. */
  readonly hasF16: boolean;
  readonly hasTimestamps: boolean;
  /** Whether shaders may use the values of their subgroup. */
  readonly hasSubgroups: boolean;
  /** Whether shaders may ask for a size of subgroup, between the adapter's smallest and largest. */
  readonly hasSubgroupSizes: boolean;
  /** What a subgroup multiplies at once; none without the feature. */
  readonly matrixConfigs: readonly SubgroupMatrixConfig[];
  /** The largest tensor that one binding can show to a shader, in bytes. */
  readonly maxTensorBytes: number;
  /** Whether there is no device behind it: nothing is computed, and reads give nothing. */
  readonly onlyCounts: boolean;
  readonly creations: Creations = { buffers: 0, bindGroups: 0, pipelines: 0 };
  /** Which variant each kernel records from now on. */
  choices: Choices = {};
  /** Bytes of live buffers, and the most there have been. */
  allocatedBytes = 0;
  peakBytes = 0;

  #uncaptured: string | undefined;
  #loss: DeviceLostError | undefined;
  #isClosed = false;
  /** Buffers on which the driver has not spoken yet, or has spoken against. */
  readonly #verdicts = new Set<Promise<void>>();
  /** What to call when the device is lost: one for each promise under way. */
  readonly #waiting = new Set<(error: DeviceLostError) => void>();

  constructor(
    device: GPUDevice,
    info: GPUAdapterInfo,
    { onlyCounts = false, matrixConfigs = matrixConfigsOf(info) } = {},
  ) {
    this.device = device;
    this.info = info;
    this.onlyCounts = onlyCounts;
    this.hasF16 = device.features.has("shader-f16");
    this.hasTimestamps = device.features.has("timestamp-query");
    this.hasSubgroups = device.features.has(SUBGROUPS.feature);
    this.hasSubgroupSizes = device.features.has(SUBGROUP_SIZE.feature);
    this.matrixConfigs = device.features.has(SUBGROUP_MATRIX.feature) ? matrixConfigs : [];
    this.maxTensorBytes = Math.min(
      device.limits.maxStorageBufferBindingSize,
      device.limits.maxBufferSize,
    );
    device.addEventListener("uncapturederror", (event) => {
      this.#uncaptured ??= event.error.message;
    });
    void this.#watch(); // resolves when the device is lost, and never rejects
  }

  /** "NVIDIA H100 PCIe (vulkan driver 550.54)", or as much of it as the adapter tells. */
  get name(): string {
    const { vendor, architecture, device, description } = this.info;
    return description || [vendor, architecture, device].filter(Boolean).join(" ") || "unnamed GPU";
  }

  /**
   * A zeroed buffer for a tensor that outlives programs. The caller owns it and frees it with `free`.
   * Whether the memory was really there is known at the next `check`.
   */
  allocate(label: string, dtype: Dtype, shape: readonly number[], usage = 0): StoredTensor {
    const bytes = byteLength(dtype, shape);
    return {
      label,
      dtype,
      shape,
      bytes,
      at: { buffer: this.buffer(label, bytes, usage), offset: 0 },
    };
  }

  /** A labeled storage buffer of `bytes` (or of other `usage`), inside an out-of-memory scope. */
  buffer(label: string, bytes: number, usage = 0): GPUBuffer {
    const { maxBufferSize } = this.device.limits;
    if (bytes > maxBufferSize) {
      throw new TooLargeError(
        `${label} needs one buffer of ${formatBytes(bytes)}; ${this.name} allows ${formatBytes(maxBufferSize)}.`,
        "Use a smaller model or a shorter max_length, or an adapter with larger buffers.",
      );
    }
    this.device.pushErrorScope("validation");
    this.device.pushErrorScope("out-of-memory");
    const buffer = this.device.createBuffer({
      label,
      size: bytes,
      usage: usage || USAGE.storage | USAGE.copySource | USAGE.copyTarget,
    });
    const scopes = [this.device.popErrorScope(), this.device.popErrorScope()];
    const held = this.allocatedBytes;
    const verdict = Promise.all(scopes).then((errors) => {
      const error = errors.find((found) => found !== null);
      if (!error) return;
      const reason = error.message.split("\n")[0]?.replace(/\.$/, "");
      throw new OutOfMemoryError(
        `${this.name} refused ${formatBytes(bytes)} for ${label}, with ${formatBytes(held)} in use: ${reason}.`,
        "Lower max_length or batch_size, turn gradient_checkpointing on, or choose a smaller model.",
        held,
      );
    });
    this.#verdicts.add(verdict);
    // A refusal stays in the set until `check` asks for it; it is no unhandled rejection before.
    verdict.then(
      () => this.#verdicts.delete(verdict),
      () => {},
    );
    this.creations.buffers++;
    this.allocatedBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.allocatedBytes);
    return buffer;
  }

  free(tensor: StoredTensor): void {
    this.freeBuffer(tensor.at.buffer);
  }

  freeBuffer(buffer: GPUBuffer): void {
    this.allocatedBytes -= buffer.size;
    buffer.destroy();
  }

  /** Waits for the verdicts on every buffer made since the last call. Throws the first refusal. */
  async check(): Promise<void> {
    const verdicts = [...this.#verdicts];
    this.#verdicts.clear();
    await Promise.all(verdicts);
    this.checkErrors();
  }

  /** Throws if the device is lost, or a WebGPU call has failed: everything after it is worthless. */
  checkErrors(): void {
    if (this.#loss) throw this.#loss;
    invariant(this.#uncaptured === undefined, () => `WebGPU: ${this.#uncaptured}`);
  }

  /** Whether the device is gone or a call on it has failed, so that whoever wants a GPU opens one anew. */
  get isLost(): boolean {
    return this.#loss !== undefined || this.#uncaptured !== undefined;
  }

  /**
   * Throws a DeviceLostError where the device is gone or a call on it has failed: for work that shares the
   * device and was not under way meanwhile, so that the fault is another's.
   */
  requireSound(): void {
    this.#loseIfSpoilt();
    if (this.#loss) throw this.#loss;
  }

  /** Resolves when all submitted work is done. */
  async finish(): Promise<void> {
    await this.unlessLost(this.device.queue.onSubmittedWorkDone());
    // The verdicts first: work over a buffer that was refused fails too, and says less of the cause.
    await this.check();
  }

  /**
   * `promise`, or a DeviceLostError if the device is lost first. Not Promise.race with one promise of
   * the loss: that would keep a reaction of every wait until the device goes.
   */
  unlessLost<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#loss) reject(this.#loss);
      this.#waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Frees the device and all that lives on it. */
  close(): void {
    this.#isClosed = true;
    this.device.destroy();
  }

  /** Closes a device on which a call has failed. Whoever still works on it is told that it was lost. */
  abandon(): void {
    this.#loseIfSpoilt();
    this.close();
  }

  #loseIfSpoilt(): void {
    if (this.#uncaptured === undefined || this.#loss) return;
    const [reason = ""] = this.#uncaptured.split("\n");
    this.#lose(new DeviceLostError("a call on it failed", reason));
  }

  #lose(loss: DeviceLostError): void {
    this.#loss = loss;
    for (const reject of this.#waiting) reject(loss);
  }

  async #watch(): Promise<void> {
    const { reason, message } = await this.device.lost;
    if (this.#isClosed) return;
    this.#lose(new DeviceLostError(reason, message));
  }
}

/** Opens `adapter` with the features and limits the engine can use. */
export async function openGpu(adapter: GPUAdapter, options: GpuOptions = {}): Promise<Gpu> {
  if (options.baseline) {
    return new Gpu(await adapter.requestDevice({ label: "hone.baseline" }), adapter.info);
  }
  const device = await adapter.requestDevice({
    label: "hone",
    requiredFeatures: WANTED_FEATURES.filter(
      (feature) =>
        adapter.features.has(feature) && !(options.withoutF16 && feature === "shader-f16"),
    ) as GPUFeatureName[],
    requiredLimits: Object.fromEntries(RAISED_LIMITS.map((name) => [name, adapter.limits[name]])),
  });
  const { matrixConfigs } = options;
  return new Gpu(device, adapter.info, { ...(matrixConfigs && { matrixConfigs }) });
}

// What was found by trying, kept for the next start: one file for an adapter and the sizes of a model.
//
// It is a cache: a file that is damaged, of another adapter or of other kernels counts as none, and a place
// that cannot be written to costs no more than trying again.
import type { Folder } from "../../base/folder.ts";
import type { Host } from "../../engine.ts";
import { isJsonObject, type JsonObject } from "../../formats/json.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { TrialSizes } from "../../kernels/tunable.ts";
import type { Fault, SlotTrial, VariantTrial } from "./try-variants.ts";

/** One kernel's result, and how it was come by. */
export interface KnownTrial extends SlotTrial {
  /** Whether there was no budget. */
  readonly isFull: boolean;
}

export interface KnownTrials {
  readonly sizes: TrialSizes;
  readonly slots: readonly KnownTrial[];
  /** How often the trying of a kernel was begun and not ended: by a crash, or by somebody who would not wait. */
  readonly unended: Readonly<Record<string, number>>;
}

/** What the results are of. Another driver, browser or build has its own. */
interface Place {
  readonly kernels: string;
  readonly adapter: Readonly<Record<string, unknown>>;
}

const FORMAT = 1;

export class KernelCache {
  readonly #host: Pick<Host, "cache" | "sha256">;
  readonly #place: Place;
  #folder: Promise<Folder | undefined> | undefined;

  /** `kernels` names the build of the kernels. */
  constructor(host: Pick<Host, "cache" | "sha256">, gpu: Gpu, kernels: string) {
    this.#host = host;
    this.#place = { kernels, adapter: adapterOf(gpu) };
  }

  /** Undefined where nothing usable is known. */
  async read(sizes: TrialSizes): Promise<KnownTrials | undefined> {
    const folder = await this.#open();
    return folder && this.#readFile(folder, await this.#nameOf(sizes));
  }

  /** Of all sizes that were tried on this adapter, in no particular order. */
  async readAll(): Promise<KnownTrials[]> {
    const folder = await this.#open();
    if (!folder) return [];
    const names = await folder.list().catch(() => []);
    const read = names
      .filter((name) => name.endsWith(".json"))
      .map((name) => this.#readFile(folder, name));
    return (await Promise.all(read)).filter((found) => found !== undefined);
  }

  /** Keeps them in the place of what was known of these sizes. */
  async write(trials: KnownTrials): Promise<void> {
    const folder = await this.#open();
    const content = { format: FORMAT, ...this.#place, ...trials };
    const text = `${JSON.stringify(content, null, 1)}\n`;
    await folder?.write(await this.#nameOf(trials.sizes), text).catch(() => {});
  }

  async #readFile(folder: Folder, name: string): Promise<KnownTrials | undefined> {
    try {
      const { kernels, adapter } = this.#place;
      const json: unknown = JSON.parse(await folder.readText(name));
      if (!isJsonObject(json)) return undefined;
      const { format, sizes, slots, unended } = json;
      const isOwn =
        format === FORMAT &&
        json["kernels"] === kernels &&
        JSON.stringify(json["adapter"]) === JSON.stringify(adapter);
      const isWhole = isSizes(sizes) && isSlots(slots) && isCounts(unended);
      return isOwn && isWhole ? { sizes, slots, unended } : undefined;
    } catch {
      return undefined; // not there, not readable, not JSON
    }
  }

  /** The same for another build of the kernels, whose results it replaces. */
  async #nameOf(sizes: TrialSizes): Promise<string> {
    const key = JSON.stringify([this.#place.adapter, sortedEntries(sizes)]);
    const hash = await this.#host.sha256(new TextEncoder().encode(key));
    return `${hash.slice(0, 24)}.json`;
  }

  #open(): Promise<Folder | undefined> {
    return (this.#folder ??= openCache(this.#host));
  }
}

async function openCache(host: Pick<Host, "cache">): Promise<Folder | undefined> {
  return host.cache?.().catch(() => undefined);
}

/** As much as WebGPU tells; in a browser that is little, and its own version stands for the driver's. */
function adapterOf({
  info,
  device,
  hasF16,
  matrixConfigs,
}: Gpu): Readonly<Record<string, unknown>> {
  const { vendor, architecture, device: model, description } = info;
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = device.limits;
  const { userAgent = "" } = (globalThis as { navigator?: { userAgent?: string } }).navigator ?? {};
  return {
    vendor,
    architecture,
    device: model,
    description,
    userAgent,
    hasF16,
    features: [...device.features].toSorted(),
    // A device may be told to do without.
    matrixConfigs,
    workgroupBytes: maxComputeWorkgroupStorageSize,
    workgroupThreads: maxComputeInvocationsPerWorkgroup,
  };
}

function sortedEntries(object: object): [string, unknown][] {
  return Object.entries(object).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function isSizes(value: unknown): value is TrialSizes {
  if (!isJsonObject(value)) return false;
  const { act, ...counts } = value;
  const names = ["hidden", "intermediate", "heads", "kvHeads", "headSize", "rank", "tokens"];
  return (
    (act === "f32" || act === "f16") && names.every((name) => Number.isSafeInteger(counts[name]))
  );
}

function isSlots(value: unknown): value is KnownTrial[] {
  return Array.isArray(value) && value.every(isTrial);
}

function isCounts(value: unknown): value is Readonly<Record<string, number>> {
  return isJsonObject(value) && Object.values(value).every((count) => Number.isSafeInteger(count));
}

function isTrial(value: unknown): value is KnownTrial {
  if (!isJsonObject(value)) return false;
  const { slot, variants, chosen, isFull } = value;
  return (
    typeof slot === "string" &&
    typeof isFull === "boolean" &&
    Array.isArray(variants) &&
    variants.every(isVariant) &&
    variants.some(({ name }) => name === chosen)
  );
}

function isVariant(value: unknown): value is VariantTrial {
  if (!isJsonObject(value)) return false;
  const { name, seconds, fault, begun } = value;
  return (
    typeof name === "string" &&
    (begun === undefined || Number.isSafeInteger(begun)) &&
    (seconds === undefined || (typeof seconds === "number" && seconds > 0)) &&
    (fault === undefined || (isJsonObject(fault) && isFault(fault)))
  );
}

const FAULTS: ReadonlySet<unknown> = new Set<Fault["kind"]>([
  "failed",
  "unwritten",
  "wrong",
  "unsteady",
  "crashed",
]);

function isFault({ kind, words }: JsonObject): boolean {
  return FAULTS.has(kind) && typeof words === "string";
}

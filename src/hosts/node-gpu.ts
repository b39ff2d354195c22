// Which adapter Node computes on: a real GPU, else Mesa's llvmpipe, else SwiftShader from npm.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, globals } from "webgpu";
import { UserError } from "../base/error.ts";
import { calmDawn } from "./node-calm.ts";
import { quietly } from "./node-quiet.ts";
import { loadSwiftShader } from "./node-swiftshader.ts";

/** What the person may ask for by name; `auto` takes the first that works. */
export const ADAPTER_CHOICES = ["auto", "gpu", "llvmpipe", "swiftshader", "null"] as const;
export type AdapterChoice = (typeof ADAPTER_CHOICES)[number];

export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly kind: "gpu" | "llvmpipe" | "swiftshader" | "null";
  /** One sentence per candidate: what was tried, and what came of it. */
  readonly tried: readonly string[];
}

// On NVIDIA with Vulkan, f16 is behind a toggle; all shaders are ours. Timestamps are rounded to 65 µs
// for the sake of web pages, which this is not.
const ENABLED_FEATURES = "allow_unsafe_apis,vulkan_enable_f16_on_nvidia";
const DISABLED_FEATURES = "timestamp_quantization";

// Dawn lives only as long as these objects do: collected, they take the process down (webgpu 0.6.2). Each has looked
// for adapters once, and is asked again for another.
const instances = new Map<string, GPU>();

/** Finds an adapter. Throws a UserError that lists what was tried. */
export async function findAdapter(choice: AdapterChoice = "auto"): Promise<FoundAdapter> {
  Object.assign(globalThis, globals);
  calmDawn();
  // llvmpipe wants a runtime folder and prints a warning without one.
  process.env["XDG_RUNTIME_DIR"] ??= mkdtempSync(join(tmpdir(), "hone-run-"));
  const tried: string[] = [];

  if (choice === "null") {
    const adapter = await request(["backend=null"]);
    if (adapter) return { adapter, kind: "null", tried: ["Dawn's null backend: computes nothing"] };
  }
  if (choice !== "swiftshader" && choice !== "null") {
    const adapter = await request();
    const kind = adapter && kindOf(adapter.info);
    if (!adapter) {
      tried.push("System driver: none that Dawn accepts (llvmpipe must be Mesa 25 or newer)");
    } else {
      tried.push(`System driver: ${nameOf(adapter.info)}`);
      if (kind && (choice === "auto" || choice === kind)) return { adapter, kind, tried };
      tried.push(`Passed over: ${choice} was asked for`);
    }
  }
  if (choice === "auto" || choice === "swiftshader") {
    const source = await loadSwiftShader();
    const adapter = source ? await request() : null;
    if (adapter && source) {
      return { adapter, kind: "swiftshader", tried: [...tried, `Software: ${source}`] };
    }
    tried.push("SwiftShader: @sparticuz/chromium is not installed here, or not for this system");
  }
  throw new UserError(
    `Found no WebGPU adapter (asked for ${choice}). ${tried.join(". ")}.`,
    choice === "gpu"
      ? "Install a Vulkan driver for your GPU, or ask for auto, which takes software where there is none."
      : "Install a Vulkan driver for your GPU (or Mesa's software one, mesa-vulkan-drivers 25 or newer), or run npm install to get SwiftShader.",
  );
}

async function request(flags: readonly string[] = []): Promise<GPUAdapter | null> {
  // What the process's drivers are is part of what an instance has found.
  const key = JSON.stringify([flags, process.env["VK_ICD_FILENAMES"]]);
  return quietly(() => {
    const gpu =
      instances.get(key) ??
      create([
        `enable-dawn-features=${ENABLED_FEATURES}`,
        `disable-dawn-features=${DISABLED_FEATURES}`,
        ...flags,
      ]);
    instances.set(key, gpu);
    return gpu.requestAdapter({ powerPreference: "high-performance" });
  });
}

function kindOf({ description, device, vendor }: GPUAdapterInfo): FoundAdapter["kind"] {
  const text = `${vendor} ${device} ${description}`;
  if (/swiftshader/i.test(text)) return "swiftshader";
  if (/llvmpipe|lavapipe/i.test(text)) return "llvmpipe";
  return "gpu";
}

function nameOf({ description, device, vendor }: GPUAdapterInfo): string {
  return description || `${vendor} ${device}`;
}

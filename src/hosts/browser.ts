// What the engine needs from a browser: its GPU, the clock and hashes.
import { UserError } from "../base/error.ts";
import type { Host } from "../engine.ts";

/** WebGPU is there and gives no adapter: for good, or until the browser has its GPU process back. */
export class NoAdapterError extends UserError {
  override readonly name = "NoAdapterError";
}

export function browserHost(): Host {
  return {
    async requestAdapter() {
      // Undefined on pages without a secure context, and in browsers without WebGPU.
      const gpu = navigator.gpu as GPU | undefined;
      if (!gpu) throw explainMissing();
      const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (adapter) return adapter;
      throw new NoAdapterError(
        "This browser has WebGPU, but offers no adapter for it.",
        "Turn hardware acceleration on in the browser's settings and update the graphics driver; on Linux, Chrome may also need chrome://flags/#enable-unsafe-webgpu.",
      );
    },
    now: () => performance.now(),
    async sha256(bytes) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
  };
}

function explainMissing(): UserError {
  if (!isSecureContext) {
    return new UserError(
      // Not the location: a worker's may be a blob.
      `This page came from ${origin}, which browsers do not trust with the GPU.`,
      "Open it over https, or from localhost.",
    );
  }
  return new UserError(
    "This browser has no WebGPU.",
    "Use a current Chrome or Edge, Safari 26, or Firefox 141 or newer on Windows and 145 on macOS.",
  );
}

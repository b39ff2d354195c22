// What is submitted at once: one pass of dispatches for which everything is made.
//
// Nothing is set in a pass that it holds already: of the few microseconds that a dispatch costs the host, each
// call of WebGPU is half of one or more.
import type { Gpu } from "./device.ts";

/** A dispatch as WebGPU wants it. */
export interface Encodable {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  /** The step's scalars, where the shader reads them. */
  readonly stepGroup: GPUBindGroup | undefined;
  readonly grid: readonly [x: number, y: number, z: number];
}

/** A pass, and what was set in it last. */
export interface Pass {
  readonly pass: GPUComputePassEncoder;
  pipeline?: GPUComputePipeline;
  stepGroup?: GPUBindGroup;
}

export interface Submit extends Pass {
  readonly encoder: GPUCommandEncoder;
}

export function beginSubmit({ device }: Gpu, label: string): Submit {
  const encoder = device.createCommandEncoder({ label });
  return { encoder, pass: encoder.beginComputePass({ label }) };
}

export function encode(into: Pass, { pipeline, group, stepGroup, grid }: Encodable): void {
  const { pass } = into;
  if (pipeline !== into.pipeline) pass.setPipeline((into.pipeline = pipeline));
  pass.setBindGroup(0, group);
  // It stays through dispatches that do not read it.
  if (stepGroup && stepGroup !== into.stepGroup) pass.setBindGroup(1, (into.stepGroup = stepGroup));
  pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
}

export function endSubmit({ device }: Gpu, { encoder, pass }: Submit): void {
  pass.end();
  device.queue.submit([encoder.finish()]);
}

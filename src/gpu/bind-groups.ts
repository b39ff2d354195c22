// The bind groups of one program, each made once: a block that is run again binds much of what it bound before.
import type { Gpu } from "./device.ts";

export interface BoundBuffer {
  readonly binding: number;
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

export class BindGroups {
  readonly #gpu: Gpu;
  readonly #groups = new Map<string, GPUBindGroup>();
  /** Numbers of layouts and buffers, for keys. */
  readonly #ids = new Map<object, number>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The group of `layout` that binds these; `label` is that of the first who asked. */
  of(layout: GPUBindGroupLayout, label: string, bindings: readonly BoundBuffer[]): GPUBindGroup {
    let key = `${this.#idOf(layout)}`;
    for (const { binding, buffer, offset, size } of bindings) {
      key += ` ${binding}:${this.#idOf(buffer)}+${offset},${size}`;
    }
    const known = this.#groups.get(key);
    if (known) return known;
    const entries = bindings.map(({ binding, buffer, offset, size }) => ({
      binding,
      resource: { buffer, offset, size },
    }));
    const made = this.#gpu.device.createBindGroup({ label, layout, entries });
    this.#gpu.creations.bindGroups++;
    this.#groups.set(key, made);
    return made;
  }

  #idOf(object: object): number {
    const known = this.#ids.get(object);
    if (known !== undefined) return known;
    this.#ids.set(object, this.#ids.size);
    return this.#ids.size - 1;
  }
}

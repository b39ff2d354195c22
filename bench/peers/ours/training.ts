// Hone's side of the comparison of training: optimizer steps of LoRA on a GGUF model kept in NF4, with
// every choice as a run makes it, except that nothing is dropped out and no layer is run twice.
import { openFolder } from "../../../src/hosts/node.ts";
import { actOf, freeModel, loadModel } from "../../../src/engine/load-model.ts";
import { ADAPTER_DEFAULTS, selectTargets } from "../../../src/formats/peft.ts";
import type { Gpu } from "../../../src/gpu/device.ts";
import { modulesOf } from "../../../src/model/files/adapter-files.ts";
import { readArchitecture } from "../../../src/model/architecture.ts";
import { openGguf } from "../../../src/model/files/gguf-files.ts";
import { blockLinears } from "../../../src/model/linears.ts";
import type { Model } from "../../../src/model/transformer.ts";
import { type MicroBatch, Stepper } from "../../../src/train/step.ts";
import { type Taken, timed } from "../measure.ts";
import type { Tune } from "../tune.ts";

export interface TrainingTask {
  readonly folder: string;
  readonly file: string;
  readonly rank: number;
  readonly alpha: number;
  /** One more than a step has tokens: each predicts the next. */
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly learningRate: number;
}

export class OurTraining {
  readonly act: "f32" | "f16";
  readonly #model: Model;
  readonly #stepper: Stepper;
  readonly #batch: MicroBatch;
  readonly #learningRate: number;
  readonly #losses: number[] = [];

  private constructor(model: Model, stepper: Stepper, batch: MicroBatch, learningRate: number) {
    this.act = model.act;
    this.#model = model;
    this.#stepper = stepper;
    this.#batch = batch;
    this.#learningRate = learningRate;
  }

  static async create(gpu: Gpu, tune: Tune, task: TrainingTask): Promise<OurTraining> {
    const { folder, file, rank, alpha, ids, learningRate } = task;
    const { config, files } = await openGguf(openFolder(folder), file);
    const architecture = readArchitecture(config, file);
    const tokens = ids.length - 1;
    const layers = Array.from({ length: architecture.layers }, (_, layer) =>
      Object.values(blockLinears(architecture, layer)),
    );
    const lora = { ...ADAPTER_DEFAULTS, rank, alpha, targetModules: "all-linear" };
    const targets = selectTargets(lora, modulesOf(layers.flat()), "the comparison");
    const act = actOf(gpu, "auto");
    await tune(gpu, { ...architecture, rank, tokens, act });
    const model = await loadModel(
      gpu,
      { architecture, files },
      {
        quantization: "nf4",
        computeDtype: "auto",
        positions: tokens,
        targets,
        training: true,
      },
    );
    model.adapter?.initialize(1);
    const stepper = await Stepper.create(model, {
      tokens,
      checkpointing: false,
      dropout: 0,
      seed: 1,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
      maxNorm: 1,
      dynamicLossScale: act === "f16",
    });
    const batch = {
      ids: ids.slice(0, tokens),
      targets: ids.slice(1),
      positions: Uint32Array.from({ length: tokens }, (_, i) => i),
      segmentStart: new Uint32Array(tokens),
      labelTokens: tokens,
      tokens,
    };
    return new OurTraining(model, stepper, batch, learningRate);
  }

  /** One optimizer step, until its loss is known. */
  async run(): Promise<Taken> {
    const step = this.#losses.length;
    const taken = await timed(async () => {
      const { loss } = await this.#stepper.run([this.#batch], step, this.#learningRate);
      this.#losses.push(loss);
    });
    this.#stepper.learnSpeed(taken.milliseconds / 1000, 1);
    return taken;
  }

  /** Before anything was learned. */
  get firstLoss(): number {
    return this.#losses[0] ?? Number.NaN;
  }

  free(): void {
    this.#stepper.free();
    freeModel(this.#model);
  }
}

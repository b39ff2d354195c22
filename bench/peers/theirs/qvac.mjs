// QVAC in its own runtime, Bare: trains for a few steps and writes what it reports, a line of JSON each.
//
//   bare qvac.mjs '{"model": …, "data": …, "output": …, "context": 128, "rank": 8, "alpha": 16}'
import LlmLlamacpp from "@qvac/llm-llamacpp";

const told = JSON.parse(Bare.argv.at(-1));
const say = (line) => console.log(`peer ${JSON.stringify(line)}`);
const log = (...parts) => say({ log: parts.map(String).join(" ") });

main().catch((error) => {
  say({ error: String(error && error.message ? error.message : error) });
  Bare.exit(1);
});

async function main() {
  const model = new LlmLlamacpp({
    files: { model: [told.model] },
    config: {
      device: told.device,
      gpu_layers: "999",
      ctx_size: String(told.context),
      "flash-attn": "off",
      verbosity: "2",
    },
    logger: { info: log, warn: log, error: log, debug: () => {} },
    opts: { stats: true },
  });
  await model.load();
  const handle = await model.finetune({
    trainDatasetDir: told.data,
    validation: { type: "none" },
    outputParametersDir: told.output,
    checkpointSaveDir: told.output,
    numberOfEpochs: 1,
    learningRate: 1e-4,
    lrScheduler: "constant",
    contextLength: told.context,
    batchSize: told.context,
    microBatchSize: told.context,
    assistantLossOnly: false,
    loraModules: told.modules,
    loraRank: told.rank,
    loraAlpha: told.alpha,
    weightDecay: 0,
  });
  handle.on("stats", (stats) => say({ stats, at: Date.now() }));
  say({ result: await handle.await() });
  await model.unload();
  Bare.exit(0);
}

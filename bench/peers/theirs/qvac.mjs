// QVAC in its own runtime, Bare: trains, and writes what it reports, a line of JSON each.
//
//   bare qvac.mjs '{"model": …, "data": …, "output": …, "context": 128, "rank": 8, "alpha": 16, …}'
import LlmLlamacpp from "@qvac/llm-llamacpp";

const told = JSON.parse(Bare.argv.at(-1));
const say = (line) => console.log(`peer ${JSON.stringify(line)}`);
const log = (...parts) => console.log(parts.map(String).join(" "));
const tokens = String(told.context);

try {
  const model = new LlmLlamacpp({
    files: { model: [told.model] },
    config: {
      device: "gpu",
      gpu_layers: "999",
      ctx_size: tokens,
      "flash-attn": "off", // as training wants it
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
    learningRate: told.learningRate,
    lrScheduler: "constant",
    contextLength: told.context,
    batchSize: told.context,
    microBatchSize: told.context,
    assistantLossOnly: false,
    loraModules: "attn_q,attn_k,attn_v,attn_o,ffn_gate,ffn_up,ffn_down",
    loraRank: told.rank,
    loraAlpha: told.alpha,
    weightDecay: 0,
  });
  handle.on("stats", (stats) => say({ stats }));
  say({ result: await handle.await() });
  await model.unload();
  Bare.exit(0);
} catch (error) {
  say({ error: String(error?.message ?? error) });
  Bare.exit(1);
}

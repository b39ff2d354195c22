// XTuner's configs as runs: the tutorial's file field by field, its variants, and what is refused with its line.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readXtunerConfig } from "../../src/xtuner/read-xtuner-config.ts";

const FIXTURE = join(
  import.meta.dirname,
  "../fixtures/xtuner/internlm2_1_8b_qlora_alpaca_e3_copy.py",
);
const TUTORIAL = readFileSync(FIXTURE, "utf8");

/** The tutorial's config with some of its text replaced; what is replaced must be there. */
function edited(...edits: readonly (readonly [string, string])[]): string {
  let text = TUTORIAL;
  for (const [from, to] of edits) {
    expect(text).toContain(from);
    text = text.replace(from, to);
  }
  return text;
}

const read = (text: string, cfgOptions: readonly string[] = []) =>
  readXtunerConfig(text, "a.py", { cfgOptions });

/** What the tutorial's config with another param_scheduler comes to. */
function schedule(text: string): object {
  const changed = TUTORIAL.replace(/param_scheduler = \[[\s\S]*?\n\]\n/, text);
  const { lr_scheduler, warmup_ratio } = read(changed).config;
  return { lr_scheduler, warmup_ratio };
}

/** The line of the tutorial's config, 1-based, in which the text first stands. */
function lineOf(text: string, part: string): number {
  return text.slice(0, text.indexOf(part)).split("\n").length;
}

test("the tutorial's config is the tutorial's run, field by field", () => {
  const { config, notes } = read(TUTORIAL);
  expect(config).toEqual({
    model: "/root/ft/model",
    quantization: "nf4",
    double_quant: true,
    compute_dtype: "auto",
    data: ["/root/ft/data/personal_assistant.json"],
    dataset_format: "openai",
    split: "train",
    field_messages: "",
    message_field_role: "",
    message_field_content: "",
    max_dataset_length: -1,
    prompt_template: "default",
    system: "",
    max_length: 1024,
    pack_to_max_length: true,
    use_varlen_attn: false,
    shuffle_before_pack: true,
    input_ids_with_output: true,
    shuffle: true,
    eval_split: 0,
    test_data: [],
    batch_size: 1,
    accumulative_counts: 16,
    max_epochs: 2,
    max_steps: -1,
    lr: 2e-4,
    lr_scheduler: "cosine",
    warmup_ratio: 0.03,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0,
    max_norm: 1,
    loss_scale: "dynamic",
    seed: 42,
    compat: "xtuner-0.1.17",
    lora: {
      r: 64,
      lora_alpha: 16,
      lora_dropout: 0.1,
      target_modules: "all-linear",
      bias: "none",
      use_rslora: false,
    },
    load_from: "",
    gradient_checkpointing: "auto",
    max_memory: "auto",
    work_dir: "",
    save_steps: 300,
    save_total_limit: 3,
    logging_steps: 10,
    evaluation_freq: 300,
    evaluation_inputs: ["请你介绍一下你自己", "你是谁", "你是我的小助手吗"],
    evaluation_max_new_tokens: 600,
    evaluation_system: "",
  });
  expect(notes).toEqual([
    {
      severity: "info",
      text: `line ${lineOf(TUTORIAL, "dict(seed=None")}: the seed is None: XTuner would draw one, here it is 42 (--seed sets it).`,
    },
  ]);
});

test("a mark at the beginning, ends of lines and tabs make no difference", () => {
  const { config } = read(TUTORIAL);
  for (const text of [
    `\uFEFF${TUTORIAL}`,
    TUTORIAL.replaceAll("\n", "\r\n"),
    TUTORIAL.trimEnd(),
    TUTORIAL.replaceAll("    ", "\t"),
  ]) {
    expect(read(text).config).toEqual(config);
  }
});

test("the same file as mmengine dumps it, imports as texts, is the same run", () => {
  const dotted: readonly (readonly [RegExp, string])[] = [
    [/\b(AutoTokenizer\.from_pretrained|AutoModelForCausalLM\.from_pretrained|BitsAndBytesConfig)\b(?=[,)])/g, "'transformers.$1'"],
    [/\btorch\.float16\b/g, "'torch.float16'"],
    [/=(PROMPT_TEMPLATE\.\w+|AdamW)\n/g, "='xtuner.utils.$1'\n"],
    [/= (PROMPT_TEMPLATE\.\w+)\n/g, "= 'xtuner.utils.$1'\n"],
    [/= AdamW\n/g, "= 'torch.optim.AdamW'\n"],
    [/dataset_map_fn=(\w+)/g, "dataset_map_fn='xtuner.dataset.map_fns.$1'"],
    [/type=(process_hf_dataset|template_map_fn_factory)/g, "type='xtuner.dataset.$1'"],
    [/type=(SupervisedFinetune|load_dataset|LoraConfig|DefaultSampler|default_collate_fn|AmpOptimWrapper|LinearLR|CosineAnnealingLR|TrainLoop|DatasetInfoHook|EvaluateChatHook|IterTimerHook|LoggerHook|ParamSchedulerHook|CheckpointHook|DistSamplerSeedHook|VarlenAttnArgsToMessageHubHook)/g, "type='a.b.$1'"],
  ]; // prettier-ignore
  const body = TUTORIAL.slice(TUTORIAL.indexOf("pretrained_model_name_or_path ="));
  const dumped = dotted.reduce((text, [from, to]) => text.replaceAll(from, to), body);
  expect(dumped).not.toContain("type=A");
  expect(read(dumped).config).toEqual(read(TUTORIAL).config);
});

describe("what a config may say otherwise", () => {
  test.each<[string, readonly (readonly [string, string])[], object]>([
    ["variable-length attention", [["use_varlen_attn = False", "use_varlen_attn = True"]], { use_varlen_attn: true }],
    ["one file in a list", [["data_files=dict(train=alpaca_en_path)", "data_files=[alpaca_en_path, 'b.json']"]], { data: ["/root/ft/data/personal_assistant.json", "b.json"] }],
    ["a file as a text", [["data_files=dict(train=alpaca_en_path)", "data_files=alpaca_en_path"]], { data: ["/root/ft/data/personal_assistant.json"] }],
    ["another split", [["data_files=dict(train=alpaca_en_path)", "data_files=dict(train='a.json', test='t.json')"], ["tokenizer=tokenizer,\n    max_length", "split='test', tokenizer=tokenizer,\n    max_length"]], { data: ["t.json"], split: "test" }],
    ["a data set of the hub with a name", [["path='json', data_files=dict(train=alpaca_en_path)", "path='shibing624/medical', name='finetune'"]], { data: ["shibing624/medical/finetune"] }],
    ["all splits of the hub", [["path='json', data_files=dict(train=alpaca_en_path)", "path='a/b'"], ["tokenizer=tokenizer,\n    max_length", "split=None, tokenizer=tokenizer,\n    max_length"]], { data: ["a/b"], split: "all" }],
    ["the hub's train where no split is said", [["path='json', data_files=dict(train=alpaca_en_path)", "path='a/b'"]], { data: ["a/b"], split: "train" }],
    ["a data set of the hub at a revision", [["path='json', data_files=dict(train=alpaca_en_path)", "path='a/b', revision='v1', split='test'"]], { data: ["a/b@v1"], split: "test" }],
    ["a file of the hub", [["path='json', data_files=dict(train=alpaca_en_path)", "path='a/b', data_files='c.json'"]], { data: ["a/b/c.json"] }],
    ["no map function and no template", [["dataset_map_fn=openai_map_fn", "dataset_map_fn=None"], ["template_map_fn=dict(\n        type=template_map_fn_factory, template=prompt_template)", "template_map_fn=None"]], { dataset_format: "standard", prompt_template: "none" }],
    ["a template written out", [["template=prompt_template)", "template=dict(SYSTEM='<|System|>:{system}\\n', INSTRUCTION='<|User|>:{input}\\n<|Bot|>:', SEP='\\n'))"]], { prompt_template: "default" }],
    ["not packed, fewer rows", [["pack_to_max_length=pack_to_max_length", "pack_to_max_length=False, max_dataset_length=100"]], { pack_to_max_length: false, max_dataset_length: 100 }],
    ["LoRA on the base as it is", [["        quantization_config=dict(", "        quantization_config=None, extra=dict("], ["extra=dict(", "use_cache=dict("]], { quantization: "none" }],
    ["single quantization", [["bnb_4bit_use_double_quant=True", "bnb_4bit_use_double_quant=False"]], { double_quant: false }],
    ["layers by name", [["bias='none'", "bias='none', target_modules=['wqkv']"]], { lora: { r: 64, lora_alpha: 16, lora_dropout: 0.1, target_modules: ["wqkv"], bias: "none", use_rslora: false } }],
    ["PEFT's own defaults", [["        r=64,\n        lora_alpha=16,\n        lora_dropout=0.1,\n        bias='none',\n", ""]], { lora: { r: 8, lora_alpha: 8, lora_dropout: 0, target_modules: "all-linear", bias: "none", use_rslora: false } }],
    ["no clipping, PyTorch's defaults", [["type=optim_type, lr=lr, betas=betas, weight_decay=weight_decay)", "type=optim_type)"], ["    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),\n", ""]], { lr: 1e-3, weight_decay: 0.01, max_norm: 1e9 }],
    ["a fixed loss scale", [["loss_scale='dynamic'", "loss_scale=512"]], { loss_scale: 512 }],
    ["checkpoints kept", [["save_total_limit = 3", "save_total_limit = -1"]], { save_total_limit: -1 }],
    ["a seed and a folder", [["seed=None", "seed=7"], ["load_from = None", "load_from = 'iter_10.pth'\nwork_dir = 'w'"]], { seed: 7, load_from: "iter_10.pth", work_dir: "w" }],
    ["no questions", [["        evaluation_inputs=evaluation_inputs,\n", "        evaluation_inputs=[],\n"]], { evaluation_inputs: [] }],
    ["a system message with names and braces", [["SYSTEM = ''", "bot_name = 'Bot'\nSYSTEM = 'I am {bot_name}. {{x}}'"]], { evaluation_system: "I am Bot. {x}" }],
    ["a known system message", [["import PROMPT_TEMPLATE", "import PROMPT_TEMPLATE, SYSTEM_TEMPLATE"], ["SYSTEM = ''", "SYSTEM = SYSTEM_TEMPLATE.sql"]], { evaluation_system: "If you are an expert in SQL, please generate a good SQL Query for Question based on the CREATE TABLE statement.\n" }],
    ["one parallel group", [["warmup_ratio = 0.03\n", "warmup_ratio = 0.03\nsequence_parallel_size = 1\naccumulative_counts *= sequence_parallel_size\n"]], { accumulative_counts: 16 }],
  ])("%s", (_, edits, expected) => {
    expect(read(edited(...edits)).config).toMatchObject(expected);
  }); // prettier-ignore

  test("several data sets with several map functions", () => {
    const text = edited(
      ["import openai_map_fn,", "import alpaca_zh_map_fn, openai_map_fn,"],
      ["import process_hf_dataset", "import ConcatDataset, process_hf_dataset"],
      ["train_dataloader = dict(", "zh = dict(**alpaca_en)\nzh['dataset'] = dict(type=load_dataset, path='a/zh')\nzh['dataset_map_fn'] = alpaca_zh_map_fn\nboth = dict(type='ConcatDataset', datasets=[alpaca_en, zh])\ntrain_dataloader = dict("],
      ["dataset=alpaca_en,", "dataset=both,"],
    ); // prettier-ignore
    expect(read(text).config).toMatchObject({
      data: ["/root/ft/data/personal_assistant.json", "a/zh"],
      dataset_format: "openai, alpaca_zh",
    });
    const byName = text.replace("datasets=[alpaca_en, zh]", "datasets_cfg=dict(a=alpaca_en, b=zh)");
    expect(read(byName).config).toEqual(read(text).config);
  });

  test("a length in iterations, and a warm-up in them", () => {
    const text = edited(
      ["max_epochs=max_epochs)", "max_iters=1000)"],
      ["        by_epoch=True,\n        begin=0,\n        end=warmup_ratio * max_epochs,\n        convert_to_iter_based=True)", "        by_epoch=False,\n        begin=0,\n        end=50)"],
      ["        by_epoch=True,\n        begin=warmup_ratio * max_epochs,\n        end=max_epochs,\n        convert_to_iter_based=True)", "        by_epoch=False,\n        begin=50,\n        end=1000)"],
    ); // prettier-ignore
    expect(read(text).config).toMatchObject({ max_steps: 1000, warmup_ratio: 0.05 });
  });

  test("a constant rate, a linear one, and no warm-up", () => {
    const none = { warmup_ratio: 0 };
    expect(schedule("param_scheduler = []\n")).toEqual({ ...none, lr_scheduler: "constant" });
    expect(
      schedule(
        "param_scheduler = dict(type=CosineAnnealingLR, end=2, convert_to_iter_based=True)\n",
      ),
    ).toEqual({ ...none, lr_scheduler: "cosine" });
    expect(
      schedule(
        "param_scheduler = dict(type=LinearLR, start_factor=1, end_factor=0.0, end=2, convert_to_iter_based=True)\n",
      ),
    ).toEqual({ ...none, lr_scheduler: "linear" });
  });

  test.each([
    ["None", "system=SYSTEM,\n        prompt_template=None)"],
    ["absent", "system=SYSTEM)"],
  ])("questions without a template (%s) are asked with the data's, which is said", (_, hook) => {
    const text = edited(["system=SYSTEM,\n        prompt_template=prompt_template)", hook]);
    expect(read(text).notes.map((note) => note.text)).toContainEqual(
      expect.stringContaining(
        "questions would be asked without a template; they are asked with default",
      ),
    );
  });

  test("questions of MMLU are those of hone test", () => {
    const text = `${TUTORIAL}
from xtuner.evaluation import MMLUMetric
mmlu = dict(type=load_dataset, path='json', data_files=dict(val='d/' + 'v.json', test='d/t.json'))
val_dataloader = dict(dataset=dict(type=process_hf_dataset, dataset=mmlu, tokenizer=tokenizer, input_ids_with_output=False, pack_to_max_length=False, split='val'))
test_dataloader = dict(dataset=dict(type=process_hf_dataset, dataset=mmlu, tokenizer=tokenizer, input_ids_with_output=False, pack_to_max_length=False, split='test'))
test_evaluator = dict(type=MMLUMetric, tokenizer=tokenizer, prefix='x')
`;
    const { config, notes } = read(text);
    expect(config.test_data).toEqual(["d/t.json"]);
    expect(notes.map((note) => note.text).join()).toContain("run hone test on a checkpoint");
  });
});

describe("harmless, and said with its line", () => {
  test.each<[string, string, string, RegExp]>([
    ["bfloat16", "dtype='float16')", "dtype='bfloat16')", /WebGPU has none/],
    ["a paged optimizer", "from torch.optim import AdamW", "from bitsandbytes.optim import PagedAdamW32bit as AdamW", /PagedAdamW32bit is AdamW in 32 bits/],
    ["checkpoints by epoch", "        by_epoch=False,\n        interval=save_steps,", "        interval=1,", /every epoch/],
    ["another warm-up's beginning", "start_factor=1e-5", "start_factor=0.01", /begins at 0\.01/],
    ["the end of 0.1.11's cosine", "        end=max_epochs,", "        T_max=max_epochs,", /T_max=2 counts from the end/],
    ["a launcher", "log_level = 'INFO'", "launcher = 'pytorch'", /launcher has no equivalent/],
    ["a visualizer", "visualizer = None", "visualizer = dict(type='Visualizer')", /visualizer has no equivalent/],
    ["a hook that counts", "    dict(type=DatasetInfoHook, tokenizer=tokenizer),", "    dict(type='xtuner.engine.ThroughputHook'),", /ThroughputHook has no equivalent/],
    ["resume", "resume = False", "resume = True", /run hone train with --resume/],
    ["other processes", "    remove_unused_columns=True,", "    map_num_proc=8,", /map_num_proc is 8/],
    ["another tokenizer", "tokenizer = dict(\n    type=AutoTokenizer.from_pretrained,\n    pretrained_model_name_or_path=pretrained_model_name_or_path", "tokenizer = dict(\n    type=AutoTokenizer.from_pretrained,\n    pretrained_model_name_or_path='other'", /Hone takes the model's own/],
    ["a setting nobody knows", "        interval=save_steps,", "        interval=save_steps, max_keep=3,", /max_keep.* has no equivalent/],
  ])("%s", (_, from, to, expected) => {
    const text = edited([from, to]);
    const notes = read(text).notes.map((note) => note.text);
    const found = notes.filter((note) => expected.test(note));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^line \d+: /);
  }); // prettier-ignore
});

describe("refused, with its line", () => {
  test.each<[string, string, string, RegExp]>([
    ["all weights", "    lora=dict(", "    unknown=dict(", /all weights would be trained/],
    ["8 bits", "load_in_8bit=False", "load_in_8bit=True", /4 bits \(load_in_4bit=True/],
    ["fp4", "            bnb_4bit_quant_type='nf4'", "            bnb_4bit_quant_type='fp4'", /is fp4; Hone has nf4 only/],
    ["another optimizer", "from torch.optim import AdamW", "from torch.optim import SGD as AdamW", /the optimizer SGD; Hone has AdamW/],
    ["an 8-bit optimizer", "from torch.optim import AdamW", "from bitsandbytes.optim import PagedAdamW8bit as AdamW", /PagedAdamW8bit; Hone has AdamW/],
    ["preferences", "    type=SupervisedFinetune,", "    type='xtuner.model.DPO',", /tuning by preferences/],
    ["images", "    type=SupervisedFinetune,", "    type='xtuner.model.LLaVAModel',", /sees images/],
    ["a reward model", "    type=SupervisedFinetune,", "    type='xtuner.model.reward.RewardModel',", /a reward model/],
    ["parallel sequences", "max_norm = 1", "sequence_parallel_size = 2\nmax_norm = 1", /trains on one GPU/],
    ["a longer context", "    use_varlen_attn=use_varlen_attn,\n    llm", "    use_varlen_attn=use_varlen_attn,\n    max_position_embeddings=32768,\n    llm", /stretches the model's context/],
    ["another schedule", "CosineAnnealingLR, LinearLR", "PolyLR as CosineAnnealingLR, LinearLR", /PolyLR/],
    ["a cosine that does not reach 0", "eta_min=0.0", "eta_min=1e-6", /CosineAnnealingLR to 0/],
    ["DoRA", "bias='none'", "bias='none', use_dora=True", /use_dora is True/],
    ["whole modules", "bias='none'", "bias='none', modules_to_save=['lm_head']", /LoRA alone/],
    ["a pattern of layers", "bias='none'", "bias='none', target_modules='.*proj'", /is a pattern; name the layers/],
    ["renamed columns", "    remove_unused_columns=True,", "    rename_maps=[('a', 'b')],", /rename the columns in the file/],
    ["a part of a split", "data_files=dict(train=alpaca_en_path)", "data_files=alpaca_en_path, split='train[:10%]'", /name a whole split/],
    ["a pattern of files", "data_files=dict(train=alpaca_en_path)", "data_files='*.json'", /name each file/],
    ["a file without a split", "data_files=dict(train=alpaca_en_path)", "data_files=dict(test='a.json')", /no file for the split train/],
    ["another reader", "dataset=dict(type=load_dataset,", "dataset=dict(type='datasets.load_from_disk',", /Give the data as files/],
    ["MOSS", "type=process_hf_dataset", "type='xtuner.dataset.MOSSSFTDataset'", /MOSS' own reader/],
    ["a function of one's own by name", "dataset_map_fn=openai_map_fn", "dataset_map_fn='mine.my_map_fn'", /never run\. Give the data in a form/],
    ["a template of one's own", "template=prompt_template)", "template=dict(INSTRUCTION='Q: {input} A:'))", /a prompt template of one's own/],
    ["an unknown template", "PROMPT_TEMPLATE.default", "PROMPT_TEMPLATE.defualt", /no prompt template .*defualt/],
    ["an unknown hook", "    dict(type=DatasetInfoHook, tokenizer=tokenizer),", "    dict(type='EarlyStoppingHook'),", /the hook EarlyStoppingHook/],
    ["another clipping", "clip_grad=dict(max_norm=max_norm", "clip_grad=dict(type='value', clip_value=1.0", /clips by the 2-norm/],
    ["another sampler", "sampler=dict(type=DefaultSampler", "sampler=dict(type='xtuner.dataset.samplers.LengthGroupedSampler'", /sampler is LengthGroupedSampler/],
    ["both lengths", "max_epochs=max_epochs)", "max_epochs=max_epochs, max_iters=10)", /takes one of them/],
    ["a rate that is no number", "lr = 2e-4", "lr = '2e-4'", /optimizer\.lr is "2e-4", not a number/],
    ["a rate out of range", "lr = 2e-4", "lr = 2.5", /line \d+: lr is 2\.5, and takes a number from 0 to 1/],
    ["a tuple inside a list", "betas = (0.9, 0.999)", "betas = [(0.9, 0.999)]", /betas is \[\[0\.9,0\.999\]\], and takes/],
    ["texts for numbers", "betas = (0.9, 0.999)", "betas = ('0.9', None)", /betas is \["0\.9","None"\], and takes/],
    ["a tuple inside a list", "betas = (0.9, 0.999)", "betas = [(0.9, 0.999)]", /betas is \[\[0\.9,0\.999\]\], and takes/],
    ["texts for numbers", "betas = (0.9, 0.999)", "betas = ('0.9', None)", /betas is \["0\.9","None"\], and takes/],
    ["no model", "model = dict(", "modell = dict(", /there is no model: is this a config of XTuner/],
  ])("%s", (_, from, to, expected) => {
    const text = edited([from, to]);
    expect(() => read(text)).toThrow(expected);
  }); // prettier-ignore

  test("a length by --cfg-options that the schedule does not follow, with the paths that must", () => {
    expect(() => read(TUTORIAL, ["train_cfg.max_epochs=4"])).toThrow(
      /a\.py has something .+: --cfg-options train_cfg\.max_epochs=4, while param_scheduler still ends at 2: give param_scheduler\.0\.end, param_scheduler\.1\.begin and param_scheduler\.1\.end in --cfg-options too, or edit max_epochs in the file\./,
    );
    const all = ["train_cfg.max_epochs=4", "param_scheduler.0.end=1", "param_scheduler.1.begin=1", "param_scheduler.1.end=4"]; // prettier-ignore
    expect(read(TUTORIAL, all).config).toMatchObject({ max_epochs: 4, warmup_ratio: 0.25 });
  });

  test("all of it at once, in the file's order", () => {
    const text = edited(
      ["load_in_8bit=False", "load_in_8bit=True"],
      ["from torch.optim import AdamW", "from torch.optim import SGD as AdamW"],
    );
    const eight = lineOf(text, "load_in_8bit=True");
    expect(() => read(text)).toThrow(
      new RegExp(
        `^a\\.py has 2 things that Hone does not do:\n  line ${eight}: .*\n  line \\d+: the optimizer SGD`,
      ),
    );
  });

  test("a function for the data names the forms there are", () => {
    const text = edited([
      "from xtuner.dataset import",
      "def my_map_fn(row):\n    return row\n\nfrom xtuner.dataset import",
    ]);
    expect(() => read(text)).toThrow(/line \d+: a function of its own\. Give the data in a form/);
  });
});

test("--cfg-options are put over what the file comes to", () => {
  const { config } = read(TUTORIAL, ["optim_wrapper.optimizer.lr=1e-4", "train_cfg.max_epochs=1", "param_scheduler.0.end=0.1", "param_scheduler.1.begin=0.1", "param_scheduler.1.end=1"]); // prettier-ignore
  expect(config).toMatchObject({ lr: 1e-4, max_epochs: 1, warmup_ratio: 0.1 });
  expect(read(TUTORIAL, ["lr=1e-4"]).config.lr).toBe(2e-4);
  expect(
    read(TUTORIAL, ["lr=1e-4"])
      .notes.map(({ text }) => text)
      .join(),
  ).toContain("changes nothing");
});

const concat = (items: string) => `dict(type='ConcatDataset', datasets=[${items}])`;

describe("few lines that stand for much end in words, soon", () => {
  const nested = Array.from({ length: 40 }, (_, i) => `c${i + 1} = ${concat(`c${i}, c${i}`)}\n`);
  const END = `\ntrain_dataloader['dataset'] = c40\n`;
  test.each<[string, string, RegExp]>([
    [
      "data sets in data sets",
      `c0 = alpaca_en\n${nested.join("")}${END}`,
      /more than 1000 data sets/,
    ],
    [
      "no data sets in data sets",
      `c0 = ${concat("")}\n${nested.join("")}${END}`,
      /more than 1000 data sets/,
    ],
    [
      "a finding for each",
      `c40 = ${concat("")}\nc40['datasets'] = [0] * 9000${END}`,
      /more than 200 things/,
    ],
    [
      "many long texts",
      `a = 'a' * 10**6\ncustom_hooks = [dict(type=EvaluateChatHook, evaluation_inputs=[a] * 9000)]\n`,
      /texts of 9\d+ characters/,
    ],
    ["many refusals", `a = 'a' * 10**6\n${"x = {}[a]\n".repeat(5000)}`, /and 4900 more/],
  ])("%s", (_, text, expected) => {
    const started = performance.now();

    expect(() => read(`${TUTORIAL}\n${text}`)).toThrow(expected);
    expect(performance.now() - started).toBeLessThan(8000);
  });
});

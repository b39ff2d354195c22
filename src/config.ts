// Every option of a run: its type, default, range, unit and words, in one table. It grows by an entry for
// each option, past 400 lines.
//
// Keys are the field's own (XTuner's, PEFT's and TRL's), so a config reads as its readers expect.
// Defaults are XTuner's, save where its own are accidents: packed documents do not see each other.
// The type, the YAML reader and writer (config/read.ts), `--set` and the form are made from this table.
import {
  choice,
  flag,
  flagOr,
  namesOr,
  number,
  numberOr,
  pair,
  text,
  texts,
  whole,
  wholeOr,
  type Option,
} from "./config/option.ts";

const MANY = 1e9; // an upper limit where only the type needs one

const OPTIONS = {
  model: text({
    default: "",
    isRequired: true,
    group: "model",
    label: "Model",
    help: "folder of the base model in Hugging Face layout, or the name seedling for the one that comes with Hone",
    elsewhere: ["pretrained_model_name_or_path", "model_name_or_path", "base_model"],
  }),
  quantization: choice(["nf4", "none"], {
    default: "nf4",
    group: "model",
    label: "Quantization",
    help: "how the frozen weights are kept: 4-bit NF4 (QLoRA), or as they are (LoRA)",
    elsewhere: ["load_in_4bit", "quantization_config", "bnb_4bit_quant_type"],
  }),
  double_quant: flag({
    default: true,
    group: "model",
    label: "Double quantization",
    help: "keep the NF4 scales in 8 bits as well",
    elsewhere: ["bnb_4bit_use_double_quant"],
  }),
  compute_dtype: choice(["auto", "f32", "f16"], {
    default: "auto",
    group: "model",
    label: "Compute type",
    help: "type of activations and unpacked weights; auto is f16 where the adapter has it. Sums are f32 always",
    elsewhere: ["torch_dtype", "bnb_4bit_compute_dtype", "fp16", "bf16"],
  }),

  data: texts({
    default: [],
    isRequired: true,
    group: "data",
    label: "Data",
    help: "files of training data (JSON, JSONL, CSV, TSV, Parquet, or plain text), or data sets of the hub by id",
    elsewhere: ["data_path", "data_files", "dataset", "train_file"],
  }),
  dataset_format: text({
    default: "auto",
    group: "data",
    label: "Format of the data",
    help: "name of the map function (hone list-dataset-format), one for all data or one for each, separated by commas; auto looks at the first rows",
    elsewhere: ["dataset_map_fn"],
  }),
  split: text({
    default: "train",
    group: "data",
    label: "Split",
    help: "part of a data set of the hub; files on the disk are read whole",
    elsewhere: ["dataset_split", "train_split"],
  }),
  field_messages: text({
    default: "",
    group: "data",
    label: "Column of messages",
    help: "column that holds the list of messages; empty looks for messages, conversations and conversation",
  }),
  message_field_role: text({
    default: "",
    group: "data",
    label: "Field of the role",
    help: "field of a message that says who speaks; empty looks for role and from",
  }),
  message_field_content: text({
    default: "",
    group: "data",
    label: "Field of the content",
    help: "field of a message that holds its text; empty looks for content and value",
  }),
  max_dataset_length: wholeOr(
    -1,
    { min: 1, max: MANY },
    {
      default: -1,
      group: "data",
      label: "Examples at most",
      help: "so many examples, drawn by the seed, where there are more; -1 takes all",
      elsewhere: ["max_samples"],
    },
  ),
  prompt_template: text({
    default: "auto",
    group: "data",
    label: "Prompt template",
    help: "name of the template around each message (default, internlm2_chat, …); auto is the model's own chat template",
    elsewhere: ["template", "chat_template"],
  }),
  system: text({
    default: "",
    group: "data",
    label: "System message",
    help: "shown before conversations that have none of their own; empty is none",
    elsewhere: ["SYSTEM", "system_prompt"],
  }),
  max_length: whole(
    { min: 8, max: 1_048_576 },
    {
      default: 2048,
      group: "data",
      label: "Row length",
      unit: "tokens",
      help: "length of a training row; longer examples are cut, and the run says how many",
      elsewhere: ["max_seq_length", "cutoff_len", "sequence_len"],
    },
  ),
  pack_to_max_length: flag({
    default: true,
    group: "data",
    label: "Pack examples",
    help: "join examples into full rows",
    elsewhere: ["packing", "sample_packing"],
  }),
  use_varlen_attn: flag({
    default: true,
    inXtuner: false,
    group: "data",
    label: "Keep packed examples apart",
    help: "packed examples do not see each other; false is XTuner's default, where they do",
  }),
  shuffle_before_pack: flag({
    default: true,
    group: "data",
    label: "Shuffle before packing",
    help: "join examples in a new order, by the seed, instead of the file's",
  }),
  input_ids_with_output: flag({
    default: true,
    group: "data",
    label: "Show answers",
    help: "false leaves answers out of the tokens, as questions of a test are asked; nothing can be trained on those",
  }),
  shuffle: flag({
    default: true,
    group: "data",
    label: "Shuffle",
    help: "visit rows in a new order each epoch, by the seed",
  }),
  eval_split: number(
    { min: 0, max: 0.5 },
    {
      default: 0,
      group: "data",
      label: "Held-out share",
      help: "share of the examples kept out of training for the held-out loss; 0 is none",
      elsewhere: ["val_set_size", "test_size", "val_size"],
    },
  ),

  test_data: texts({
    default: [],
    group: "data",
    label: "Test questions",
    help: "files of multiple-choice questions in XTuner's MMLU form, for hone test",
  }),

  batch_size: whole(
    { min: 1, max: 1024 },
    {
      default: 1,
      group: "training",
      label: "Batch size",
      unit: "rows",
      help: "rows in one pass",
      elsewhere: ["per_device_train_batch_size", "micro_batch_size"],
    },
  ),
  accumulative_counts: whole(
    { min: 1, max: 65_536 },
    {
      default: 16,
      group: "training",
      label: "Accumulation",
      unit: "passes",
      help: "passes for one optimizer step; a step sees batch_size × accumulative_counts rows",
      elsewhere: ["gradient_accumulation_steps"],
    },
  ),
  max_epochs: whole(
    { min: 1, max: 100_000 },
    {
      default: 3,
      group: "training",
      label: "Epochs",
      help: "times through the data",
      elsewhere: ["num_train_epochs", "epochs", "num_epochs"],
    },
  ),
  max_steps: wholeOr(
    -1,
    { min: 1, max: MANY },
    {
      default: -1,
      group: "training",
      label: "Steps at most",
      unit: "steps",
      help: "end after this many steps, repeating the data if need be, whatever max_epochs says; -1 leaves it to max_epochs; optimizer steps, under compat iterations",
      elsewhere: ["max_iters"],
    },
  ),
  lr: number(
    { min: 0, max: 1 },
    {
      default: 2e-4,
      group: "training",
      label: "Learning rate",
      help: "peak learning rate, reached at the end of warm-up",
      elsewhere: ["learning_rate"],
    },
  ),
  lr_scheduler: choice(["cosine", "linear", "constant"], {
    default: "cosine",
    group: "training",
    label: "Schedule",
    help: "how the learning rate falls after warm-up",
    elsewhere: ["lr_scheduler_type"],
  }),
  warmup_ratio: number(
    { min: 0, max: 1 },
    {
      default: 0.03,
      group: "training",
      label: "Warm-up share",
      help: "share of all steps in which the learning rate rises from near 0",
      elsewhere: ["warmup_steps"],
    },
  ),
  betas: pair(
    { min: 0, below: 1 },
    {
      default: [0.9, 0.999],
      group: "training",
      label: "AdamW betas",
      help: "AdamW's decay of the gradient's mean and of its square's",
      elsewhere: ["adam_beta1", "adam_beta2"],
    },
  ),
  eps: number(
    { min: 1e-12, max: 1e-2 },
    {
      default: 1e-8,
      group: "training",
      label: "AdamW epsilon",
      help: "AdamW's term against division by zero",
      elsewhere: ["adam_epsilon"],
    },
  ),
  weight_decay: number(
    { min: 0, max: 1 },
    {
      default: 0,
      group: "training",
      label: "Weight decay",
      help: "AdamW's decoupled weight decay",
    },
  ),
  max_norm: number(
    { min: 1e-6, max: MANY },
    {
      default: 1,
      group: "training",
      label: "Gradient clip",
      help: "longest gradient; longer ones are scaled down to it",
      elsewhere: ["max_grad_norm"],
    },
  ),
  loss_scale: numberOr(
    "dynamic",
    { min: 1, max: 2 ** 24 },
    {
      default: "dynamic",
      group: "training",
      label: "Loss scale",
      help: "factor on the loss that keeps f16 gradients above zero; dynamic follows PyTorch's GradScaler, and is 1 in f32",
    },
  ),
  seed: whole(
    { min: 0, max: 2 ** 32 - 1 },
    {
      default: 42,
      group: "training",
      label: "Seed",
      help: "fixes the order of rows, the adapter's first values and dropout",
    },
  ),

  compat: choice(["none", "xtuner-0.1.17"], {
    default: "none",
    group: "training",
    label: "Compatibility",
    help: "xtuner-0.1.17 counts, packs, schedules, weighs losses and logs as that release does, accidents included",
  }),

  lora: {
    r: whole(
      { min: 1, max: 1024 },
      {
        default: 64,
        group: "lora",
        label: "Rank",
        help: "rank of the adapter's matrices",
        elsewhere: ["lora_r", "lora_rank", "rank"],
      },
    ),
    lora_alpha: number(
      { min: 0, max: 65_536 },
      {
        default: 16,
        group: "lora",
        label: "Alpha",
        help: "the adapter's output is scaled by lora_alpha / r",
      },
    ),
    lora_dropout: number(
      { min: 0, max: 0.99 },
      {
        default: 0.1,
        group: "lora",
        label: "Dropout",
        help: "share of the adapter's inputs dropped while training",
      },
    ),
    target_modules: namesOr("all-linear", {
      default: "all-linear",
      group: "lora",
      label: "Adapted layers",
      help: "names of the linear layers to adapt (q_proj, …); all-linear is every one but the output head, which XTuner leaves out only where it is called lm_head",
      elsewhere: ["lora_target_modules", "lora_target"],
    }),
    bias: choice(["none"], {
      default: "none",
      group: "lora",
      label: "Bias",
      help: "which biases are trained",
    }),
    use_rslora: flag({
      default: false,
      group: "lora",
      label: "Rank-stabilized scale",
      help: "scale by lora_alpha / √r instead",
    }),
  },
  load_from: text({
    default: "",
    group: "lora",
    label: "Adapter to begin with",
    help: "folder of an adapter to begin with instead of a fresh one; its rank and layers must be the config's",
    elsewhere: ["adapter_name_or_path", "lora_model_dir"],
  }),

  gradient_checkpointing: flagOr("auto", {
    default: "auto",
    group: "memory",
    label: "Gradient checkpointing",
    help: "keep as little as can be of the forward pass and compute it again; auto keeps what there is memory for",
    elsewhere: ["use_gradient_checkpointing"],
  }),
  max_memory: numberOr(
    "auto",
    { min: 0.001, max: MANY },
    {
      default: "auto",
      group: "memory",
      label: "Memory limit",
      unit: "GiB",
      help: "GPU memory that the run may take; one that needs more is refused with settings that fit. auto is what is free, where the system tells, else no limit",
      elsewhere: ["max_memory_MB", "gpu_memory_limit"],
    },
  ),

  work_dir: text({
    default: "",
    group: "output",
    label: "Work directory",
    help: "folder for checkpoints and logs; empty is ./work_dirs/ and the config's name",
    elsewhere: ["output_dir"],
  }),
  save_steps: whole(
    { min: 1, max: MANY },
    {
      default: 500,
      group: "output",
      label: "Checkpoint every",
      unit: "steps",
      help: "how often a checkpoint is saved; the last step always is; optimizer steps, under compat iterations",
    },
  ),
  save_total_limit: wholeOr(
    -1,
    { min: 1, max: MANY },
    {
      default: 2,
      group: "output",
      label: "Checkpoints kept",
      help: "older checkpoints are removed; -1 keeps all",
    },
  ),
  logging_steps: whole(
    { min: 1, max: MANY },
    {
      default: 10,
      group: "output",
      label: "Log every",
      unit: "steps",
      help: "how often a line is printed where there is no progress bar; metrics.jsonl has every step; optimizer steps, under compat iterations",
    },
  ),
  evaluation_freq: whole(
    { min: 0, max: MANY },
    {
      default: 500,
      group: "output",
      label: "Evaluate every",
      unit: "steps",
      help: "how often evaluation_inputs are answered and the held-out loss is taken; 0 only before and after; optimizer steps, under compat iterations",
      elsewhere: ["eval_steps"],
    },
  ),
  evaluation_inputs: texts({
    default: [],
    group: "output",
    label: "Evaluation questions",
    help: "questions answered before, during and after training",
  }),
  evaluation_max_new_tokens: whole(
    { min: 1, max: 32_768 },
    {
      default: 256,
      inXtuner: 600,
      group: "output",
      label: "Longest answer",
      unit: "tokens",
      help: "where the answer to an evaluation question is cut off",
    },
  ),
  evaluation_system: text({
    default: "",
    group: "output",
    label: "System message of the questions",
    help: "system message of the evaluation questions where it is not that of the training data; empty is system's",
  }),
} as const;

type Values<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends Option<infer Value>
    ? Value
    : Values<Table[Key]>;
};

/** A checked and complete description of a run. */
export type TrainConfig = Values<typeof OPTIONS>;

/** One option and where it stands: "lr", "lora.r". */
export interface PlacedOption {
  readonly path: string;
  readonly option: Option;
}

/** All options in the order of the table. */
export const ALL_OPTIONS: readonly PlacedOption[] = placeOptions(OPTIONS, "");

function placeOptions(table: object, prefix: string): PlacedOption[] {
  return Object.entries(table).flatMap(([key, entry]: [string, Option | object]) =>
    "read" in entry
      ? [{ path: prefix + key, option: entry }]
      : placeOptions(entry, `${prefix}${key}.`),
  );
}

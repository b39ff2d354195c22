// Chinese: the options of a run, one entry for each path of the table in config.ts.
import type { Option } from "../../config/option.ts";
import type { enOptions } from "./en-plan-options.ts";

const words: (typeof enOptions)["words"] = {
  model: {
    label: "模型",
    help: "Hugging Face 格式的基础模型文件夹，或 Hone 自带模型的名字 seedling",
  },
  quantization: {
    label: "量化",
    help: "冻结权重的存放方式：4 位 NF4（QLoRA），或保持原样（LoRA）",
  },
  double_quant: { label: "双重量化", help: "NF4 的缩放系数也用 8 位存放" },
  compute_dtype: {
    label: "计算类型",
    help: "激活值和解压后权重的类型；auto 表示适配器支持时用 f16。求和始终用 f32",
  },
  data: {
    label: "数据",
    help: "训练数据文件（JSON、JSONL、CSV、TSV、Parquet 或纯文本），或 Hub 上数据集的 id",
  },
  dataset_format: {
    label: "数据格式",
    help: "映射函数的名字（见 hone list-dataset-format），全部数据共用一个，或用逗号分开、每份数据一个；auto 会根据前几行判断",
  },
  split: { label: "子集", help: "使用 Hub 数据集的哪一部分；磁盘上的文件总是整个读取" },
  field_messages: {
    label: "消息所在的列",
    help: "存放消息列表的列；留空时依次寻找 messages、conversations 和 conversation",
  },
  message_field_role: {
    label: "角色字段",
    help: "消息中说明谁在说话的字段；留空时寻找 role 和 from",
  },
  message_field_content: {
    label: "内容字段",
    help: "消息中存放文字的字段；留空时寻找 content 和 value",
  },
  max_dataset_length: {
    label: "样本上限",
    help: "样本更多时，按随机种子抽取这么多条；-1 表示全部使用",
  },
  prompt_template: {
    label: "提示模板",
    help: "包在每条消息外的模板名（default、internlm2_chat……）；auto 表示用模型自带的对话模板",
  },
  system: { label: "系统消息", help: "加在没有系统消息的对话前面；留空表示不加" },
  max_length: { label: "行长度", help: "训练行的长度；更长的样本会被截断，训练时会说明有多少条" },
  pack_to_max_length: { label: "拼接样本", help: "把多个样本拼成满行" },
  use_varlen_attn: {
    label: "隔开拼接的样本",
    help: "拼在一起的样本互相看不见；false 是 XTuner 的默认值，此时互相可见",
  },
  shuffle_before_pack: {
    label: "拼接前打乱",
    help: "按随机种子以新的顺序拼接样本，而不是文件中的顺序",
  },
  input_ids_with_output: {
    label: "包含回答",
    help: "false 表示不放入回答，像测试提问那样；这样的数据无法用来训练",
  },
  shuffle: { label: "打乱顺序", help: "每轮按随机种子重新排列各行" },
  eval_split: { label: "留出比例", help: "留作验证、不参与训练的样本比例；0 表示不留" },
  test_data: { label: "测试题", help: "XTuner 的 MMLU 格式的选择题文件，供 hone test 使用" },
  batch_size: { label: "批大小", help: "一次前向和反向处理的行数" },
  accumulative_counts: {
    label: "梯度累积",
    help: "多少次前向和反向后更新一步；每一步看到 batch_size × accumulative_counts 行",
  },
  max_epochs: { label: "训练轮数", help: "把数据过多少遍" },
  max_steps: {
    label: "最多步数",
    help: "到这么多步就结束，数据不够时重复使用，不受 max_epochs 限制；-1 表示由 max_epochs 决定；步数为优化器步，compat 下为迭代次数",
  },
  lr: { label: "学习率", help: "学习率的峰值，在预热结束时达到" },
  lr_scheduler: { label: "学习率曲线", help: "预热之后学习率如何下降" },
  warmup_ratio: { label: "预热比例", help: "学习率从接近 0 上升所占的步数比例" },
  betas: { label: "AdamW betas", help: "AdamW 对梯度均值和平方均值的衰减系数" },
  eps: { label: "AdamW epsilon", help: "AdamW 防止除以零的小量" },
  weight_decay: { label: "权重衰减", help: "AdamW 的解耦权重衰减" },
  max_norm: { label: "梯度裁剪", help: "梯度的最大长度；超过的会缩到这个长度" },
  loss_scale: {
    label: "损失缩放",
    help: "让 f16 梯度不至于变成零的损失倍数；dynamic 遵循 PyTorch 的 GradScaler，在 f32 下为 1",
  },
  seed: { label: "随机种子", help: "决定各行的顺序、适配器的初值和 dropout" },
  compat: {
    label: "兼容模式",
    help: "xtuner-0.1.17 按该版本的方式计数、拼接、调度、加权损失和记录日志，包括其中的偶然之处",
  },
  "lora.r": { label: "秩", help: "适配器矩阵的秩" },
  "lora.lora_alpha": { label: "Alpha 系数", help: "适配器的输出按 lora_alpha / r 缩放" },
  "lora.lora_dropout": { label: "Dropout 比例", help: "训练时随机丢弃的适配器输入比例" },
  "lora.target_modules": {
    label: "适配的层",
    help: "要适配的线性层名称（q_proj……）；all-linear 表示除输出层外的全部线性层",
  },
  "lora.bias": { label: "偏置", help: "训练哪些偏置" },
  "lora.use_rslora": { label: "秩稳定缩放", help: "改用 lora_alpha / √r 缩放" },
  evaluation_max_new_tokens: { label: "最长回答", help: "评测问题的回答到这个长度就截断" },
  evaluation_system: {
    label: "评测问题的系统消息",
    help: "评测问题使用的系统消息，用于和训练数据不同的情况；留空表示与 system 相同",
  },
  load_from: {
    label: "起始适配器",
    help: "从这个文件夹里的适配器开始，而不是全新的；秩和层必须与配方一致",
  },
  gradient_checkpointing: {
    label: "梯度检查点",
    help: "前向结果尽量少留，用到时重新计算；auto 表示内存放得下多少就留多少",
  },
  max_memory: {
    label: "内存上限",
    help: "一次训练最多占用的 GPU 内存；需要更多时会拒绝并给出放得下的设置。auto 表示系统报告的空闲量，不报告则不限",
  },
  work_dir: {
    label: "工作目录",
    help: "存放检查点和日志的文件夹；留空为 ./work_dirs/ 加配置名",
  },
  save_steps: {
    label: "保存间隔",
    help: "多久保存一次检查点；最后一步总会保存；步数为优化器步，compat 下为迭代次数",
  },
  save_total_limit: { label: "保留检查点数", help: "更早的检查点会被删除；-1 表示全部保留" },
  logging_steps: {
    label: "日志间隔",
    help: "没有进度条时多久打印一行；metrics.jsonl 记录每一步；步数为优化器步，compat 下为迭代次数",
  },
  evaluation_freq: {
    label: "评估间隔",
    help: "多久回答一次评估问题并计算留出损失；0 表示只在训练前后；步数为优化器步，compat 下为迭代次数",
  },
  evaluation_inputs: { label: "评估问题", help: "训练前、训练中和训练后要模型回答的问题" },
};

const UNITS: Readonly<Record<string, string>> = {
  tokens: "词元",
  rows: "行",
  passes: "次",
  steps: "步",
};

/** As `Option.takes` says it in English, made from the same field. */
function takes({ field, isRequired }: Option): string {
  switch (field.kind) {
    case "text":
      return isRequired ? "非空文本" : "文本";
    case "texts":
      return field.words.length > 0
        ? `${field.words.join("、")}，或至少一个名称的列表`
        : "文本列表";
    case "number": {
      const range = `${field.min} 到 ${field.max} 之间的${field.isWhole ? "整数" : "数"}`;
      return [...field.words.map(String), range].join(" 或 ");
    }
    case "pair":
      return `两个数，都不小于 ${field.min} 且小于 ${field.below}`;
    case "flag":
      return [...field.words, "true", "false"].join("、");
    default:
      return field.words.join("、");
  }
}

export const zhOptions: typeof enOptions = {
  words,
  groups: {
    model: "模型",
    data: "数据",
    training: "训练",
    lora: "适配器（LoRA）",
    memory: "内存",
    output: "检查点与评估",
  },
  unit: (unit) => UNITS[unit] ?? unit,
  takes,
};

// The data sets that ready-made configs are for, with XTuner's settings and questions for each.
import type { TrainConfig } from "../config.ts";
import { SYSTEM_TEMPLATES } from "../data/template-table.ts";

export interface ZooData {
  /** With the epochs: "alpaca_e3". */
  readonly name: string;
  /** What it is about, after "on". */
  readonly label: string;
  /** Beside `data` in the file: where it comes from, or what it must hold. */
  readonly source: string;
  /** Offered with QLoRA alone, which is what XTuner has it for. */
  readonly isRare?: true;
  readonly settings: ZooSettings;
}

/** What differs from the settings that all ready-made configs share. */
export type ZooSettings = Pick<TrainConfig, "data" | "dataset_format" | "max_epochs"> &
  Partial<Omit<TrainConfig, "lora">> & { readonly lora?: Partial<TrainConfig["lora"]> };

const ALPACA = "tatsu-lab/alpaca";
const ALPACA_ZH = "silk-road/alpaca-data-gpt4-chinese";
const OASST1 = "timdettmers/openassistant-guanaco";

const SCENIC = ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"];

const CODE = [
  "写一个Python函数，将十六进制颜色代码（如#0066ee）转换为对应的红、绿、蓝（RGB）三个颜色分量值，并以元组的形式返回。",
  "Write a Python function that takes a hexadecimal color code (e.g., #0066ee) as input and converts it into the corresponding red, green, and blue (RGB) color component values.",
];

/** The abstracts of InternLM's report and of Llama 2's paper, whose titles are asked for. */
const ABSTRACTS = [
  "We present InternLM, a multilingual foundational language model with 104B parameters. InternLM is pre-trained on a large corpora with 1.6T tokens with a multi-phase progressive process, and then fine-tuned to align with human preferences. We also developed a training system called Uniscale-LLM for efficient large language model training. The evaluation on a number of benchmarks shows that InternLM achieves state-of-the-art performance in multiple aspects, including knowledge understanding, reading comprehension, mathematics, and coding. With such well-rounded capabilities, InternLM achieves outstanding performances on comprehensive exams, including MMLU, AGIEval, C-Eval and GAOKAO-Bench, without resorting to external tools. On these benchmarks, InternLM not only significantly outperforms open-source models, but also obtains superior performance compared to ChatGPT. Also, InternLM demonstrates excellent capability of understanding Chinese language and Chinese culture, which makes it a suitable foundation model to support Chinese-oriented language applications. This manuscript gives a detailed study of our results, with benchmarks and examples across a diverse set of knowledge domains and tasks.",
  "In this work, we develop and release Llama 2, a collection of pretrained and fine-tuned large language models (LLMs) ranging in scale from 7 billion to 70 billion parameters.\nOur fine-tuned LLMs, called LLAMA 2-CHAT, are optimized for dialogue use cases. Our models outperform open-source chat models on most benchmarks we tested, and based on our human evaluations for helpfulness and safety, may be a suitable substitute for closedsource models. We provide a detailed description of our approach to fine-tuning and safety improvements of LLAMA 2-CHAT in order to enable the community to build on our work and contribute to the responsible development of LLMs.",
];

export const ZOO_DATA: readonly ZooData[] = [
  {
    name: "alpaca_e3",
    label: "Alpaca (English)",
    source: "of the hub",
    settings: {
      data: [ALPACA],
      dataset_format: "alpaca",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
      evaluation_system: SYSTEM_TEMPLATES.alpaca,
    },
  },
  {
    name: "alpaca_zh_e3",
    label: "Alpaca (Chinese)",
    source: "of the hub",
    settings: {
      data: [ALPACA_ZH],
      dataset_format: "alpaca_zh",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
      evaluation_system: SYSTEM_TEMPLATES.alpaca,
    },
  },
  {
    name: "alpaca_enzh_e3",
    label: "Alpaca (English and Chinese)",
    source: "of the hub",
    settings: {
      data: [ALPACA, ALPACA_ZH],
      dataset_format: "alpaca, alpaca_zh",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
      evaluation_system: SYSTEM_TEMPLATES.alpaca,
    },
  },
  {
    name: "alpaca_enzh_oasst1_e3",
    label: "Alpaca (English and Chinese) and OpenAssistant",
    isRare: true,
    source: "of the hub",
    settings: {
      data: [ALPACA, ALPACA_ZH, OASST1],
      dataset_format: "alpaca, alpaca_zh, oasst1",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
      evaluation_system: SYSTEM_TEMPLATES.alpaca,
    },
  },
  {
    name: "oasst1_e3",
    label: "OpenAssistant",
    source: "of the hub",
    settings: {
      data: [OASST1],
      dataset_format: "oasst1",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
    },
  },
  {
    name: "oasst1_512_e3",
    label: "OpenAssistant, rows of 512 tokens, not packed",
    isRare: true,
    source: "of the hub",
    settings: {
      data: [OASST1],
      dataset_format: "oasst1",
      max_length: 512,
      pack_to_max_length: false,
      max_epochs: 3,
      evaluation_inputs: SCENIC,
    },
  },
  {
    name: "oasst1_mmlu_e3",
    label: "OpenAssistant, with MMLU's questions for hone test",
    isRare: true,
    source: "of the hub",
    settings: {
      data: [OASST1],
      dataset_format: "oasst1",
      max_epochs: 3,
      test_data: ["./data/mmlu/five_shot_mmlu_test.json"],
      evaluation_inputs: SCENIC,
    },
  },
  {
    name: "open_platypus_e3",
    label: "Open-Platypus",
    isRare: true,
    source: "of the hub",
    settings: {
      data: ["garage-bAInd/Open-Platypus"],
      dataset_format: "alpaca",
      max_epochs: 3,
      evaluation_inputs: SCENIC,
      evaluation_system: SYSTEM_TEMPLATES.alpaca,
    },
  },
  {
    name: "openorca_e1",
    label: "OpenOrca",
    isRare: true,
    source: "of the hub",
    settings: {
      data: ["Open-Orca/OpenOrca"],
      dataset_format: "openorca",
      max_epochs: 1,
      evaluation_freq: 5000,
      evaluation_inputs: SCENIC,
    },
  },
  {
    name: "code_alpaca_e3",
    label: "code (Code Alpaca)",
    source: "of the hub",
    settings: {
      data: ["HuggingFaceH4/CodeAlpaca_20K"],
      dataset_format: "code_alpaca",
      max_epochs: 3,
      evaluation_freq: 100,
      evaluation_inputs: CODE,
      evaluation_system: SYSTEM_TEMPLATES.coder,
    },
  },
  {
    name: "tiny_codes_e1",
    label: "code (Tiny Codes)",
    isRare: true,
    source: "of the hub",
    settings: {
      data: ["nampdn-ai/tiny-codes"],
      dataset_format: "tiny_codes",
      max_epochs: 1,
      evaluation_inputs: CODE,
      evaluation_system: SYSTEM_TEMPLATES.coder,
    },
  },
  {
    name: "sql_e3",
    label: "SQL queries",
    source: "of the hub",
    settings: {
      data: ["b-mc2/sql-create-context"],
      dataset_format: "sql",
      max_epochs: 3,
      evaluation_inputs: [
        "CREATE TABLE station (name VARCHAR, lat VARCHAR, city VARCHAR)\nFind the name, latitude, and city of stations with latitude above 50.",
        "CREATE TABLE weather (zip_code VARCHAR, mean_visibility_miles INTEGER)\n找到mean_visibility_miles最大的zip_code。",
      ],
      evaluation_system: SYSTEM_TEMPLATES.sql,
    },
  },
  {
    name: "colorist_e5",
    label: "colors by their description",
    source: "of the hub",
    settings: {
      data: ["burkelibbey/colors"],
      dataset_format: "colors",
      max_epochs: 5,
      evaluation_freq: 200,
      evaluation_inputs: [
        "请给我一个像天空一样清澈透明的蓝色。",
        "Please give me a clear blue like the sky.",
      ],
      evaluation_system: SYSTEM_TEMPLATES.colorist,
    },
  },
  {
    name: "lawyer_e3",
    label: "law (Chinese)",
    source: "the two files of LawGPT's authors, downloaded",
    settings: {
      data: ["./data/CrimeKgAssitant清洗后_52k.json", "./data/训练数据_带法律依据_92k.json"],
      dataset_format: "crime_kg_assitant, law_reference",
      max_epochs: 3,
      evaluation_inputs: ["请问离婚需要准备什么材料？", "销售鳄鱼皮包违法吗？"],
      evaluation_system: SYSTEM_TEMPLATES.lawyer,
    },
  },
  {
    name: "medical_e1",
    label: "medicine (Chinese)",
    source: "of the hub",
    settings: {
      data: ["shibing624/medical/finetune"],
      dataset_format: "medical",
      max_epochs: 1,
      evaluation_inputs: [
        "我有家族遗传性的过敏，请问可以可以献血吗？",
        "我爷爷有高血压，请问他可以喝咖啡吗？",
        "我女儿今年3岁了，从昨天晚上九点开始腹泻，到现在已经八个小时了，请问应该怎么办？",
      ],
      evaluation_system: SYSTEM_TEMPLATES.medical,
    },
  },
  {
    name: "arxiv_gentitle_e3",
    label: "titles of arXiv's papers",
    isRare: true,
    source: "made by hone preprocess arxiv",
    settings: {
      data: ["./data/arxiv_data.json"],
      dataset_format: "arxiv",
      max_epochs: 3,
      evaluation_inputs: ABSTRACTS,
      evaluation_system: SYSTEM_TEMPLATES.arxiv_gentile,
    },
  },
  {
    name: "msagent_react_e3_gpu8",
    label: "the use of tools (MSAgent-Bench)",
    isRare: true,
    source: "of ModelScope; download it and name its file here",
    settings: {
      data: ["damo/MSAgent-Bench"],
      dataset_format: "msagent_react",
      pack_to_max_length: false,
      batch_size: 8,
      accumulative_counts: 1,
      max_epochs: 3,
      evaluation_inputs: ["上海明天天气怎么样？"],
    },
  },
  {
    name: "skypile_pretrain_e1",
    label: "plain text (SkyPile)",
    isRare: true,
    source: "of the hub",
    settings: {
      data: ["Skywork/SkyPile-150B"],
      dataset_format: "pretrain",
      prompt_template: "none",
      max_epochs: 1,
      lora: { lora_dropout: 0.05 },
      evaluation_inputs: ["上海的景点有"],
      evaluation_max_new_tokens: 100,
    },
  },
  {
    name: "custom_sft_e1",
    label: "conversations of your own",
    source: "rows with messages",
    settings: {
      data: ["./data/custom_sft.json"],
      dataset_format: "openai",
      max_epochs: 1,
      evaluation_inputs: SCENIC,
    },
  },
  {
    name: "custom_pretrain_e1",
    label: "plain text of your own",
    source: "rows with text",
    settings: {
      data: ["./data/custom_pretrain.json"],
      dataset_format: "pretrain",
      prompt_template: "none",
      max_epochs: 1,
      evaluation_inputs: ["上海的景点有", "Shanghai is a city that"],
      evaluation_max_new_tokens: 100,
    },
  },
  {
    name: "identity_e2",
    label: "who it is",
    source: "written by hone demo",
    settings: {
      data: ["work_dirs/demo/personal_assistant.json"],
      dataset_format: "openai",
      max_length: 1024,
      max_epochs: 2,
      save_steps: 300,
      save_total_limit: 3,
      evaluation_freq: 300,
      evaluation_inputs: ["请你介绍一下你自己", "你是谁", "你是我的小助手吗"],
    },
  },
];

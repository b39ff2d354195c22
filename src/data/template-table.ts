// The prompt templates and system texts of XTuner, verbatim; nothing here but data.
// Odd spaces and words ("DeepSeekCompany", a system in its own [INST]) are upstream's, and models were
// tuned with them, so they stay.

export interface PromptTemplate {
  /** Around a system text; `{system}` stands for it. */
  system?: string;
  /** Around an input; `{input}` stands for it, `{round}` for the turn's number from 1. */
  instruction: string;
  /** Written after each answer, and learned. */
  suffix?: string;
  /** The suffix ends the turn, so the tokenizer's EOS is left out. */
  suffixAsEos?: boolean;
  /** Between turns; not learned. */
  sep?: string;
  /** Texts that end an answer in chat. */
  stopWords?: readonly string[];
}

const TEMPLATES = {
  default: {
    system: "<|System|>:{system}\n",
    instruction: "<|User|>:{input}\n<|Bot|>:",
    sep: "\n",
  },
  zephyr: {
    system: "<|system|>\n{system}\n",
    instruction: "<|user|>\n{input}\n<|assistant|>\n",
    sep: "\n",
  },
  internlm_chat: {
    system: "<|System|>:{system}\n",
    instruction: "<|User|>:{input}<eoh>\n<|Bot|>:",
    suffix: "<eoa>",
    suffixAsEos: true,
    sep: "\n",
    stopWords: ["<eoa>"],
  },
  internlm2_chat: {
    system: "<|im_start|>system\n{system}<|im_end|>\n",
    instruction: "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
    suffix: "<|im_end|>",
    suffixAsEos: true,
    sep: "\n",
    stopWords: ["<|im_end|>"],
  },
  moss_sft: {
    system: "{system}\n",
    instruction: "<|Human|>: {input}<eoh>\n",
    sep: "\n",
    stopWords: ["<eoc>", "<eom>"],
  },
  llama2_chat: {
    system:
      "[INST] <<SYS>>\n You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe. Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure that your responses are socially unbiased and positive in nature.\n{system}\n<</SYS>>\n [/INST] ",
    instruction: "[INST] {input} [/INST]",
    sep: "\n",
  },
  code_llama_chat: { system: "{system}\n", instruction: "[INST] {input} [/INST]" },
  chatglm2: {
    system: "{system}\n",
    instruction: "[Round {round}]\n\n问：{input}\n\n答：",
    sep: "\n\n",
  },
  chatglm3: {
    system: "<|system|>\n{system}",
    instruction: "<|user|>\n{input}<|assistant|>\n",
    sep: "\n",
  },
  qwen_chat: {
    system: "<|im_start|>system\n{system}<|im_end|>\n",
    instruction: "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
    suffix: "<|im_end|>",
    suffixAsEos: true,
    sep: "\n",
    stopWords: ["<|im_end|>", "<|endoftext|>"],
  },
  baichuan_chat: {
    system: "{system}\n",
    instruction: "<reserved_102>{input}<reserved_103>",
    sep: "\n",
  },
  baichuan2_chat: {
    system: "{system}\n",
    instruction: "<reserved_106>{input}<reserved_107>",
    sep: "\n",
  },
  wizardlm: {
    system:
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. {system}\n ",
    instruction: "USER: {input} ASSISTANT:",
    sep: "\n",
  },
  wizardcoder: {
    system:
      "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n{system}\n ",
    instruction: "### Instruction:\n{input}\n\n### Response:",
    sep: "\n\n",
  },
  vicuna: {
    system:
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. {system}\n ",
    instruction: "USER: {input} ASSISTANT:",
    sep: "\n",
  },
  deepseek_coder: {
    system:
      "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeekCompany, and you only answer questions related to computer science. For politically sensitive questions, security and privacy issues, and other non-computer science questions, you will refuse to answer. {system}\n",
    instruction: "### Instruction:\n{input}\n### Response:\n",
    sep: "\n",
  },
  deepseekcoder: {
    system:
      "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeekCompany, and you only answer questions related to computer science. For politically sensitive questions, security and privacy issues, and other non-computer science questions, you will refuse to answer. {system}\n",
    instruction: "### Instruction:\n{input}\n### Response:\n",
    sep: "\n",
  },
  deepseek_moe: {
    system: "[INST] {system} [/INST]\n",
    instruction: "[INST] {input} [/INST]",
    sep: "\n",
  },
  mistral: {
    system: "[INST] {system} [/INST]\n",
    instruction: "[INST] {input} [/INST]",
    sep: "\n",
  },
  mixtral: {
    system: "[INST] {system} [/INST]\n",
    instruction: "[INST] {input} [/INST]",
    sep: "\n",
  },
  gemma: {
    system: "<start_of_turn>system\n{system}<end_of_turn>\n",
    instruction: "<start_of_turn>user\n{input}<end_of_turn>\n<start_of_turn>model\n",
    suffix: "<end_of_turn>",
    suffixAsEos: false,
    sep: "\n",
    stopWords: ["<end_of_turn>"],
  },

  // Added upstream after 0.1.17, up to 0.1.23.
  deepseek_v2: {
    system: "{system}\n\n",
    instruction: "User: {input}\n\nAssistant: ",
    suffix: "<｜end▁of▁sentence｜>",
    suffixAsEos: true,
    stopWords: ["<｜end▁of▁sentence｜>"],
  },
  minicpm: { instruction: "<用户> {input} <AI>", sep: "\n" },
  cohere_chat: {
    system: "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{system}<|END_OF_TURN_TOKEN|>",
    instruction:
      "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{input}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    suffix: "<|END_OF_TURN_TOKEN|>",
    suffixAsEos: true,
    stopWords: ["<|END_OF_TURN_TOKEN|>"],
  },
  llama3_chat: {
    system: "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>",
    instruction:
      "<|start_header_id|>user<|end_header_id|>\n\n{input}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    suffix: "<|eot_id|>",
    suffixAsEos: true,
    stopWords: ["<|eot_id|>"],
  },
  phi3_chat: {
    system: "<|system|>\n{system}<|end|>\n",
    instruction: "<|user|>\n{input}<|end|>\n<|assistant|>\n",
    suffix: "<|end|>",
    suffixAsEos: true,
    sep: "\n",
    stopWords: ["<|end|>"],
  },
} satisfies Record<string, PromptTemplate>;

export type PromptTemplateName = keyof typeof TEMPLATES;

export const PROMPT_TEMPLATES: Readonly<Record<PromptTemplateName, PromptTemplate>> = TEMPLATES;

/** No template at all: XTuner's `template_map_fn=None`, and its chat without `--prompt-template`. */
export const NO_TEMPLATE: PromptTemplate = { system: "{system}", instruction: "{input}" };

/** System texts for common tasks. `{bot_name}` in moss_sft is for the writer of a config to fill. */
export const SYSTEM_TEMPLATES = {
  moss_sft:
    "You are an AI assistant whose name is {bot_name}.\nCapabilities and tools that {bot_name} can possess.\n- Inner thoughts: enabled.\n- Web search: enabled. API: Search(query)\n- Calculator: enabled. API: Calculate(expression)\n- Equation solver: enabled. API: Solve(equation)\n- Text-to-image: disabled.\n- Image edition: disabled.\n- Text-to-speech: disabled.\n",
  alpaca:
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n",
  arxiv_gentile:
    "If you are an expert in writing papers, please generate a good paper title for this paper based on other authors' descriptions of their abstracts.\n",
  colorist:
    "You are a professional color designer. Please provide the corresponding colors based on the description of Human.\n",
  coder:
    "You are a professional programer. Please provide the corresponding code based on the description of Human.\n",
  lawyer: "你现在是一名专业的中国律师，请根据用户的问题给出准确、有理有据的回复。\n",
  medical: "如果你是一名医生，请根据患者的描述回答医学问题。\n",
  sql: "If you are an expert in SQL, please generate a good SQL Query for Question based on the CREATE TABLE statement.\n",
} as const;

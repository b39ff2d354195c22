// The models that ready-made configs are for: every family that Hone trains, in its usual sizes.
//
// Names are XTuner's where it has configs of the model, else made in its manner. So are the templates:
// `default` around a base model, a chat model's own form by its name. Later models have theirs in their files.
import type { PromptTemplateName } from "../data/template-table.ts";

export interface ZooModel {
  /** "internlm2_chat_1_8b". */
  readonly name: string;
  /** What people call it. */
  readonly label: string;
  /** Its repo on the hub. */
  readonly id: string;
  /** `model_type` of its config.json. */
  readonly family: string;
  /** Parameters in billions, about. */
  readonly billions: number;
  readonly template: PromptTemplateName | "auto";
}

type Row = readonly [name: string, label: string, id: string, billions: number];

/** Models of one family and template, one a line. */
function group(
  family: string,
  template: ZooModel["template"],
  rows: readonly Row[],
): readonly ZooModel[] {
  return rows.map(([name, label, id, billions]) => {
    return { name, label, id, family, billions, template };
  });
}

export const ZOO_MODELS: readonly ZooModel[] = [
  ...group("internlm2", "default", [
    ["internlm2_1_8b", "InternLM2 1.8B", "internlm/internlm2-1_8b", 1.9],
    ["internlm2_7b", "InternLM2 7B", "internlm/internlm2-7b", 7.7],
    ["internlm2_20b", "InternLM2 20B", "internlm/internlm2-20b", 19.9],
    ["internlm2_5_1_8b", "InternLM2.5 1.8B", "internlm/internlm2_5-1_8b", 1.9],
    ["internlm2_5_7b", "InternLM2.5 7B", "internlm/internlm2_5-7b", 7.7],
    ["internlm2_5_20b", "InternLM2.5 20B", "internlm/internlm2_5-20b", 19.9],
  ]),
  ...group("internlm2", "internlm2_chat", [
    ["internlm2_chat_1_8b", "InternLM2 Chat 1.8B", "internlm/internlm2-chat-1_8b", 1.9],
    ["internlm2_chat_7b", "InternLM2 Chat 7B", "internlm/internlm2-chat-7b", 7.7],
    ["internlm2_chat_20b", "InternLM2 Chat 20B", "internlm/internlm2-chat-20b", 19.9],
    ["internlm2_5_chat_1_8b", "InternLM2.5 Chat 1.8B", "internlm/internlm2_5-1_8b-chat", 1.9],
    ["internlm2_5_chat_7b", "InternLM2.5 Chat 7B", "internlm/internlm2_5-7b-chat", 7.7],
    ["internlm2_5_chat_20b", "InternLM2.5 Chat 20B", "internlm/internlm2_5-20b-chat", 19.9],
  ]),
  ...group("llama", "default", [
    ["llama_7b", "Llama 7B", "huggyllama/llama-7b", 6.7],
    ["llama2_7b", "Llama 2 7B", "meta-llama/Llama-2-7b-hf", 6.7],
    ["llama2_13b", "Llama 2 13B", "meta-llama/Llama-2-13b-hf", 13],
    ["llama2_70b", "Llama 2 70B", "meta-llama/Llama-2-70b-hf", 69],
    ["llama3_8b", "Llama 3 8B", "meta-llama/Meta-Llama-3-8B", 8],
    ["llama3_70b", "Llama 3 70B", "meta-llama/Meta-Llama-3-70B", 70.6],
    ["llama3_1_8b", "Llama 3.1 8B", "meta-llama/Llama-3.1-8B", 8],
    ["llama3_1_70b", "Llama 3.1 70B", "meta-llama/Llama-3.1-70B", 70.6],
    ["llama3_2_1b", "Llama 3.2 1B", "meta-llama/Llama-3.2-1B", 1.2],
    ["llama3_2_3b", "Llama 3.2 3B", "meta-llama/Llama-3.2-3B", 3.2],
    ["smollm2_135m", "SmolLM2 135M", "HuggingFaceTB/SmolLM2-135M", 0.135],
    ["smollm2_360m", "SmolLM2 360M", "HuggingFaceTB/SmolLM2-360M", 0.36],
    ["smollm2_1_7b", "SmolLM2 1.7B", "HuggingFaceTB/SmolLM2-1.7B", 1.7],
    ["yi_6b", "Yi 6B", "01-ai/Yi-6B", 6.1],
    ["yi_34b", "Yi 34B", "01-ai/Yi-34B", 34.4],
  ]),
  ...group("llama", "llama2_chat", [
    ["llama2_7b_chat", "Llama 2 Chat 7B", "meta-llama/Llama-2-7b-chat-hf", 6.7],
    ["llama2_13b_chat", "Llama 2 Chat 13B", "meta-llama/Llama-2-13b-chat-hf", 13],
    ["llama2_70b_chat", "Llama 2 Chat 70B", "meta-llama/Llama-2-70b-chat-hf", 69],
  ]),
  ...group("llama", "llama3_chat", [
    ["llama3_8b_instruct", "Llama 3 Instruct 8B", "meta-llama/Meta-Llama-3-8B-Instruct", 8],
    ["llama3_70b_instruct", "Llama 3 Instruct 70B", "meta-llama/Meta-Llama-3-70B-Instruct", 70.6],
  ]),
  ...group("llama", "auto", [
    ["llama3_1_8b_instruct", "Llama 3.1 Instruct 8B", "meta-llama/Llama-3.1-8B-Instruct", 8],
    ["llama3_1_70b_instruct", "Llama 3.1 Instruct 70B", "meta-llama/Llama-3.1-70B-Instruct", 70.6],
    ["llama3_2_1b_instruct", "Llama 3.2 Instruct 1B", "meta-llama/Llama-3.2-1B-Instruct", 1.2],
    ["llama3_2_3b_instruct", "Llama 3.2 Instruct 3B", "meta-llama/Llama-3.2-3B-Instruct", 3.2],
    ["llama3_3_70b_instruct", "Llama 3.3 Instruct 70B", "meta-llama/Llama-3.3-70B-Instruct", 70.6],
    [
      "smollm2_135m_instruct",
      "SmolLM2 Instruct 135M",
      "HuggingFaceTB/SmolLM2-135M-Instruct",
      0.135,
    ],
    ["smollm2_360m_instruct", "SmolLM2 Instruct 360M", "HuggingFaceTB/SmolLM2-360M-Instruct", 0.36],
    ["smollm2_1_7b_instruct", "SmolLM2 Instruct 1.7B", "HuggingFaceTB/SmolLM2-1.7B-Instruct", 1.7],
  ]),
  ...group("llama", "deepseek_coder", [
    ["deepseekcoder_6_7b_base", "DeepSeek Coder 6.7B", "deepseek-ai/deepseek-coder-6.7b-base", 6.7],
    ["deepseekcoder_6_7b_instruct", "DeepSeek Coder Instruct 6.7B", "deepseek-ai/deepseek-coder-6.7b-instruct", 6.7],
  ]), // prettier-ignore
  ...group("qwen2", "default", [
    ["qwen1_5_0_5b", "Qwen1.5 0.5B", "Qwen/Qwen1.5-0.5B", 0.62],
    ["qwen1_5_1_8b", "Qwen1.5 1.8B", "Qwen/Qwen1.5-1.8B", 1.8],
    ["qwen1_5_4b", "Qwen1.5 4B", "Qwen/Qwen1.5-4B", 4],
    ["qwen1_5_7b", "Qwen1.5 7B", "Qwen/Qwen1.5-7B", 7.7],
    ["qwen1_5_14b", "Qwen1.5 14B", "Qwen/Qwen1.5-14B", 14.2],
    ["qwen1_5_72b", "Qwen1.5 72B", "Qwen/Qwen1.5-72B", 72.3],
    ["qwen2_0_5b", "Qwen2 0.5B", "Qwen/Qwen2-0.5B", 0.5],
    ["qwen2_1_5b", "Qwen2 1.5B", "Qwen/Qwen2-1.5B", 1.5],
    ["qwen2_7b", "Qwen2 7B", "Qwen/Qwen2-7B", 7.6],
    ["qwen2_72b", "Qwen2 72B", "Qwen/Qwen2-72B", 72.7],
    ["qwen2_5_0_5b", "Qwen2.5 0.5B", "Qwen/Qwen2.5-0.5B", 0.5],
    ["qwen2_5_1_5b", "Qwen2.5 1.5B", "Qwen/Qwen2.5-1.5B", 1.5],
    ["qwen2_5_3b", "Qwen2.5 3B", "Qwen/Qwen2.5-3B", 3.1],
    ["qwen2_5_7b", "Qwen2.5 7B", "Qwen/Qwen2.5-7B", 7.6],
    ["qwen2_5_14b", "Qwen2.5 14B", "Qwen/Qwen2.5-14B", 14.8],
    ["qwen2_5_32b", "Qwen2.5 32B", "Qwen/Qwen2.5-32B", 32.8],
    ["qwen2_5_72b", "Qwen2.5 72B", "Qwen/Qwen2.5-72B", 72.7],
  ]),
  ...group("qwen2", "qwen_chat", [
    ["qwen1_5_0_5b_chat", "Qwen1.5 Chat 0.5B", "Qwen/Qwen1.5-0.5B-Chat", 0.62],
    ["qwen1_5_1_8b_chat", "Qwen1.5 Chat 1.8B", "Qwen/Qwen1.5-1.8B-Chat", 1.8],
    ["qwen1_5_4b_chat", "Qwen1.5 Chat 4B", "Qwen/Qwen1.5-4B-Chat", 4],
    ["qwen1_5_7b_chat", "Qwen1.5 Chat 7B", "Qwen/Qwen1.5-7B-Chat", 7.7],
    ["qwen1_5_14b_chat", "Qwen1.5 Chat 14B", "Qwen/Qwen1.5-14B-Chat", 14.2],
    ["qwen1_5_72b_chat", "Qwen1.5 Chat 72B", "Qwen/Qwen1.5-72B-Chat", 72.3],
  ]),
  ...group("qwen2", "auto", [
    ["qwen2_0_5b_instruct", "Qwen2 Instruct 0.5B", "Qwen/Qwen2-0.5B-Instruct", 0.5],
    ["qwen2_1_5b_instruct", "Qwen2 Instruct 1.5B", "Qwen/Qwen2-1.5B-Instruct", 1.5],
    ["qwen2_7b_instruct", "Qwen2 Instruct 7B", "Qwen/Qwen2-7B-Instruct", 7.6],
    ["qwen2_72b_instruct", "Qwen2 Instruct 72B", "Qwen/Qwen2-72B-Instruct", 72.7],
    ["qwen2_5_0_5b_instruct", "Qwen2.5 Instruct 0.5B", "Qwen/Qwen2.5-0.5B-Instruct", 0.5],
    ["qwen2_5_1_5b_instruct", "Qwen2.5 Instruct 1.5B", "Qwen/Qwen2.5-1.5B-Instruct", 1.5],
    ["qwen2_5_3b_instruct", "Qwen2.5 Instruct 3B", "Qwen/Qwen2.5-3B-Instruct", 3.1],
    ["qwen2_5_7b_instruct", "Qwen2.5 Instruct 7B", "Qwen/Qwen2.5-7B-Instruct", 7.6],
    ["qwen2_5_14b_instruct", "Qwen2.5 Instruct 14B", "Qwen/Qwen2.5-14B-Instruct", 14.8],
    ["qwen2_5_32b_instruct", "Qwen2.5 Instruct 32B", "Qwen/Qwen2.5-32B-Instruct", 32.8],
    ["qwen2_5_72b_instruct", "Qwen2.5 Instruct 72B", "Qwen/Qwen2.5-72B-Instruct", 72.7],
  ]),
  ...group("qwen3", "default", [
    ["qwen3_0_6b_base", "Qwen3 Base 0.6B", "Qwen/Qwen3-0.6B-Base", 0.6],
    ["qwen3_1_7b_base", "Qwen3 Base 1.7B", "Qwen/Qwen3-1.7B-Base", 1.7],
    ["qwen3_4b_base", "Qwen3 Base 4B", "Qwen/Qwen3-4B-Base", 4],
    ["qwen3_8b_base", "Qwen3 Base 8B", "Qwen/Qwen3-8B-Base", 8.2],
    ["qwen3_14b_base", "Qwen3 Base 14B", "Qwen/Qwen3-14B-Base", 14.8],
  ]),
  ...group("qwen3", "auto", [
    ["qwen3_0_6b", "Qwen3 0.6B", "Qwen/Qwen3-0.6B", 0.6],
    ["qwen3_1_7b", "Qwen3 1.7B", "Qwen/Qwen3-1.7B", 1.7],
    ["qwen3_4b", "Qwen3 4B", "Qwen/Qwen3-4B", 4],
    ["qwen3_8b", "Qwen3 8B", "Qwen/Qwen3-8B", 8.2],
    ["qwen3_14b", "Qwen3 14B", "Qwen/Qwen3-14B", 14.8],
    ["qwen3_32b", "Qwen3 32B", "Qwen/Qwen3-32B", 32.8],
  ]),
  ...group("mistral", "default", [
    ["mistral_7b", "Mistral 7B", "mistralai/Mistral-7B-v0.1", 7.2],
    ["mistral_7b_v0_3", "Mistral 7B v0.3", "mistralai/Mistral-7B-v0.3", 7.2],
    ["mistral_nemo_12b", "Mistral Nemo 12B", "mistralai/Mistral-Nemo-Base-2407", 12.2],
  ]),
  ...group("mistral", "mistral", [
    ["mistral_7b_instruct", "Mistral Instruct 7B", "mistralai/Mistral-7B-Instruct-v0.2", 7.2],
    ["mistral_7b_instruct_v0_3", "Mistral Instruct 7B v0.3", "mistralai/Mistral-7B-Instruct-v0.3", 7.2],
  ]), // prettier-ignore
  ...group("mistral", "auto", [
    ["mistral_nemo_12b_instruct", "Mistral Nemo Instruct 12B", "mistralai/Mistral-Nemo-Instruct-2407", 12.2],
  ]), // prettier-ignore
  ...group("mistral", "zephyr", [
    ["zephyr_7b_beta", "Zephyr 7B β", "HuggingFaceH4/zephyr-7b-beta", 7.2],
  ]),
  ...group("gemma3_text", "default", [
    ["gemma3_270m", "Gemma 3 270M", "google/gemma-3-270m", 0.27],
    ["gemma3_1b", "Gemma 3 1B", "google/gemma-3-1b-pt", 1],
  ]),
  ...group("gemma3_text", "auto", [
    ["gemma3_270m_it", "Gemma 3 Instruct 270M", "google/gemma-3-270m-it", 0.27],
    ["gemma3_1b_it", "Gemma 3 Instruct 1B", "google/gemma-3-1b-it", 1],
  ]),
  ...group("phi3", "phi3_chat", [
    ["phi3_mini_4k_instruct", "Phi-3 mini 4k", "microsoft/Phi-3-mini-4k-instruct", 3.8],
    ["phi3_mini_128k_instruct", "Phi-3 mini 128k", "microsoft/Phi-3-mini-128k-instruct", 3.8],
    ["phi3_medium_4k_instruct", "Phi-3 medium 4k", "microsoft/Phi-3-medium-4k-instruct", 14],
  ]),
  ...group("phi3", "auto", [
    ["phi3_5_mini_instruct", "Phi-3.5 mini", "microsoft/Phi-3.5-mini-instruct", 3.8],
    ["phi4_mini_instruct", "Phi-4 mini", "microsoft/Phi-4-mini-instruct", 3.8],
    ["phi4", "Phi-4", "microsoft/phi-4", 14.7],
  ]),
];

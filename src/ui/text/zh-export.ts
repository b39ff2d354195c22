// Chinese: the screen Export.
import type { enExport } from "./en-export.ts";

export const zhExport: typeof enExport = {
  lead: "把模型学到的内容带走。每次导出写完后都会重新读取并核对。",
  empty: {
    title: "还没有可导出的内容",
    words: "训练保存第一个检查点之后，就可以在这里导出。",
    action: "去看训练",
  },
  choose: { title: "导出什么", run: "训练", checkpoint: "检查点" },
  size: (bytes) => `约 ${bytes}`,
  sizeIs: (bytes) => `共 ${bytes}`,
  adapter: {
    title: "适配器",
    words: "只含学到的内容，文件很小，叠加在原模型上使用。最适合分享，也适合 PEFT 和 vLLM。",
    save: "下载适配器（ZIP）",
  },
  merged: {
    title: "合并后的模型",
    words:
      "把学到的内容并入原模型，得到一个完整的模型，任何能加载 Hugging Face 模型的程序都能用。Ollama 和 llama.cpp 需要它。",
    options: "选项",
    dtype: "数值类型",
    dtypes: {
      own: "与原模型相同",
      bfloat16: "bfloat16：一半大小，目前常用",
      float16: "float16：一半大小，适合较旧的显卡",
      float32: "float32：最大，最精确",
    },
    base: "把学到的内容加到",
    bases: { original: "原模型自己的权重", nf4: "训练时所见的 4 位权重" },
    baseHelp: "原权重更精细，也是其他工具的做法；4 位权重的回答与“试用”里完全一致。",
    shard: "单个文件上限",
    write: "写出合并模型",
    writeToFolder: "写入文件夹……",
    writing: "正在逐个张量并入学到的内容",
    inFolder: (folder) => `已写入文件夹“${folder}”。`,
  },
  writing: "正在写出并核对",
  files: "文件",
  zip: "全部下载（ZIP）",
  saveOne: (name) => `下载 ${name}`,
  download: "下载",
  discard: "释放存储空间",
  checked: (check) => `已核对：${check}`,
  others: {
    title: "记录",
    config: "训练设置",
    configWords: "全部选项，YAML 格式：“配方”页面和命令行都能读取。",
    saveConfig: "下载 config.yaml",
    history: "损失记录",
    historyWords: "每一步的损失、学习率和速度，可用电子表格打开。",
    saveHistory: "下载 CSV",
  },
  use: {
    title: "在别处使用",
    words: (folder) => `把 ZIP 解压到文件夹 ${folder}，放在运行这些命令的位置旁边。`,
    which: "哪种导出",
    adapter: "适配器",
    merged: "合并后的模型",
  },
  share: {
    title: "让别人和它对话",
    words: "放在 Hugging Face Hub 上的适配器，任何人都能用一个链接在浏览器里打开：",
    steps: [
      "下载适配器并解压。",
      "把其中的文件上传到 Hub 上的一个新模型仓库。",
      "把仓库名填进这个链接，发给别人：",
    ],
    repo: "仓库名",
    placeholder: "你的用户名/你的适配器",
    link: "分享链接",
    local: (base) =>
      `原模型“${base}”来自你的机器。只有 Hub 上有它时别人才能打开链接；请把它的 id 填在“model=”后面。`,
  },
};

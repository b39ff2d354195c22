// English: the screen Export.
import type { MergeOptions } from "../../services/api.ts";

const dtypes: Readonly<Record<MergeOptions["dtype"], string>> = {
  own: "As the base has it",
  bfloat16: "bfloat16: half the size, usual today",
  float16: "float16: half the size, for older cards",
  float32: "float32: largest, exact",
};

const bases: Readonly<Record<MergeOptions["base"], string>> = {
  original: "The base's own weights",
  nf4: "The base as training saw it, in 4 bits",
};

export const enExport = {
  lead: "Take what the model learned with you. Every export is read again and compared after writing.",
  empty: {
    title: "Nothing to export yet",
    words: "When a run has saved its first checkpoint, you can take it along from here.",
    action: "Go to the run",
  },
  choose: { title: "What to export", run: "Run", checkpoint: "Checkpoint" },
  size: (bytes: string) => `about ${bytes}`,
  sizeIs: (bytes: string) => `${bytes} in all`,
  adapter: {
    title: "Adapter",
    words:
      "Only what was learned, in a small file that goes on top of the base model. Best for sharing, and for PEFT and vLLM.",
    save: "Download adapter (ZIP)",
  },
  merged: {
    title: "Merged model",
    words:
      "The base with what was learned worked into it: one whole model, for any program that loads Hugging Face models. Needed for Ollama and llama.cpp.",
    options: "Options",
    dtype: "Number type",
    dtypes,
    base: "Add what was learned to",
    bases,
    baseHelp:
      "The own weights are finer, and what other tools take. The 4-bit ones answer exactly as on the Try screen.",
    shard: "Largest file",
    write: "Write merged model",
    writeToFolder: "Write into a folder …",
    writing: "Adding what was learned, tensor by tensor",
    inFolder: (folder: string) => `It is in the folder “${folder}”.`,
  },
  writing: "Writing and checking",
  files: "Files",
  zip: "Download all (ZIP)",
  saveOne: (name: string) => `Download ${name}`,
  download: "Download",
  discard: "Free its storage",
  checked: (check: string) => `Checked: ${check}.`,
  others: {
    title: "Records",
    config: "Settings of the run",
    configWords: "All options as YAML: read by the Recipe screen and by the command line.",
    saveConfig: "Download config.yaml",
    history: "Loss history",
    historyWords: "Each step with its losses, learning rate and speed, for a spreadsheet.",
    saveHistory: "Download CSV",
  },
  use: {
    title: "Use it elsewhere",
    words: (folder: string) => `Unpack the ZIP into a folder ${folder} beside where you run this.`,
    which: "Which export",
    adapter: "Adapter",
    merged: "Merged model",
  },
  share: {
    title: "Let others talk to it",
    words:
      "An adapter on the Hugging Face hub can be opened by anybody with a link, in the browser:",
    steps: [
      "Download the adapter and unpack it.",
      "Upload its files to a new model repository on the hub.",
      "Put the repository's name into this link and send it:",
    ],
    repo: "Name of the repository",
    placeholder: "your-name/your-adapter",
    link: "Link to share",
    local: (base: string) =>
      `The base “${base}” came from your machine. Others can open the link only if the hub has it; put its id after “model=”.`,
  },
};

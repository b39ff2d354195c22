// English: Recipe.

export const enRecipe = {
  title: "Recipe",
  lead: "How the model learns. Take one of three presets, fitted to the model and the data; every option is below for those who want it.",
  presets: {
    title: "Presets",
    chosen: "Chosen",
    choose: "Choose",
    quick: {
      name: "Quick",
      purpose: "To see whether it works at all, in minutes.",
      changes:
        "A few dozen steps on short rows, with a small adapter and a high learning rate. Sees only a part of large data.",
    },
    balanced: {
      name: "Balanced",
      purpose: "For a result to use. Begin here with your own data.",
      changes:
        "All of the data, several times where it is little. Holds some rows out to show whether it learns or only repeats.",
    },
    thorough: {
      name: "Thorough",
      purpose: "When balanced has shown that it works, and there is time.",
      changes:
        "Longer rows, more rounds, twice the adapter and a lower learning rate. Takes several times as long, and more memory.",
    },
    epochs: (count: number) =>
      count === 1 ? "1 time through the data" : `${count} times through the data`,
    steps: (count: string) => `${count} steps`,
    tokens: (count: string) => `rows of ${count} tokens`,
    rank: (rank: number) => `rank ${rank}`,
    rate: (rate: string) => `learning rate ${rate}`,
  },
  differences: {
    title: "Changed",
    none: "Nothing is changed from the preset.",
    option: "Option",
    preset: "Preset",
    now: "Now",
    reset: "Reset",
    resetOne: (option: string) => `Reset ${option} to the preset`,
    resetAll: "Reset all",
    nothing: "(empty)",
  },
  questions: {
    title: "Questions to ask as it learns",
    lead: "The model answers them before, during and after training, so that you see what it has learned. They are taken from your first rows; better ones are not in the data.",
    label: (index: number) => `Question ${index}`,
    add: "Add a question",
    remove: (index: number) => `Remove question ${index}`,
    removeShort: "Remove",
    fromData: "Take from the data",
    none: "No questions: nothing is asked, and training is a little faster.",
  },
  advanced: {
    title: "All options",
    hint: (changed: number) => (changed === 0 ? "" : `${changed} changed`),
    changed: "Changed",
    presetIs: (value: string) => `The preset has ${value}.`,
    unit: (unit: string) => `in ${unit}`,
    takes: (takes: string) => `It takes ${takes}. The last good value stays.`,
    range: (takes: string) => `takes ${takes}`,
    on: "on",
    off: "off",
    listHelp: "separate with commas",
    pairHelp: "two numbers with a comma between",
    setElsewhere: {
      model: "Chosen on the Model screen",
      data: "Chosen on the Data screen",
      work_dir: "In the browser's storage, one for each run",
      load_from: "Set where a run is forked, on the Runs screen",
    },
  },
  file: {
    title: "As a file, or in a terminal",
    lead: "The recipe as YAML, which the command line reads too. Loading one, or a .py config of XTuner, replaces everything above but the model and the data.",
    save: "Save YAML",
    load: "Load YAML or .py",
    paste: "Paste a config",
    pasteLabel: "Config as YAML, or as XTuner's Python",
    use: "Use it",
    loaded: (place: string) => `The recipe is that of ${place}.`,
    pasted: "the pasted text",
    notes: (place: string) => `${place} is read, with a word on some of it`,
    ready: "Ready-made configs",
    readyLead:
      "One for every model that Hone trains by every data set of XTuner's, under XTuner's names. Only the recipe is taken.",
    readySearch: "Words in the name: qwen3 0.6b sql",
    readyNone: "No name has all of these words.",
    command: "The same in a terminal",
    commandHelp:
      "With the model's folder and the data file in the folder where it runs. The Data screen saves the file.",
  },
  summary: (preset: string, changed: number) =>
    changed === 0 ? `${preset}, as it is` : `${preset}, ${changed} changed`,
  hasProblems: "Some options have values that they do not take: they are marked below.",
};

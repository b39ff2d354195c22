// English: the screen Try.
import type { ChatSettings } from "../chat-settings.ts";
import type { Side } from "../conversation.ts";
import type { Choice, Mode } from "../session-try.ts";

const sides: Readonly<Record<Side, string>> = { base: "Before training", tuned: "After training" };

const modes: Readonly<Record<Mode, string>> = {
  both: "Side by side",
  base: "Before only",
  tuned: "After only",
};

const kvCaches: Readonly<Record<Choice["kvCache"], string>> = {
  auto: "As computed: exact",
  f16: "16-bit: half the memory that 32-bit takes",
  int8: "8-bit: least memory, nearly exact",
};

const settings: Readonly<Record<keyof ChatSettings, { label: string; help: string }>> = {
  adapterScale: {
    label: "Training strength",
    help: "0 is the model as it was, 1 as trained, 2 twice as much.",
  },
  maxNewTokens: {
    label: "Max length",
    help: "Tokens of one answer at most. A token is a word or a piece of one.",
  },
  temperature: {
    label: "Temperature",
    help: "0 always takes the likeliest word; higher is more varied.",
  },
  topP: {
    label: "Top P",
    help: "Chooses only among the likeliest words that together have this share.",
  },
  topK: { label: "Top K", help: "Chooses only among that many likeliest words; 0 is no limit." },
  repetitionPenalty: {
    label: "Repetition penalty",
    help: "Above 1, words that were said already become less likely.",
  },
  seed: { label: "Seed", help: "The same seed gives the same answer again." },
};

export const enTry = {
  lead: "Ask the model something, and compare its answers before and after training.",
  choose: {
    title: "What to talk to",
    model: "Model",
    adapter: "What it learned",
    none: "Nothing: the model as it is",
    checkpoint: "Checkpoint",
    ofRun: (run: string) => `Run: ${run}`,
    imported: (name: string) => `Adapter: ${name}`,
    quantization: "Weights in memory",
    nf4: "4-bit, as in training",
    plain: "As in the file: more memory, exact",
    kvCache: "Conversation in memory",
    kvCaches,
    open: "Load it",
    reopen: "Load this instead",
    opening: "Bringing the model to the GPU",
    close: "Free the memory",
    export: "Export it",
    ready: (template: string) =>
      template === "auto"
        ? "Ready. Prompts are written in the model's own format."
        : `Ready. Prompts are written in the format ${template}.`,
    change: "Change",
    training: "A run is under way and has the GPU. Pause or stop it to talk to a model.",
  },
  empty: {
    title: "No model yet",
    words:
      "Choose a model on the Model screen, or train one. Its answers before and after training appear here side by side.",
    action: "Choose a model",
  },
  share: {
    title: "Somebody shared an adapter with you",
    looking: (name: string) => `Looking for ${name} on the hub …`,
    offer:
      "An adapter is what a model learned in a training, in a small file. Nothing is fetched before you say so.",
    adapter: "Adapter",
    base: "Model it belongs to",
    here: "already here",
    fetch: (size: string) => `Fetch ${size} and open`,
    openOnly: "Open it",
    fetching: (repo: string) => `Fetching ${repo}`,
    link: "Copy share link",
    copied: "Link copied",
  },
  talk: {
    title: "Conversation",
    start: "Say something. Both sides get the same question.",
    startOne: "Say something.",
    you: "You",
    message: "Your message",
    placeholder: "Ask a question …",
    keys: "Enter sends, Shift and Enter begin a new line.",
    send: "Send",
    stop: "Stop",
    retry: "Ask again",
    retryHelp: "Asks the last question again with the next seed",
    clear: "Clear history",
    waiting: "Waiting for its turn …",
    thinking: "Thinking …",
    stopped: "Stopped.",
    cut: "Ended at the longest length allowed.",
    speed: (tokens: string, perSecond: string) => `${tokens} tokens, ${perSecond} tokens/s`,
    answered: (side: string) => `${side}: answered`,
    empty: "(said nothing)",
  },
  show: {
    mode: "Who answers",
    modes,
    probabilities: "Show probabilities",
    probabilitiesHelp:
      "Each word is tinted by how sure the model was of it. Point at one, or go along with the arrow keys, for its percentage.",
    markdown: "Markdown",
    tokens: "Answer, token by token",
    probability: (percent: string) => `${percent} likely`,
    legend: "surprising",
    legendSure: "sure",
  },
  sides,
  settings: {
    title: "Settings",
    system: "System prompt",
    systemHelp: "Said to the model before the conversation. Best left as it was in training.",
    reset: "Reset",
    names: settings,
  },
  code: "Code",
  table: "Table",
  picture: "[image]",
  pictureOf: (description: string) => `[image: ${description}]`,
};

// English: the screen Live.
import type { RunStatus } from "../../services/api.ts";
import type { CurveAxis, Phase } from "../live-report.ts";

const statuses: Readonly<Record<RunStatus, string>> = {
  new: "Not started",
  running: "Training",
  paused: "Paused",
  stopped: "Stopped, saved",
  interrupted: "Cut off",
  finished: "Finished",
  failed: "Failed",
};

const phases: Readonly<Record<Phase, string>> = {
  start: "Start",
  data: "Data",
  tune: "Trying kernel variants",
  load: "Model",
  compile: "Compiling",
  train: "Training",
};

const axes: Readonly<Record<CurveAxis, string>> = {
  step: "Step",
  tokens: "Tokens",
  seconds: "Time",
};

export const enRun = {
  title: (percent: number, isPaused: boolean, screen: string) =>
    `${isPaused ? "Paused, " : ""}${percent} % · ${screen} · Hone`,
  lead: (model: string, data: string) => `${model} learns from ${data}.`,
  empty: {
    title: "No run yet",
    words:
      "Here you watch a run: its losses, how fast it is, and what the model answers meanwhile. Choose a model and data first.",
    review: "Review and start",
  },
  statuses,
  phases,
  phasesLabel: "What is done and what is next",
  doing: {
    start: "Opening the GPU …",
    data: "Reading the data and cutting it into tokens …",
    tune: "Trying kernel variants: the fastest that are right are kept for this GPU …",
    load: "Bringing the model to the GPU …",
    compile: "Compiling the kernels …",
    first: "Answering the questions, then the first step. The first step takes longest.",
    train: "Training.",
    pausing: "Pausing after this step …",
    resuming: "Going on …",
    stopping: "Saving and stopping after this step …",
    paused: "Paused. Everything is saved; the GPU memory is still in use.",
    stopped: "Stopped and saved. You can go on exactly from here at any time.",
    interrupted: "It was cut off. Go on from the last checkpoint.",
    finished: "Done. The adapter is ready.",
    failed: "It ended before it was done.",
    new: "Not started.",
  },
  progress: "Progress of the run",
  facts: {
    step: "Step",
    epoch: "Epoch",
    left: "Time left",
    elapsed: "Under way for",
    speed: "Speed",
    loss: "Loss now",
    heldOut: "Held-out loss",
    memory: "GPU memory",
  },
  ofSteps: (step: string, steps: string) => `${step} of ${steps}`,
  tokensPerSecond: (tokens: string) => `${tokens} tokens/s`,
  skipped: (count: string) =>
    `${count} steps skipped because their gradient was not a finite number.`,
  restored: {
    problem: "This run was cut off, and goes on by itself from its last checkpoint.",
    remedy: "Nothing before that checkpoint is lost.",
  },
  restoredTooOften: {
    title: (name: string) => `“${name}” was cut off again and again at the same step.`,
    remedy:
      "It does not go on by itself any more. Continue it under Runs, or copy it with smaller settings.",
  },
  recovering: (attempt: number) =>
    `The GPU was lost. The run goes on from its last checkpoint (attempt ${attempt} of 3).`,
  elsewhere: {
    title: (name: string) => `Another tab trains “${name}”`,
    words:
      "One run at a time: two would fight for the GPU. You can watch it from here, and start another when it ends.",
  },
  failed: {
    continue: "Continue from the checkpoint",
    again: "Start again",
    apply: (settings: string) => `Apply ${settings} and review`,
    review: "Change the settings",
  },
  pause: "Pause",
  goOn: "Go on",
  stop: "Stop and save",
  continue: "Continue",
  talk: "Talk to it",
  export: "Export",
  awake: {
    switch: "Keep the screen on",
    held: "The screen stays on while this tab is in front.",
    off: "The screen may turn off. The run goes on in the background, unless the machine sleeps.",
    refused: "The browser did not keep the screen on, perhaps to save power.",
    unavailable: "This browser cannot keep the screen on. Do not let the machine sleep.",
    tab: "The browser is told to keep this tab working, in the background too.",
    leaving: "Closing it loses nothing before the last checkpoint.",
  },
  charts: {
    title: "Curves",
    axis: "Horizontal axis",
    axes,
    log: "Logarithmic",
    smoothing: "Smoothing",
    smoothingOff: "off",
    loss: "Loss",
    gradNorm: "Gradient norm",
    learningRate: "Learning rate",
    each: "each step",
    smoothed: "smoothed",
    heldOut: "held-out",
    hint: "Drag to zoom, double-click for all of it. Shift and drag moves along.",
    lossSummary: (first: string, last: string, steps: string) =>
      `The loss went from ${first} to ${last} in ${steps} steps.`,
    plainSummary: (name: string, last: string) => `${name} is now ${last}.`,
    noSummary: "There are no steps yet.",
  },
  answers: {
    title: "Answers while it learns",
    words:
      "The evaluation questions, answered by the model at that step. What is new since the answer before is marked.",
    none: "No evaluation questions were set. Add some in the recipe to watch the answers change.",
    waiting: "The first answers come before the first step.",
    step: "Step",
    before: "before training",
    same: "unchanged",
    changed: (share: string) => `${share} of it new`,
    all: (count: string) => `Show all ${count} rows`,
    fewer: "Show fewer",
    empty: "(no answer)",
  },
  log: {
    warnings: "Warnings",
    noWarnings: "None so far.",
    atStep: (step: string) => `step ${step}`,
    checkpoints: "Checkpoints",
    noCheckpoints: (every: string) => `None yet; one is saved every ${every} steps and at the end.`,
    kept: (limit: string) => `The newest ${limit} are kept.`,
    try: "Try",
  },
};

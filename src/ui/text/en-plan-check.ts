// English: Check.
import type { Browser, Support, System, Visitor } from "../support.ts";

const NEED = "Hone needs WebGPU, which current versions of Chrome, Edge, Safari and Firefox have.";

const MISSING: Readonly<Record<Browser, string>> = {
  chrome:
    "Update Chrome: it has WebGPU since 113, and on Android since 121. If it is current, WebGPU was turned off: look at chrome://gpu for the reason.",
  edge: "Update Edge: it has WebGPU since 113. If it is current, WebGPU was turned off: look at edge://gpu for the reason.",
  safari: "Update to macOS 26 for Safari 26, or use a current Chrome on this Mac.",
  firefox:
    "Update Firefox: it has WebGPU since 141 on Windows and since 145 on macOS. Elsewhere, use a current Chrome.",
  other: NEED,
};

const NO_ADAPTER: Readonly<Record<Browser, string>> = {
  chrome:
    "Open chrome://settings/system, turn on “Use graphics acceleration when available”, and restart Chrome. Update the graphics driver. chrome://gpu says why a GPU is blocked.",
  edge: "Open edge://settings/system, turn on “Use graphics acceleration when available”, and restart Edge. Update the graphics driver. edge://gpu says why a GPU is blocked.",
  safari:
    "Close other tabs and restart Safari. Lockdown Mode turns WebGPU off: leave this site out of it.",
  firefox:
    "Open Settings → General → Performance and turn on hardware acceleration; about:support says why a GPU is blocked. Else use a current Chrome.",
  other: "Turn on hardware acceleration in the browser's settings, and update the graphics driver.",
};

/** Where the system decides more than the browser. */
const MISSING_ON: Partial<Readonly<Record<System, string>>> = {
  ios: "Update to iOS or iPadOS 26: every browser there gets WebGPU from the system.",
};
const NO_ADAPTER_ON: Partial<Readonly<Record<System, string>>> = {
  ios: "Close other apps and tabs, turn Low Power Mode off, and open the page again.",
  android:
    "Close other apps and open the page again. WebGPU needs Android 12 and a GPU by Qualcomm, ARM, Imagination or Samsung.",
};

function remedyOf(found: Exclude<Support, "ok">, { browser, system }: Visitor): string {
  if (found === "insecure") {
    return "Open it over https, or from localhost on this machine: only there do browsers offer the GPU and keep files.";
  }
  if (found === "missing") return MISSING_ON[system] ?? MISSING[browser];
  const step = NO_ADAPTER_ON[system] ?? NO_ADAPTER[browser];
  return system === "linux" && browser === "chrome"
    ? `Open chrome://flags/#enable-unsafe-webgpu, choose “Enabled” and restart Chrome: on Linux it may be needed. Else: ${step}`
    : step;
}

export const enCheck = {
  title: "Check",
  lead: "Can this browser and its GPU fine-tune a model, and how large a one? Nothing is installed, and nothing leaves this machine.",
  looking: "Looking at the GPU …",
  sample: {
    title: "Try it now with the sample",
    text: "A small model and a small data set come with the page. The model learns who it is: no download, a minute or two on most GPUs. Then you can talk to it.",
    button: "Try it with the sample",
    preparing: "Putting the sample in place …",
    steps: "One click here, then “Start training”, then “Talk to it”.",
  },
  support: {
    ready: "This browser can fine-tune.",
    readySoftware:
      "This browser can fine-tune, slowly: there is no GPU, the processor does the work.",
    cannot: "Nothing can be trained here yet.",
    problem: {
      insecure: (address: string) =>
        `This page was opened from ${address}, an address without https that browsers do not trust.`,
      missing: (_address: string) => "This browser has no WebGPU, or it is turned off.",
      none: (_address: string) => "This browser has WebGPU, but offers no GPU for it.",
    },
    remedy: remedyOf,
  },
  notes: {
    noF16: {
      problem: "The GPU has no 16-bit arithmetic (shader-f16).",
      remedy:
        "Everything works; intermediate values take twice the memory, and training is slower.",
    },
    software: {
      problem: "The adapter is a software one: it is correct, and slow.",
      remedy:
        "The model that comes with the page trains in a minute or two. For larger ones, turn on hardware acceleration or use a machine with a GPU.",
    },
    smallBudget: (budget: string) => ({
      problem: `${budget} of GPU memory is little: only the smallest models fit.`,
      remedy: "Close other programs, measure below, or use a machine with more memory.",
    }),
    storageNone: {
      problem: "This browser keeps no files for the page, as in some private windows.",
      remedy: "Open the page in an ordinary window: models, data and runs need a place.",
    },
    storageSmall: (free: string) => ({
      problem: `The browser leaves ${free} for models and runs.`,
      remedy:
        "Open the page in an ordinary window, free some disk space, or delete models and runs that are not needed.",
    }),
    storageTemporary: {
      problem: "The browser may clear the page's files when the disk gets full.",
      remedy:
        "Ask it to keep them. Some browsers decide by themselves, or keep files of bookmarked pages.",
    },
    keep: "Keep my files",
    kept: "The browser will keep the files.",
    notKept: "The browser did not promise to keep the files.",
    notKeptRemedy: "Bookmark or install the page and ask again; export what must not be lost.",
  },
  facts: {
    title: "This GPU",
    gpu: "Adapter",
    unnamed: "No name told",
    f16: "16-bit arithmetic",
    subgroups: "Subgroups",
    buffer: "Largest buffer",
    binding: "Largest binding",
    storage: "Storage",
    storageUsed: (used: string, quota: string) => `${used} of ${quota}`,
    kept: "Files are kept",
    yes: "Yes",
    no: "No",
    notPromised: "Not promised",
  },
  kernels: {
    title: "Kernel variants",
    rule: "The heaviest kernels, the programs that run on the GPU, exist in several variants. Before a model is used for the first time, they are tried on this GPU for a few seconds: those that are wrong are dropped, and the fastest is kept.",
    why: {
      off: "Trying is turned off: every kernel uses the variant that is taken without it.",
      software: "On a processor none is tried: compiling one takes longer than it could save.",
    },
    none: "None was tried yet: a run, or a conversation with a model, does it by itself.",
    sizes: (matrix: string, tokens: string, type: string) =>
      `Matrices of ${matrix}, ${tokens} tokens, ${type}`,
    kernel: "Kernel",
    variant: "Variant",
    time: "Time",
    ratio: "Speed",
    chosen: "in use",
    notTried: "not tried: the time was up",
    faults: {
      failed: "dropped: the driver refused it",
      unwritten: "dropped: it left elements unwritten",
      wrong: "dropped: its results were wrong",
      unsteady: "dropped: run again, it wrote other bits",
      crashed: "left alone: the page ended while it was tried",
    },
    tryNow: "Try them now",
    trying: "Trying …",
    progress: (kernel: string, done: number, total: number) =>
      `${done} of ${total} ${kernel}`.trim(),
  },
  budget: {
    title: "GPU memory for a run",
    why: "Browsers do not tell how much memory a GPU has. This is a careful guess: half of the machine's memory as far as the browser tells it, 6 GiB at most, and a gibibyte on a phone.",
    own: "This is your own number, or was measured. What fits is judged by it.",
    field: "A run may take",
    help: "In GiB. A run that needs more can still be started.",
    takes: "Takes a number from 0.1 to 1024.",
    measure: "Measure",
    measuring: "Measuring …",
    warning:
      "Measuring takes GPU memory until there is no more and gives it back at once. Other programs may stutter for a moment.",
  },
  sizes: {
    title: "What fits",
    rule: "A rule of thumb for 4-bit fine-tuning with the balanced recipe. Each model's card counts exactly.",
    model: "Model",
    needs: "Needs about",
    verdict: "Here",
    largest: (model: string) => `Up to ${model} fits.`,
    software: "By memory, that is. Without a GPU only Seedling trains in minutes.",
    noneFits: "None of these fits into so little memory.",
  },
};

// The variants of kernels that were tried on an adapter, as a table for a terminal.
import { formatCount } from "../base/format.ts";
import type { KernelTable } from "../engine.ts";
import type { Output } from "./output.ts";
import { formatTryingBar } from "./progress.ts";
import { wrapWords } from "./terminal.ts";

export const TRYING =
  "Trying kernel variants: the fastest that are right are kept for this adapter.";

/** A listener that shows how far the trying is. */
export function showTrying(output: Output): (done: number, total: number) => void {
  return (done, total) => {
    if (done === 0) output.say(TRYING);
    output.emit("tuning", { done, total });
    output.status(formatTryingBar(done, total, output.columns));
  };
}

type Tried = KernelTable["tried"][number];

/** Lines that say which variant each kernel uses, how it compares with the others, or why nothing was tried. */
export function formatKernelTable({ slots, tried, why }: KernelTable): string[] {
  if (slots.length === 0) return ["Kernel variants: this adapter has no choice to make."];
  const kernels = slots.length === 1 ? "1 kernel has" : `${slots.length} kernels have`;
  const head = `Kernel variants: ${kernels} several on this adapter.`;
  const reason = why && wrapWords(REASONS[why], LINE);
  const tables = tried.flatMap((table) => ["", ...formatTried(table)]);
  if (tables.length > 0) return [head, ...(reason ?? []), ...tables];
  const width = Math.max(...slots.map(({ slot }) => slot.length));
  return [
    head,
    ...(reason ?? wrapWords(UNTRIED, LINE)),
    ...slots.map(
      ({ slot, names: [first = "", ...others] }) =>
        `  ${slot.padEnd(width)}  ${first}, and ${others.length} not tried`,
    ),
  ];
}

const LINE = 80;

const UNTRIED =
  "None was tried yet: a run tries those of its model, hone --tune quick doctor those of a typical one.";

const REASONS = {
  off: "Nothing is tried with --tune off: each uses the variant that runs everywhere.",
  software:
    "Each uses the variant that runs everywhere: on software, compiling others takes longer than they could win. --tune full tries them nonetheless.",
} as const;

function formatTried({ sizes, slots }: Tried): string[] {
  const { hidden, intermediate, heads, kvHeads, headSize, rank, tokens, act } = sizes;
  const adapter = rank > 0 ? `, LoRA of rank ${rank}` : "";
  const rows = slots.flatMap(({ slot, variants, chosen }) => {
    const [first] = variants;
    return variants.map(({ name, seconds, fault }, index) => ({
      mark: name === chosen ? "▸" : " ",
      slot: index === 0 ? slot : "",
      name,
      time: seconds === undefined ? "" : formatTime(seconds),
      ratio: seconds === undefined ? "" : formatRatio(first?.seconds, seconds),
      note: fault ? `dropped: ${fault.words}` : seconds ? "" : "not tried: the time was up",
    }));
  });
  const wide = (key: "slot" | "name" | "time" | "ratio") =>
    Math.max(...rows.map((row) => row[key].length));
  const [slot, name, time, ratio] = [wide("slot"), wide("name"), wide("time"), wide("ratio")];
  return [
    `${hidden} × ${intermediate}, ${heads} heads (${kvHeads} for keys) of ${headSize}${adapter}, ${formatCount(tokens)} tokens, ${act}:`,
    ...rows.map((row) =>
      `  ${row.slot.padEnd(slot)} ${row.mark} ${row.name.padEnd(name)}  ${row.time.padStart(time)}  ${row.ratio.padStart(ratio)}  ${row.note}`.trimEnd(),
    ),
  ];
}

function formatTime(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1000).toPrecision(3)} ms` : `${seconds.toPrecision(3)} s`;
}

/** How many times as fast as the variant that runs everywhere. */
function formatRatio(first: number | undefined, seconds: number): string {
  return first === undefined ? "" : `${(first / seconds).toFixed(2)}×`;
}

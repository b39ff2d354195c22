// The variants of kernels that were tried on an adapter, as a table for a terminal.
import { formatCount } from "../base/format.ts";
import type { KernelTable } from "../engine.ts";
import type { OnTrying, Trying } from "../engine/tuning/tune.ts";
import type { Output } from "./output.ts";
import { formatTryingBar } from "./progress.ts";
import { wrapWords } from "./terminal.ts";

export const TRYING =
  "Trying kernel variants: the fastest that are right are kept for this adapter.";

/** A listener that shows how far the trying is, and in a log what came of each kernel. */
export function showTrying(output: Output): OnTrying {
  return (done, total, kernel) => {
    if (done === 0 && kernel.share === undefined) output.say(TRYING);
    output.emit("tuning", { done, total, ...kernel });
    reportTrying(output, done, total, kernel);
  };
}

export function reportTrying(output: Output, done: number, total: number, kernel: Trying): void {
  const { slot, share, last } = kernel;
  // The first may take a minute on software: a log says what is waited for.
  const isFirst = done === 0 && share === undefined;
  if (!output.isLive && isFirst && slot !== undefined) output.say(`1/${total} ${slot} …`);
  if (!output.isLive && last) output.say(formatTriedLine(done, total, last));
  output.status(formatTryingBar(done, total, output.columns, kernel));
}

type Tried = KernelTable["tried"][number];

/** "2/14 nf4.fused.32: tile 64x64x16, 1.80× expand" */
export function formatTriedLine(
  done: number,
  total: number,
  { slot, variants: [first, ...others], chosen }: Tried["slots"][number],
): string {
  const head = `${done}/${total} ${slot}: ${chosen}`;
  const seconds = others.find(({ name }) => name === chosen)?.seconds;
  if (first && seconds !== undefined) {
    return `${head}, ${formatRatio(first.seconds, seconds)} ${first.name}`;
  }
  if (first?.fault) return `${head}, as others could not be compared: ${first.fault.words}`;
  const compared = others.filter((other) => other.seconds !== undefined).length;
  return `${head}, compared with ${compared} of ${others.length} others`;
}

/** Lines that say which variant each kernel uses, how it compares with the others, or why nothing was tried. */
export function formatKernelTable({ slots, tried, why }: KernelTable): string[] {
  if (slots.length === 0) return ["Kernel variants: this adapter has no choice to make."];
  const kernels = slots.length === 1 ? "1 kernel has" : `${slots.length} kernels have`;
  const head = `Kernel variants: ${kernels} several on this adapter.`;
  const reason = why && wrapWords(REASONS[why], LINE);
  const tables = tried
    .filter((table) => table.slots.length > 0)
    .flatMap((table) => ["", ...formatTried(table)]);
  const unended = [...new Set(tried.flatMap((table) => table.unended))].map(
    (slot) => `  ${slot}: its trial did not end`,
  );
  if (tables.length > 0) return [head, ...(reason ?? []), ...tables, ...unended];
  const width = Math.max(...slots.map(({ slot }) => slot.length));
  return [
    head,
    ...(reason ?? wrapWords(UNTRIED, LINE)),
    ...slots.map(({ slot, names, untried }) => {
      const others = names.filter((name) => name !== untried).length;
      return `  ${slot.padEnd(width)}  ${untried}, and ${others} not tried`;
    }),
    ...unended,
  ];
}

const LINE = 80;

const UNTRIED =
  "None was tried yet. A run tries those of its model, hone --tune quick doctor those of a typical one.";

const REASONS = {
  off: "Nothing is tried with --tune off.",
  software:
    "On software none is tried, since compiling one takes longer than it could save; --tune full does so nonetheless.",
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

/** How many times as fast as the first variant, with which all are compared. */
function formatRatio(first: number | undefined, seconds: number): string {
  return first === undefined ? "" : `${(first / seconds).toFixed(2)}×`;
}

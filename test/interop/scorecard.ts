// What the suite measured, row by row. run.mjs makes docs/fidelity.md of it after a whole run.
import { appendFileSync } from "node:fs";

/** One claim about the files that Hone reads or writes, and what came of it. */
export interface Row {
  /** As in the scorecard's first column: "logits of the base", "adapter out", … */
  readonly check: string;
  /** What it was tried on, such as "SmolLM2-135M-Instruct". */
  readonly subject: string;
  readonly required: string;
  /** In few digits: what differs from machine to machine is noise in the file. */
  readonly measured: string;
  readonly holds: boolean;
}

/** Records a row; call it before the assertion, so that what fails is seen too. */
export function score(row: Row): void {
  const path = process.env["HONE_SCORES"];
  if (path) appendFileSync(path, `${JSON.stringify(row)}\n`);
}

/** A small number as people read it: 3.2e-6, 0. */
export function short(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return value >= 0.01 && value < 1000 ? value.toPrecision(3) : value.toExponential(0);
}

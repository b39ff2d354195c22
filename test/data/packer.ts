// The packer that rows are compared with: XTuner's, said plainly. It holds every row that it makes.
import { invariant } from "../../src/base/error.ts";
import type { Example, PackedRow } from "../../src/data/pack.ts";

interface PackerOptions {
  rowTokens: number;
  /**
   * What `push` does with less than a row. "keep" waits for more, which `flush` ends. "emit" writes a
   * short row at once, as XTuner's packer does with each of its batches.
   */
  shortRows?: "keep" | "emit";
}

/** Packs examples in the order given; at most one row waits. */
export class Packer {
  readonly #rowTokens: number;
  readonly #emitsShort: boolean;
  #inputIds: Uint32Array;
  #labels: Int32Array;
  #starts: number[] = [];
  #used = 0; // tokens waiting

  constructor(options: PackerOptions) {
    const { rowTokens, shortRows = "keep" } = options;
    invariant(rowTokens > 0, () => `Packer: rowTokens is ${rowTokens}`);
    this.#rowTokens = rowTokens;
    this.#emitsShort = shortRows === "emit";
    this.#inputIds = new Uint32Array(rowTokens);
    this.#labels = new Int32Array(rowTokens);
  }

  /** Takes a batch of examples; returns the rows that it fills. */
  push(examples: Iterable<Example>): PackedRow[] {
    const rows: PackedRow[] = [];
    for (const example of examples) this.#append(example, rows);
    if (rows.length === 0 && this.#emitsShort) rows.push(...this.flush());
    return rows;
  }

  /** Ends the data: the tokens that wait, as a short row, if there are any. */
  flush(): PackedRow[] {
    return this.#used > 0 ? [this.#take()] : [];
  }

  #append({ inputIds, labels }: Example, rows: PackedRow[]): void {
    invariant(
      inputIds.length === labels.length,
      () => `Packer: ${inputIds.length} ids and ${labels.length} labels`,
    );
    for (let from = 0; from < inputIds.length;) {
      const to = Math.min(inputIds.length, from + this.#rowTokens - this.#used);
      this.#starts.push(this.#used);
      this.#inputIds.set(inputIds.subarray(from, to), this.#used);
      this.#labels.set(labels.subarray(from, to), this.#used);
      this.#used += to - from;
      from = to;
      if (this.#used === this.#rowTokens) rows.push(this.#take());
    }
  }

  #take(): PackedRow {
    const row = {
      inputIds: this.#inputIds.slice(0, this.#used),
      labels: this.#labels.slice(0, this.#used),
      segmentStarts: Uint32Array.from(this.#starts),
    };
    this.#starts = [];
    this.#used = 0;
    return row;
  }
}

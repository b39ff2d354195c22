// Rows on their way into storage: each is kept, or noted with what is wrong; nothing is lost silently.
// One row is held at a time, but for the few that the format is found from.
import { messageOf, UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import type { DataRow } from "../data/read.ts";
import { isJsonObject } from "../formats/json.ts";
import type { DataIssue } from "./api.ts";
import { findForm, type RowForm } from "./data-forms.ts";

/** What is known of rows when all have been taken. */
export interface IntakeReport {
  readonly rows: number;
  /** Null where nobody knows yet which column is what. */
  readonly format: string | null;
  readonly reason: string;
  readonly columns: readonly string[];
  /** By row. */
  readonly issues: readonly DataIssue[];
  readonly duplicates: number;
  readonly empty: number;
  readonly broken: number;
}

export interface Intake {
  take(row: DataRow): void;
  /** Notes a row that cannot be taken. */
  noteBroken(fault: UserError, at: Place, kind?: "broken" | "format"): void;
  /** JSON of what is to be stored now: rows of the form, or, where there is none, every row as a SourceRow. */
  drain(): string[];
  /** Takes what was waiting for the format. Refuses rows of which none can be used. */
  end(): void;
  report(): IntakeReport;
}

/** A row that waits for somebody to say what its columns are; or the fault that keeps it out. */
export interface SourceRow extends Place {
  readonly value?: unknown;
  readonly fault?: string;
  readonly kind?: "broken" | "format";
}

type Place = Pick<DataRow, "row" | "line">;

/** As many as the engine looks at to find the format. */
const DETECTION_ROWS = 20;
/** What is remembered of each row may not grow without end. */
const ROW_LIMIT = 4_000_000;
const FAULT_LIMIT = 100_000;
/** Of rows that are used all the same; the others are counted. */
const NOTE_LIMIT = 100_000;
const COLUMN_LIMIT = 1000;

/** `known` is the form where it need not be found. `place` is the file's name, for messages. */
export function createIntake(place: string, known?: RowForm): Intake {
  return new RowIntake(place, known);
}

class RowIntake implements Intake {
  readonly #place: string;
  readonly #columns = new Set<string>();
  readonly #notes = createNotes();
  /** Undefined until it is settled, and where there is none. */
  #form: RowForm | undefined;
  #isSettled: boolean;
  #reason: string;
  #waiting: SourceRow[] = [];
  /** Of those that wait, the ones that are no faults. */
  #rowsWaiting = 0;
  #ready: string[] = [];
  #firstFault: UserError | undefined;
  #faults = 0;

  constructor(place: string, known: RowForm | undefined) {
    this.#place = place;
    this.#form = known;
    this.#isSettled = known !== undefined;
    this.#reason = known?.reason ?? "";
  }

  take(row: DataRow): void {
    if (!isJsonObject(row.value)) {
      const fact = `${this.#place}, row ${row.row} (line ${row.line}): it is not a JSON object`;
      this.noteBroken(new UserError(`${fact}.`, "Make each row an object."), row, "format");
      return;
    }
    checkRows(row.row, this.#place);
    if (!this.#isSettled) for (const column of Object.keys(row.value)) this.#columns.add(column);
    if (this.#columns.size > COLUMN_LIMIT) {
      throw new UserError(
        `${this.#place} has more than ${formatCount(COLUMN_LIMIT)} columns.`,
        "Keep the columns that are trained on.",
      );
    }
    this.#push(row);
  }

  noteBroken(fault: UserError, at: Place, kind: "broken" | "format" = "broken"): void {
    this.#firstFault ??= fault;
    checkRows(at.row, this.#place);
    if (++this.#faults > FAULT_LIMIT) throw tooManyFaults(this.#place, this.#firstFault);
    const { row, line } = at;
    this.#push({ row, line, kind, fault: withoutPlace(fault, this.#place, at) });
  }

  drain(): string[] {
    const drained = this.#ready;
    this.#ready = [];
    return drained;
  }

  end(): void {
    this.#settle();
    const { rows, broken } = this.#notes.counts();
    if (rows === 0 || broken < rows) return;
    throw this.#firstFault ?? allRefused(this.#place, this.#notes.issues());
  }

  report(): IntakeReport {
    return {
      ...this.#notes.counts(),
      format: this.#form?.name ?? null,
      reason: this.#reason,
      columns: [...this.#columns],
      issues: this.#notes.issues(),
    };
  }

  #push(source: SourceRow): void {
    if (this.#isSettled) {
      this.#store(source);
      return;
    }
    this.#waiting.push(source);
    if (source.fault === undefined) this.#rowsWaiting++;
    if (this.#rowsWaiting >= DETECTION_ROWS) this.#settle();
  }

  /** Finds the form of the rows that wait, and stores them. */
  #settle(): void {
    const rows = this.#waiting.flatMap(({ value, row, line }) =>
      value === undefined ? [] : [{ value, row, line }],
    );
    if (!this.#isSettled && rows.length > 0) {
      this.#isSettled = true;
      try {
        this.#form = findForm(rows, this.#place);
        this.#reason = this.#form.reason;
      } catch (error) {
        if (!(error instanceof UserError) || this.#columns.size < 2) throw error;
        this.#reason = error.message.split("\n")[0] ?? "";
      }
    }
    for (const source of this.#waiting) this.#store(source);
    this.#waiting = [];
    this.#rowsWaiting = 0;
  }

  #store(source: SourceRow): void {
    const { row, line, fault, kind = "broken" } = source;
    this.#notes.count(row);
    if (fault !== undefined) {
      this.#notes.noteBroken(kind, source, fault);
      if (!this.#form) this.#ready.push(JSON.stringify(source));
      return;
    }
    try {
      this.#ready.push(this.#form ? this.#keep(source, this.#form) : this.#keepSource(source));
    } catch (error) {
      const message = withoutPlace(faultOf(error, this.#place, source), this.#place, source);
      this.#notes.noteBroken("format", source, message);
      const left = { row, line, kind: "format", fault: message } satisfies SourceRow;
      if (!this.#form) this.#ready.push(JSON.stringify(left));
    }
  }

  #keep({ value, row, line }: SourceRow, form: RowForm): string {
    const stored = form.store({ value, row, line }, this.#place);
    // Both are made before anything is noted, since that may fail too.
    const key = JSON.stringify(stored.conversation);
    const json = JSON.stringify(stored.value);
    this.#notes.lookAt(key, stored.conversation.length === 0, { row, line });
    return json;
  }

  #keepSource({ value, row, line }: SourceRow): string {
    const json = JSON.stringify({ row, line, value } satisfies SourceRow);
    this.#notes.lookAt(JSON.stringify(value), false, { row, line });
    return json;
  }
}

function checkRows(row: number, place: string): void {
  if (row <= ROW_LIMIT) return;
  throw new UserError(
    `${place} has more than ${formatCount(ROW_LIMIT)} rows.`,
    "Split the file, or train on it with the command line.",
  );
}

function tooManyFaults(place: string, first: UserError): UserError {
  const [problem, remedy] = first.message.split("\n");
  return new UserError(
    `More than ${formatCount(FAULT_LIMIT)} rows of ${place} cannot be read. The first: ${problem ?? ""}`,
    remedy ?? "Correct the file.",
  );
}

/** Where rows were of the format found, and yet none has what it needs. */
function allRefused(place: string, [first]: readonly DataIssue[]): UserError {
  return new UserError(
    `${place}, row ${first?.row ?? 1} (line ${first?.line ?? 1}): ${first?.message ?? "it cannot be read"}`,
    "Correct that row and those like it: none can be used.",
  );
}

/** Counts, and what is wrong with which row. */
function createNotes() {
  const issues: DataIssue[] = [];
  const firstWith = new Map<number, number>();
  const counts = { rows: 0, duplicates: 0, empty: 0, broken: 0 };
  const note = (kind: DataIssue["kind"], { row, line }: Place, message: string, of?: number) => {
    if (issues.length >= NOTE_LIMIT && kind !== "broken" && kind !== "format") return;
    issues.push({ row, line, kind, message, ...(of === undefined ? {} : { duplicateOf: of }) });
  };
  return {
    count(row: number): void {
      counts.rows = row;
    },
    noteBroken(kind: "broken" | "format", at: Place, message: string): void {
      counts.broken++;
      note(kind, at, message);
    },
    /** `key` is what makes a row the same as another. */
    lookAt(key: string, isEmpty: boolean, at: Place): void {
      if (isEmpty) {
        counts.empty++;
        note("empty", at, "it holds no conversation");
        return;
      }
      const hash = hash53(key);
      const first = firstWith.get(hash);
      if (first === undefined) firstWith.set(hash, at.row);
      else {
        counts.duplicates++;
        note("duplicate", at, `it is the same as row ${formatCount(first)}`, first);
      }
    },
    counts: () => counts,
    issues: (): readonly DataIssue[] => issues,
  };
}

/** A fault of one row. Anything but a UserError comes of a row that no reader can take. */
function faultOf(error: unknown, place: string, { row, line }: Place): UserError {
  if (error instanceof UserError) return error;
  // JSON.stringify goes as deep as the stack allows.
  if (error instanceof RangeError) {
    return new UserError(
      `${place}, row ${row} (line ${line}): it is nested too deep (${messageOf(error)}).`,
      "Correct that row.",
    );
  }
  throw error;
}

/** The first line of a row's fault without the words that say where, since the row is named beside it. */
function withoutPlace(fault: UserError, place: string, { row, line }: Place): string {
  const [problem = ""] = fault.message.split("\n");
  const starts = [`${place}, row ${row} (line ${line})`, `${place}, line ${line} (row ${row}) `];
  const start = starts.find((words) => problem.startsWith(words)) ?? "";
  return problem.slice(start.length).replace(/^: /, "").replace(/^, /, "");
}

/** cyrb53 (bryc): 53 bits of a text. Two of a million rows share one by chance with a probability of 1e-4. */
function hash53(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & b) + (a >>> 0);
}

// Files, pasted text, samples and rows written by hand, as rows on their way into storage.
import { AbortedError, messageOf, UserError } from "../base/error.ts";
import { type DataFile, readDataRows } from "../data/read-data.ts";
import type { TextChunks } from "../data/read.ts";
import type { Message, Progress, SampleName, StoredData } from "./api.ts";
import { identityRows, type IdentityLanguage } from "./data-identity.ts";
import type { Intake } from "./data-intake.ts";
import { addData, createPause, findData, type RowSource } from "./data-store.ts";
import { toPage } from "./page-callback.ts";

const CHUNK_BYTES = 1 << 18;

/** Imports under way, which `cancelImports` ends. */
const running = new Set<AbortController>();

export function cancelImports(): void {
  for (const controller of running) controller.abort();
}

export async function importFile(file: File, onProgress: Progress): Promise<StoredData> {
  const { name } = file;
  return importFiles(name, [{ name, file }], onProgress);
}

/** Several files as one data set, row after row. `name` of each tells its kind and is for messages. */
export async function importFiles(
  name: string,
  files: readonly { readonly name: string; readonly file: File }[],
  onProgress: Progress,
): Promise<StoredData> {
  return cancellable((signal) => {
    const sources = files.map(({ name: own, file }) => {
      const read = async (start: number, end: number) => {
        checkCanceled(signal, own);
        return new Uint8Array(await readSlice(file, start, end));
      };
      const stream = () => bytesOf(file, onProgress, signal);
      return rowsOf({ name: own, bytes: file.size, read, stream });
    });
    return addData({ name, rows: oneAfterTheOther(sources) });
  });
}

/** Rows of several files, counted through all of them; lines are those of each file. */
function oneAfterTheOther(sources: readonly RowSource[]): RowSource {
  const [only, ...others] = sources;
  if (only && others.length === 0) return only;
  return async function* (intake) {
    let before = 0;
    let last = 0;
    const place = <At extends { readonly row: number }>(at: At): At => {
      last = before + at.row;
      return { ...at, row: last };
    };
    const counting: Intake = {
      take: (row) => intake.take(row),
      noteBroken: (fault, at, kind) => intake.noteBroken(fault, place(at), kind),
      drain: () => intake.drain(),
      end: () => intake.end(),
      report: () => intake.report(),
    };
    for (const source of sources) {
      for await (const row of source(counting)) yield place(row);
      before = last;
    }
  };
}

export async function importText(name: string, text: string): Promise<StoredData> {
  return cancellable((signal) =>
    addData({ name, rows: rowsOf({ name, stream: () => piecesOf(text, signal) }) }),
  );
}

/** The names that samples get, each in its own language. */
const SAMPLES: Readonly<Record<SampleName, string>> = {
  "identity-en": "Who am I? (sample)",
  "identity-zh": "我是谁？（示例）",
  colors: "Colors of things (sample)",
};

/** A sample that comes with the page at `pageUrl`; the one that is there already, if it is. */
export async function importSample(name: SampleName, pageUrl: string): Promise<StoredData> {
  if (!Object.hasOwn(SAMPLES, name)) {
    throw new UserError(
      `There is no sample "${name}".`,
      `Use one of: ${Object.keys(SAMPLES).join(", ")}.`,
    );
  }
  const id = `sample-${name}`;
  const known = await findData(id);
  if (known) return known;
  const file = `${name}.jsonl`;
  const text = await fetchText(new URL(`data/${file}`, pageUrl).href, file);
  const rows = rowsOf({ name: file, stream: () => [text] });
  return addData({ id, name: SAMPLES[name], rows });
}

export async function importRows(
  name: string,
  rows: readonly (readonly Message[])[],
): Promise<StoredData> {
  const values = rows.map((messages, i) => ({
    value: { messages: messages.map(({ role, content }) => ({ role, content })) },
    row: i + 1,
    line: i + 1,
  }));
  if (values.length > 0) return addData({ name, rows: () => values });
  throw new UserError("There is no row to keep.", "Write a question and an answer.");
}

export async function importIdentity(
  owner: string,
  assistant: string,
  language: IdentityLanguage,
): Promise<StoredData> {
  const rows = identityRows(owner, assistant, language);
  const name = language === "zh" ? `${assistant}的自我介绍` : `${assistant} introduces itself`;
  return importRows(name, rows);
}

function rowsOf(file: DataFile): RowSource {
  const stream = () => withPauses(file.stream(), file.name);
  return (intake) => readDataRows({ ...file, stream }, (fault, at) => intake.noteBroken(fault, at));
}

/** Chunks as they are, with other calls answered between them; a text too long to be held is told so. */
async function* withPauses(chunks: TextChunks, place: string): AsyncGenerator<string | Uint8Array> {
  const pause = createPause();
  try {
    for await (const chunk of chunks) {
      yield chunk;
      await pause();
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(
      `A row of ${place} is longer than a text can be here (${messageOf(error)}).`,
      "Check that the file has one row a line, or is one JSON list.",
      { cause: error },
    );
  }
}

async function cancellable<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  running.add(controller);
  try {
    return await action(controller.signal);
  } finally {
    running.delete(controller);
  }
}

function checkCanceled(signal: AbortSignal, what: string): void {
  if (!signal.aborted) return;
  throw new AbortedError(`The import of ${what} was canceled.`, "Nothing of it was kept.");
}

const PROGRESS_MS = 100;

/** A file in pieces: it is never held whole, and other calls are answered between them. */
async function* bytesOf(
  file: File,
  onProgress: Progress,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const tell = toPage(onProgress);
  let told = 0;
  for (let start = 0; start < file.size; start += CHUNK_BYTES) {
    checkCanceled(signal, file.name);
    const now = performance.now();
    if (now - told >= PROGRESS_MS) {
      tell(start, file.size);
      told = now;
    }
    yield new Uint8Array(await readSlice(file, start, start + CHUNK_BYTES));
  }
  tell(file.size, file.size);
}

async function readSlice(file: File, start: number, end: number): Promise<ArrayBuffer> {
  try {
    return await file.slice(start, end).arrayBuffer();
  } catch (error) {
    throw new UserError(
      `${file.name} could not be read (${messageOf(error)}).`,
      "Check that the file is still there and was not changed, and choose it again.",
      { cause: error },
    );
  }
}

function* piecesOf(text: string, signal: AbortSignal): Generator<string> {
  for (let start = 0; start < text.length; start += CHUNK_BYTES) {
    checkCanceled(signal, "the text");
    yield text.slice(start, start + CHUNK_BYTES);
  }
}

async function fetchText(url: string, name: string): Promise<string> {
  try {
    const response = await fetch(url);
    if (response.ok) return await response.text();
    throw new Error(`status ${response.status}`);
  } catch (error) {
    throw new UserError(
      `The sample ${name} did not come (${messageOf(error)}).`,
      "Reload the page, or check the connection.",
      { cause: error },
    );
  }
}

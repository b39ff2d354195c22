// One file of the hub into a folder: what is there stays, what is missing is asked for, and nothing counts
// as a download before its checksum is the one that the hub's list promises.
//
// A cut, a stall or a busy server is tried again from the byte it stopped at. Whatever shows that the bytes
// here are not the beginning of the file there (another ETag, another range, a server that sends all of it)
// begins the file anew. No `If-Range` is sent: it would need a preflight, and the ETag says the same.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import type { Folder } from "../base/folder.ts";
import { type DownloadPlace, PartialDownload, STATE_SUFFIX } from "./hub-partial.ts";
import type { HubFile } from "./hub.ts";
import {
  type Answer,
  contentRange,
  get,
  type HttpOptions,
  PassingFault,
  Patience,
  RangeFault,
} from "./http.ts";

export interface DownloadRequest extends HttpOptions {
  readonly url: string;
  /** How files grow and are hashed here. */
  readonly place: DownloadPlace;
  /** With a checksum. */
  readonly file: HubFile;
  /** In which the file grows, under this name. */
  readonly folder: Folder;
  readonly name: string;
  /** Bytes of this file that are here now; fewer than before when it begins anew. */
  readonly onProgress?: (bytes: number) => void;
}

/** How often a whole file may turn out to be another one before the hub is not believed any more. */
const MOST_MISMATCHES = 2;

/**
 * Resolves when the whole file is in the folder and its checksum is right. Rejects with the signal's reason
 * if aborted; then, and after a failure that may pass, what came stays for the next try.
 */
export async function downloadFile(request: DownloadRequest): Promise<void> {
  const { file, folder, name, place, signal } = request;
  if (file.sha256 === undefined && file.gitOid === undefined) {
    throw new UserError(
      `The hub gives no checksum for ${file.name}, so a download of it could not be verified.`,
      "Use a hub that lists checksums, or download the files yourself and add them as a local folder.",
    );
  }
  signal?.throwIfAborted();
  const partial = await PartialDownload.open(place, folder, name, file);
  try {
    await complete(partial, request);
  } catch (error) {
    // What cannot be saved now is read again later.
    await partial.save().catch(() => {});
    await partial.close();
    if (error instanceof MismatchError) await forget(folder, name);
    throw error;
  }
  await partial.close();
  await folder.remove(name + STATE_SUFFIX);
}

async function forget(folder: Folder, name: string): Promise<void> {
  await folder.remove(name);
  await folder.remove(name + STATE_SUFFIX);
}

/** What the hub sends is not what it lists. */
class MismatchError extends UserError {}

async function complete(partial: PartialDownload, request: DownloadRequest): Promise<void> {
  const { file, url, onProgress } = request;
  const patience = new Patience(file.name, request);
  let mostBytes = partial.bytes;
  let mismatches = 0;
  for (;;) {
    if (partial.bytes >= file.bytes) {
      if (partial.isTrue()) break;
      await partial.reset();
      mostBytes = 0;
      if (++mismatches >= MOST_MISMATCHES) throw new MismatchError(...mismatchWords(file));
    }
    onProgress?.(partial.bytes);
    try {
      const start = partial.bytes;
      const answer = await get(url, file.name, request, start > 0 ? { start } : undefined);
      await take(answer, partial, request);
    } catch (error) {
      if (error instanceof RangeFault) await partial.reset();
      // Only bytes that were never here before are a gain: beginning anew for ever is none.
      if (partial.bytes > mostBytes) patience.renew();
      mostBytes = Math.max(mostBytes, partial.bytes);
      await patience.after(error);
    }
  }
  onProgress?.(file.bytes);
}

function mismatchWords({ name, bytes, sha256 }: HubFile): [string, string] {
  return [
    `${name} came as other bytes than the hub lists: its ${sha256 === undefined ? "Git checksum" : "SHA-256"} is wrong, of all ${formatBytes(bytes)}, ${MOST_MISMATCHES} times.`,
    "Try again later, or over another connection: something on the way changes the file.",
  ];
}

/** Adds what an answer brings to what is here, up to the file's size. */
async function take(
  answer: Answer,
  partial: PartialDownload,
  { file, onProgress }: DownloadRequest,
): Promise<void> {
  try {
    await agree(answer, partial, file);
    for await (const chunk of answer.chunks()) {
      if (partial.bytes + chunk.length > file.bytes) {
        throw new RangeFault(`more than the ${file.bytes} bytes of the hub's list came`);
      }
      await partial.append(chunk);
      onProgress?.(partial.bytes);
    }
  } finally {
    answer.cancel();
  }
  if (partial.bytes < file.bytes) {
    throw new PassingFault(`the connection ended after ${partial.bytes} of ${file.bytes} bytes`);
  }
}

/** Makes what is here fit the answer, or refuses the answer. */
async function agree(
  { status, headers }: Answer,
  partial: PartialDownload,
  file: HubFile,
): Promise<void> {
  const etag = headers.get("ETag")?.replace(/^W\//, "") ?? null;
  if (status === 206) {
    const range = contentRange(headers);
    if (
      range &&
      (range.start !== partial.bytes || (range.totalBytes ?? file.bytes) !== file.bytes)
    ) {
      throw new RangeFault(
        `byte ${partial.bytes} of ${file.bytes} was asked for and "${headers.get("Content-Range")}" came`,
      );
    }
    if (etag !== null && partial.etag !== null && etag !== partial.etag) {
      throw new RangeFault(`the file changed on the hub, from ${partial.etag} to ${etag}`);
    }
  } else if (partial.bytes > 0) {
    await partial.reset(); // all of it comes again
  }
  partial.etag ??= etag;
}

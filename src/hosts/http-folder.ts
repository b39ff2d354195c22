// Files on a web server as a folder that is only read: headers of a model before its download, and the model
// that comes with the page. A range is asked for as a range; a server that sends other bytes is found out.
import { UserError } from "../base/error.ts";
import { type Folder, readOnly } from "../base/folder.ts";
import {
  contentRange,
  get,
  type HttpOptions,
  PassingFault,
  Patience,
  readAll,
  ServerRefusal,
} from "./http.ts";

export interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
}

export interface RemoteFolderOptions extends HttpOptions {
  /** For messages; default: the address. */
  readonly path?: string;
}

// A header is asked for in two parts, its length and itself, and small files whole: one request is enough.
const FIRST_BYTES = 1 << 17;
const CHUNK_BYTES = 4 << 20;

/** `baseUrl` ends in "/"; a file's name is put behind it. The list is believed, and sizes checked against it. */
export function httpFolder(
  baseUrl: string,
  files: readonly RemoteFile[],
  options: RemoteFolderOptions = {},
): Folder {
  const { path = baseUrl.replace(/\/$/, "") } = options;
  const sizes = new Map(files.map(({ name, bytes }) => [name, bytes]));
  const beginnings = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  const sizeOf = (name: string): number => {
    const size = sizes.get(name);
    if (size !== undefined) return size;
    throw new UserError(`${path} has no file ${name}.`, "Check the name.");
  };
  const fetchRange = (name: string, start: number, end: number) =>
    readRange(urlOf(baseUrl, name), `${path}/${name}`, { start, end, of: sizeOf(name) }, options);
  const beginning = (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    const found = beginnings.get(name) ?? fetchRange(name, 0, Math.min(FIRST_BYTES, sizeOf(name)));
    beginnings.set(name, found);
    // A failure is not remembered, or every later read would meet it.
    found.catch(() => beginnings.delete(name));
    return found;
  };
  const folder: Folder = {
    path,
    list: async () => topNames(sizes.keys()),
    size: async (name) => sizes.get(name),
    async read(name, start = 0, end = sizeOf(name)) {
      const size = sizeOf(name);
      if (start > end || end > size) {
        throw new UserError(
          `${path}/${name} has ${size} bytes; bytes ${start} to ${end} were asked for.`,
          "The file is not what its name says: choose another model.",
        );
      }
      if (start === end) return new Uint8Array(0);
      if (end <= FIRST_BYTES) return (await beginning(name)).slice(start, end);
      return fetchRange(name, start, end);
    },
    async readText(name) {
      return new TextDecoder().decode(await folder.read(name));
    },
    async *stream(name) {
      const size = sizeOf(name);
      for (let start = 0; start < size; start += CHUNK_BYTES) {
        yield await fetchRange(name, start, Math.min(start + CHUNK_BYTES, size));
      }
    },
    ...readOnly(path),
    folder: (name) => {
      const below = files.filter((file) => file.name.startsWith(`${name}/`));
      return httpFolder(
        `${urlOf(baseUrl, name)}/`,
        below.map((file) => ({ ...file, name: file.name.slice(name.length + 1) })),
        { ...options, path: `${path}/${name}` },
      );
    },
  };
  return folder;
}

export function urlOf(baseUrl: string, name: string): string {
  return baseUrl + name.split("/").map(encodeURIComponent).join("/");
}

function topNames(names: Iterable<string>): string[] {
  const tops = [...names].map((name) => name.split("/", 1)[0] ?? name);
  return [...new Set(tops)].toSorted((a, b) => (a < b ? -1 : 1));
}

interface Range {
  readonly start: number;
  readonly end: number;
  /** Bytes of the whole file. */
  readonly of: number;
}

async function readRange(
  url: string,
  place: string,
  range: Range,
  options: HttpOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const patience = new Patience(place, options);
  for (;;) {
    try {
      return await tryRange(url, place, range, options);
    } catch (error) {
      await patience.after(error);
    }
  }
}

async function tryRange(
  url: string,
  place: string,
  { start, end, of }: Range,
  options: HttpOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const isWhole = start === 0 && end === of;
  const answer = await get(url, place, options, isWhole ? undefined : { start, end });
  if (answer.status === 206) {
    const range = contentRange(answer.headers);
    if ((range && range.start !== start) || (range?.totalBytes ?? of) !== of) {
      answer.cancel();
      throw new PassingFault(
        `bytes ${start} to ${end} of ${of} were asked for and "${answer.headers.get("Content-Range")}" came`,
      );
    }
  } else if (!isWhole) {
    answer.cancel(); // the whole of a file of gigabytes, maybe
    throw new ServerRefusal(
      `The server sends no parts of files: it answered 200 when asked for a part of ${place}.`,
      "Use a hub that supports range requests, or add the model as a local folder.",
    );
  }
  const bytes = await readAll(answer, place, end - start);
  if (bytes.length === end - start) return bytes;
  throw new PassingFault(`${bytes.length} of ${end - start} bytes came`);
}

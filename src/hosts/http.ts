// Asking a web server for bytes: which failures pass by themselves, and words for those that do not.
//
// In the page no request carries credentials or a referrer, and none has a header that needs a preflight: the
// hub's storage hosts, to which it redirects, answer none (seen on datasets#7931). A `Range` needs none. Where
// there is a token (Node alone), each redirect is followed here, and every address gets only its own headers.
import { messageOf, UserError } from "../base/error.ts";

export interface HttpOptions {
  readonly signal?: AbortSignal | undefined;
  /** Silence after which a connection counts as dead. */
  readonly stallMs?: number | undefined;
  /** In a row, without anything gained. */
  readonly tries?: number | undefined;
  /** Whether the server can be reached at all: asked where not even an answer comes. */
  readonly answers?: (() => Promise<boolean>) | undefined;
  /** Headers for a request to that address, and to no other: a redirect's address is asked for its own. */
  readonly headersFor?: ((url: string) => Readonly<Record<string, string>>) | undefined;
  /** Waits between tries; replaced in tests. */
  readonly wait?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
}

/** A failure that another try may not meet: a cut, a stall, a busy server. */
export class PassingFault extends Error {
  /** What the server asked for. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

export interface Answer {
  readonly status: 200 | 206;
  readonly headers: Headers;
  /** Throws a PassingFault where the connection ends in a failure. Ends the request when it is left. */
  chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
  /** For an answer whose bytes nobody wants. */
  cancel(): void;
}

const STALL_MS = 30_000;

/** Asks for a file from byte `start` on, up to before `end`. `place` names it in errors. */
export async function get(
  url: string,
  place: string,
  { signal, stallMs = STALL_MS, headersFor }: HttpOptions,
  range?: { readonly start: number; readonly end?: number },
): Promise<Answer> {
  const watch = watchForStall(stallMs, signal);
  const asPassing = (error: unknown): unknown => {
    if (signal?.aborted) return signal.reason;
    if (watch.signal.aborted) return watch.signal.reason;
    const isKnown = error instanceof UserError || error instanceof PassingFault;
    return isKnown ? error : new PassingFault(messageOf(error));
  };
  try {
    const response = await ask(url, place, { signal: watch.signal, range, headersFor });
    watch.touch();
    refuseBadAnswer(response, place);
    return {
      status: response.status === 206 ? 206 : 200,
      headers: response.headers,
      cancel: () => watch.cancel(),
      async *chunks() {
        const reader = response.body?.getReader();
        try {
          for (;;) {
            const { done, value } = (await reader?.read()) ?? { done: true };
            if (done || !value) return;
            watch.touch();
            yield value;
          }
        } catch (error) {
          throw asPassing(error);
        } finally {
          watch.cancel();
        }
      },
    };
  } catch (error) {
    const fault = asPassing(error); // before the request is aborted by us
    watch.cancel();
    throw fault;
  }
}

interface Asking {
  readonly signal: AbortSignal;
  readonly range: { readonly start: number; readonly end?: number } | undefined;
  readonly headersFor: HttpOptions["headersFor"];
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MOST_REDIRECTS = 10;

async function ask(first: string, place: string, asking: Asking): Promise<Response> {
  let url = first;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const response = await askOnce(url, asking);
    const location = response.headers.get("Location");
    if (!asking.headersFor || !REDIRECTS.has(response.status) || location === null) return response;
    await response.body?.cancel();
    url = nextUrl(location, url, place);
  }
  throw new ServerRefusal(
    `The server redirected more than ${MOST_REDIRECTS} times when asked for ${place}.`,
    "Try again later.",
  );
}

/** Where a redirect leads; never from an encrypted connection to an open one. */
function nextUrl(location: string, from: string, place: string): string {
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const isOpen = next?.protocol === "http:" && new URL(from).protocol === "http:";
  if (next && (next.protocol === "https:" || isOpen)) return next.href;
  throw new ServerRefusal(
    `The server redirected to "${location.slice(0, 100)}" when asked for ${place}, which is no address to follow.`,
    "Try again later.",
  );
}

async function askOnce(url: string, { signal, range, headersFor }: Asking): Promise<Response> {
  const part = range && { Range: `bytes=${range.start}-${range.end ? range.end - 1 : ""}` };
  try {
    return await fetch(url, {
      headers: { ...part, ...headersFor?.(url) },
      signal,
      // The storage keeps the bytes; a second copy in the browser's cache would only take room.
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      ...(headersFor && { redirect: "manual" }),
    });
  } catch (error) {
    throw new UnreachedFault(reasonOf(error));
  }
}

/** Node says only "fetch failed", and why in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return messageOf(error);
  const { code } = cause as { code?: unknown };
  return cause.message || (typeof code === "string" ? code : messageOf(error));
}

function watchForStall(stallMs: number, outer: AbortSignal | undefined) {
  const own = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const touch = () => {
    clearTimeout(timer);
    const fault = new PassingFault(`no byte came for ${stallMs / 1000} s`);
    timer = setTimeout(() => own.abort(fault), stallMs);
  };
  touch();
  return {
    signal: outer ? AbortSignal.any([outer, own.signal]) : own.signal,
    touch,
    cancel() {
      clearTimeout(timer);
      own.abort(new PassingFault("nobody reads on"));
    },
  };
}

const BUSY = new Set([408, 425, 429, 500, 502, 503, 504]);

function refuseBadAnswer({ status, headers, url }: Response, place: string): void {
  if (BUSY.has(status))
    throw new PassingFault(`the server answered ${status}`, retryAfter(headers));
  const code = headers.get("X-Error-Code") ?? undefined;
  if (status === 401 || status === 403) {
    const isGated = code === "GatedRepo";
    throw new ServerRefusal(
      `${place} is not given to everyone: the server answered ${status}${isGated ? ", since the repo is gated" : ""}.`,
      "Check the name. If the model is gated or private, download its files while signed in there, and add them here as a local folder.",
      { status, code },
    );
  }
  if (status === 404 || status === 410) {
    throw new ServerRefusal(
      `${place} is not there: the server answered ${status}.`,
      "Check the name.",
      { status, code },
    );
  }
  // 416: the range begins past the end. What is here is then not the beginning of that file.
  if (status === 416) throw new RangeFault(`the server answered ${status}`);
  if (status !== 200 && status !== 206) {
    throw new ServerRefusal(
      `The server answered ${status} when asked for ${place}.`,
      "Try again later.",
      { status, code },
    );
  }
  const type = headers.get("Content-Type") ?? "";
  if (/^text\/html\b/i.test(type) && !/\.html?$/i.test(place)) {
    const from = URL.canParse(url) ? ` from ${new URL(url).host}` : "";
    throw new NetworkError(
      `Instead of ${place} came a web page${from}, as networks send that want a login first.`,
      "Open any other site to sign in to the network, then try again.",
    );
  }
}

/** The server's answer does not fit what is here already. */
export class RangeFault extends PassingFault {}

/** Not even an answer came: no connection, or an address that the page may not ask. A browser tells neither. */
class UnreachedFault extends PassingFault {}

/** The server was reached and does not give what was asked for. That says nothing of what is here already. */
export class ServerRefusal extends UserError {
  readonly status: number | undefined;
  /** The hub's own word for it: GatedRepo, RepoNotFound, RevisionNotFound, EntryNotFound. */
  readonly code: string | undefined;

  constructor(
    problem: string,
    remedy: string,
    answer: { readonly status?: number; readonly code?: string | undefined } = {},
  ) {
    super(problem, remedy);
    this.status = answer.status;
    this.code = answer.code;
  }
}

/** Seconds or a date, as milliseconds from now. */
function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("Retry-After");
  if (text === null) return undefined;
  const seconds = Number(text);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** What a 206 says it holds: the first byte and the size of the whole file, where the server lets us see it. */
export function contentRange(
  headers: Headers,
): { readonly start: number; readonly totalBytes: number | undefined } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("Content-Range") ?? "");
  if (!match) return undefined;
  return { start: Number(match[1]), totalBytes: match[2] === "*" ? undefined : Number(match[2]) };
}

const FIRST_WAIT_MS = 500;
/** About a minute in all. */
const MOST_TRIES = 8;
/** A line that breaks now and then seldom breaks so often while the server answers in between. */
const BLOCKED_TRIES = 3;
/** Who asks for a longer pause than this is asking for another day. */
const LONGEST_WAIT_MS = 120_000;

/** The server could not be reached, or not in a way that helps; what was asked for may be all right. */
export class NetworkError extends UserError {}

/** Counts failures in a row, and waits longer after each; gives up in words. */
export class Patience {
  readonly #options: HttpOptions;
  readonly #place: string;
  #failures = 0;
  /** Something came of it once: it is where the page may ask. */
  #hasGained = false;
  /** After the failure before, the server itself could be reached. */
  #hasAnswered = false;

  constructor(place: string, options: HttpOptions) {
    this.#place = place;
    this.#options = options;
  }

  /** Something was gained: failures count from none again. */
  renew(): void {
    this.#failures = 0;
    this.#hasGained = true;
  }

  /** Waits for the next try, or throws: what does not pass, or what has come too often. */
  async after(error: unknown): Promise<void> {
    if (!(error instanceof PassingFault)) throw error;
    this.#failures++;
    if (error instanceof UnreachedFault && !this.#hasGained) await this.#refuseBlocked(error);
    const { tries = MOST_TRIES, wait = sleep, signal } = this.#options;
    const waitMs = error.retryAfterMs ?? FIRST_WAIT_MS * 2 ** (this.#failures - 1);
    if (this.#failures >= tries || waitMs > LONGEST_WAIT_MS) {
      const asked =
        waitMs > LONGEST_WAIT_MS ? `; it asks to wait ${Math.ceil(waitMs / 60_000)} minutes` : "";
      throw new NetworkError(
        `${this.#place} could not be fetched, in ${this.#failures} tries: ${error.message}${asked}.`,
        "Check the connection, then start again: it goes on where it stopped.",
        { cause: error },
      );
    }
    await wait(waitMs, signal);
    signal?.throwIfAborted();
  }

  /** A redirect that the page's content policy blocks looks like a cut line; but then the server itself answers. */
  async #refuseBlocked(error: UnreachedFault): Promise<void> {
    if (this.#hasAnswered && this.#failures >= BLOCKED_TRIES) {
      throw new NetworkError(
        `${this.#place} could not be fetched (${error.message}), though the hub answers: it may send its files from a host that this page does not allow.`,
        "Try again later. If that does not help, whoever hosts this page must allow that host in its content policy; or download the files yourself and add them as a local folder.",
        { cause: error },
      );
    }
    this.#hasAnswered = (await this.#options.answers?.()) ?? false;
  }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}

/** All bytes of an answer, at most `limitBytes`. */
export async function readAll(
  answer: Answer,
  place: string,
  limitBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of answer.chunks()) {
    total += chunk.length;
    if (total > limitBytes) {
      throw new PassingFault(`${place} came with more than the ${limitBytes} bytes asked for`);
    }
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

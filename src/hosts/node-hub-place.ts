// Which hub is asked, as whom, and where its cache is on this machine: the environment variables of
// huggingface_hub, with its defaults.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../base/error.ts";
import type { HttpOptions } from "./http.ts";

export interface HubPlace {
  /** Without a slash at its end. */
  readonly hubUrl: string;
  readonly token: HubToken | undefined;
  /** The folder of `models--org--name` and the like. */
  readonly cache: string;
  /** Nothing is asked for: what is in the cache is all there is. */
  readonly isOffline: boolean;
  readonly http: HttpOptions;
}

export interface HubToken {
  readonly value: string;
  /** Where it was found, for messages: the token itself is in none. */
  readonly source: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const HUB_URL = "https://huggingface.co";

/** Reads the environment. Refuses an address that is none. */
export function hubPlace(environment: Environment = process.env): HubPlace {
  const hubUrl = (environment["HF_ENDPOINT"] || HUB_URL).replace(/\/+$/, "");
  if (!URL.canParse(hubUrl) || !/^https?:$/.test(new URL(hubUrl).protocol)) {
    throw new UsageError(
      `HF_ENDPOINT is "${hubUrl}", which is no address.`,
      `Set it as in ${HUB_URL}, or not at all.`,
    );
  }
  const home = homeOf(environment);
  const token = findToken(environment, home);
  const timeoutMs = 1000 * Number(environment["HF_HUB_DOWNLOAD_TIMEOUT"] || Number.NaN);
  return {
    hubUrl,
    token,
    cache: environment["HF_HUB_CACHE"] || environment["HUGGINGFACE_HUB_CACHE"] || join(home, "hub"),
    isOffline: isTrue(environment["HF_HUB_OFFLINE"]) || isTrue(environment["TRANSFORMERS_OFFLINE"]),
    http: {
      headersFor: (url) => (token && isOwn(url, hubUrl) ? bearer(token) : {}),
      ...(timeoutMs > 0 && { stallMs: timeoutMs }),
    },
  };
}

function bearer({ value }: HubToken): Readonly<Record<string, string>> {
  return { Authorization: `Bearer ${value}` };
}

/**
 * Whether a token may go to that address: to the hub itself alone, and never where others on the way could read
 * it. Files lie on other hosts, to which the hub redirects with a signature in the address.
 */
function isOwn(url: string, hubUrl: string): boolean {
  const { origin, protocol, hostname } = new URL(url);
  if (origin !== new URL(hubUrl).origin) return false;
  return protocol === "https:" || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

function homeOf(environment: Environment): string {
  const cache = environment["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const home = environment["HF_HOME"] || join(cache, "huggingface");
  return home.replace(/^~(?=$|[/\\])/, homedir());
}

function findToken(environment: Environment, home: string): HubToken | undefined {
  const named = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].find((name) => environment[name]?.trim());
  if (named !== undefined) {
    return { value: checkToken(environment[named] ?? "", named), source: named };
  }
  const path = environment["HF_TOKEN_PATH"] || join(home, "token");
  try {
    const text = readFileSync(path, "utf8");
    return text.trim() === "" ? undefined : { value: checkToken(text, path), source: path };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    return undefined; // nobody has signed in here
  }
}

/** A header takes no line end; its words would show the token. */
function checkToken(text: string, source: string): string {
  const token = text.trim();
  if (/^[\x21-\x7E]+$/.test(token)) return token;
  throw new UsageError(
    `The token of ${source} holds characters that no token has.`,
    "Set it to the token alone: hf_ and letters.",
  );
}

/** As huggingface_hub reads it. */
function isTrue(value: string | undefined): boolean {
  return ["1", "on", "yes", "true"].includes((value ?? "").toLowerCase());
}

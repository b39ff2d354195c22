// What tests of a hub share: a file that is put on it, faults one after the other, refusals in words.
import { expect } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { createRandom } from "../../src/base/random.ts";
import { type HubFile, listRepo } from "../../src/hosts/hub.ts";
import type { Fault, HubServer } from "./hub-server.ts";

export const REPO = "org/model";
/** Long for a server in this process, short for a test. */
export const STALL_MS = 400;

export function randomBytes(size: number, seed = 1): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length: size }, () => Math.floor(random.next() * 256));
}

/** Puts one file on the hub; returns it as the hub lists it. */
export async function publishOn(
  hub: HubServer,
  bytes: Uint8Array,
  name = "model.safetensors",
): Promise<HubFile> {
  hub.repos.set(REPO, { files: { [name]: bytes } });
  const { files } = await listRepo(hub.url, { repo: REPO, revision: "main" });
  return files[0] as HubFile;
}

/** One fault for each answer to come; then none. */
export function failOn(hub: HubServer, ...faults: readonly Fault[]): void {
  const left = [...faults];
  hub.fault = () => left.shift();
}

export function reset(hub: HubServer): void {
  Object.assign(hub, { fault: undefined, sentBytes: 0 });
  hub.requests.length = 0;
}

export async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

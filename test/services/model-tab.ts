// What tests of the model store share: a browser in memory, a page, a hub, and small models of every form.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { LocalFile } from "../../src/services/api.ts";
import { createModelStore, type ModelStore } from "../../src/services/model-store.ts";
import { configureStorage } from "../../src/services/storage.ts";
import { writeTinyModel } from "../engine/tiny-folder.ts";
import { ggufFile, type TensorSpec } from "../formats/gguf-file.ts";
import { type HubServer, startHub } from "../hosts/hub-server.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { counting, sizes } from "../model/files/gguf-model.ts";

const PUBLIC = fileURLToPath(new URL("../../public/", import.meta.url));
export const SEEDLING = join(PUBLIC, "models/seedling");

export type Files = Record<string, Uint8Array>;
export const tiny = filesIn(writeTinyModel("BF16"));

/** A browser with empty storage, a page and a hub on this machine, for every test of a file. */
export interface Tab {
  readonly hub: HubServer;
  readonly page: PlayedPage;
  readonly disk: MemoryDisk;
  /** Of a worker that was started before the test. */
  readonly store: ModelStore;
  /** A worker that has just started: it knows nothing but what is stored. */
  open(): ModelStore;
}

export function useTab(): Tab {
  const tab: { -readonly [Key in keyof Tab]: Tab[Key] } = {} as Tab;
  tab.open = () => {
    configureStorage({ hubUrl: tab.hub.url });
    return createModelStore({ hubUrl: tab.hub.url, pageUrl: tab.page.url });
  };
  beforeAll(async () => {
    tab.hub = await startHub();
    tab.page = await startPage();
  });
  afterAll(async () => {
    await tab.hub.close();
    tab.page.server.close();
    tab.page.server.closeAllConnections();
  });
  beforeEach(() => {
    tab.disk = stubBrowser();
    Object.assign(tab.hub, { fault: undefined, sentBytes: 0 });
    tab.hub.repos.clear();
    tab.hub.requests.length = 0;
    Object.assign(tab.page, { isOffline: false, changed: {} });
    tab.page.requests.length = 0;
    tab.store = tab.open();
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    if (tab.disk.openHandles !== 0)
      throw new Error(`${tab.disk.openHandles} handles were left open`);
  });
  return tab;
}

interface PlayedPage {
  readonly url: string;
  readonly server: Server;
  /** Paths below the page's folder, in the order they were asked for. */
  readonly requests: string[];
  isOffline: boolean;
  /** Files that are not those of the repository. */
  changed: Record<string, Uint8Array>;
}

async function startPage(): Promise<PlayedPage> {
  const server = createServer((request, response) => {
    const path = request.url?.replace(/^\/sub\//, "") ?? "";
    played.requests.push(path);
    try {
      if (played.isOffline) response.destroy();
      else response.end(played.changed[path] ?? readFileSync(join(PUBLIC, path)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sub/`;
  const played: PlayedPage = { url, server, requests: [], isOffline: false, changed: {} };
  return played;
}

export function filesIn(folder: string): Files {
  const names = readdirSync(folder);
  return Object.fromEntries(
    names.map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  );
}

export function picked(files: Files, prefix = ""): LocalFile[] {
  return Object.entries(files).map(([name, bytes]) => ({
    path: prefix + name,
    file: new File([new Uint8Array(bytes)], name.split("/").at(-1) ?? name),
  }));
}

export function below(folder: string, files: Files): Files {
  const entries = Object.entries(files).map(([name, bytes]) => [`${folder}/${name}`, bytes]);
  return Object.fromEntries(entries) as Files;
}

export function bytesOf(files: Files): number {
  return Object.values(files).reduce((sum, { length }) => sum + length, 0);
}

export const quiet = (): void => {};

export async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

/** The page with another model of its own: as its config says, one of a longer context. */
export function changeEmbedded(): Files {
  const text = readFileSync(join(SEEDLING, "config.json"), "utf8");
  const config = Buffer.from(text.replace("1024", "2048"));
  const sha256 = createHash("sha256").update(config).digest("hex");
  const list = JSON.parse(readFileSync(join(SEEDLING, "files.json"), "utf8")) as { name: string }[];
  const changed = list.map((file) => (file.name === "config.json" ? { ...file, sha256 } : file));
  return {
    "models/seedling/config.json": config,
    "models/seedling/files.json": Buffer.from(JSON.stringify(changed)),
  };
}

/** All that is kept below hone/models but the records. */
export async function storedNames(): Promise<string[]> {
  const models = (await openOpfs()).folder("models");
  const names: string[] = [];
  for (const id of await models.list()) {
    for (const part of await models.folder(id).list()) {
      const inside = await models.folder(id).folder(part).list();
      names.push(...inside.map((name) => `${id}/${part}/${name}`));
    }
  }
  return names;
}

const tensor = (shape: number[]) => ({
  dtype: "F32" as const,
  shape,
  bytes: new Uint8Array(4 * (shape[0] ?? 0) * (shape[1] ?? 0)),
});

/** An adapter of PEFT's form for the tiny model's first query map. */
export function adapterFiles(more: Record<string, unknown> = {}): Files {
  const config = {
    peft_type: "LORA",
    r: 2,
    lora_alpha: 4,
    target_modules: ["q_proj"],
    base_model_name_or_path: "org/tiny",
    ...more,
  };
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  const tensors = new Map([
    [`${module}.lora_A.weight`, tensor([2, 64])],
    [`${module}.lora_B.weight`, tensor([64, 2])],
  ]);
  return {
    "adapter_config.json": Buffer.from(JSON.stringify(config)),
    "adapter_model.safetensors": encodeSafetensors(tensors),
  };
}

/** A model of one file, with a tokenizer of bytes. */
export function tinyGguf(): Uint8Array {
  let extra = 256;
  const tokens = Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isPrintable ? byte : extra++);
  });
  const metadata = {
    ...sizes("llama", { embedding_length: 64, feed_forward_length: 128, block_count: 1 }),
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "llama-bpe",
    "tokenizer.ggml.tokens": [...tokens, "<s>", "12"],
    "tokenizer.ggml.token_type": Int32Array.from([...tokens.map(() => 1), 3, 1]),
    "tokenizer.ggml.merges": ["1 2"],
    "tokenizer.ggml.bos_token_id": 256,
    "tokenizer.ggml.eos_token_id": 256,
  };
  const shapes: Record<string, number[]> = {
    token_embd: [258, 64],
    output_norm: [64],
    "blk.0.attn_norm": [64],
    "blk.0.ffn_norm": [64],
    "blk.0.attn_q": [64, 64],
    "blk.0.attn_k": [32, 64],
    "blk.0.attn_v": [32, 64],
    "blk.0.attn_output": [64, 64],
    "blk.0.ffn_gate": [128, 64],
    "blk.0.ffn_up": [128, 64],
    "blk.0.ffn_down": [64, 128],
  };
  const tensors = Object.entries(shapes).map(([name, shape]) => [
    `${name}.weight`,
    counting(shape),
  ]);
  return ggufFile(metadata, Object.fromEntries(tensors) as Record<string, TensorSpec>);
}

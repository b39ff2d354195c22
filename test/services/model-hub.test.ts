// Models of the hub: told before the download, verified, gone on with after every interruption.
import { describe, expect, test, vi } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openModelLayout } from "../../src/engine/model-source.ts";
import type { HubModel } from "../../src/services/api.ts";
import { modelFolder } from "../../src/services/storage.ts";
import type { Fault } from "../hosts/hub-server.ts";
import {
  adapterFiles,
  below,
  bytesOf,
  type Files,
  quiet,
  refusal,
  storedNames,
  tiny,
  tinyGguf,
  useTab,
} from "./model-tab.ts";

const tab = useTab();

describe("a model of the hub", () => {
  test("tells its size and facts before the download, and is read whole after it", async () => {
    tab.hub.repos.set("org/tiny", {
      files: {
        ...tiny,
        "README.md": Buffer.alloc(10),
        "onnx/model.onnx": Buffer.alloc(10),
        "model.onnx": Buffer.alloc(1),
      },
    });
    const found = await tab.store.resolveHub(`${tab.hub.url}/org/tiny/tree/main`);
    expect(found).toMatchObject({
      repo: "org/tiny",
      revision: "main",
      kind: "model",
      totalBytes: bytesOf(tiny),
      partialBytes: 0,
      estimateId: `hub:org/tiny@${found.commit}`,
      facts: { family: "llama", storedAs: "bf16", hasChatTemplate: true },
    });
    expect(found.refusal).toBeUndefined();
    expect(found.files.map(({ name }) => name).toSorted()).toEqual(Object.keys(tiny).toSorted());
    expect(tab.hub.sentBytes, "of the weights only the header").toBeLessThan(200_000);
    const layout = await openModelLayout(await modelFolder(found.estimateId));
    expect(layout.files.tensors.size).toBe(2 + 2 * 9);

    tab.hub.sentBytes = 0;
    const seen: [number, number][] = [];
    const model = await tab.store.download(found, (...counts) => seen.push(counts));
    expect(model).toMatchObject({
      kind: "model",
      name: "org/tiny",
      bytes: found.totalBytes,
      origin: { kind: "hub", repo: "org/tiny", revision: "main", commit: found.commit },
      facts: found.facts,
    });
    expect(model.id).toMatch(/^org-tiny-[0-9a-f]{8}$/);
    expect(seen.at(-1)).toEqual([found.totalBytes, found.totalBytes]);
    for (const [name, bytes] of Object.entries(tiny)) {
      expect(Buffer.from(bytes).equals(await (await modelFolder(model.id)).read(name)), name).toBe(
        true,
      );
    }
    const { sentBytes } = tab.hub;
    expect(await tab.store.download(found, quiet), "it is there already").toEqual(model);
    expect(tab.hub.sentBytes).toBe(sentBytes);
    expect((await tab.store.resolveHub("org/tiny")).partialBytes).toBe(found.totalBytes);
  });

  test("that is canceled is listed with what came, and goes on in another tab", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    tab.hub.fault = ({ path, range }) => {
      if (range !== undefined || !path.endsWith("model.safetensors")) return undefined;
      setTimeout(() => void tab.store.cancelDownload("org/tiny"), 50); // the first part has come by then
      return { kind: "stall", afterBytes: 200_000 };
    };
    expect(await refusal(tab.store.download(found, quiet))).toContain(
      "The download of org/tiny was stopped; what came so far is kept.",
    );
    const [half] = await tab.open().listModels();
    expect(half?.facts).toBeUndefined();
    expect(half?.partialBytes).toBeGreaterThan(0);
    expect(half?.partialBytes).toBeLessThan(found.totalBytes);
    expect(await refusal(modelFolder(half?.id ?? ""))).toContain(
      "The model org/tiny is not complete.",
    );
    tab.hub.fault = undefined;
    const other = tab.open();
    // By its id: the commit it was begun at, whatever main is by now.
    const again = await other.resolveHub(half?.id ?? "");
    expect(again.estimateId).toBe(found.estimateId);
    expect(again.partialBytes).toBe(half?.partialBytes);
    const model = await other.download(again, quiet);
    expect(model.id).toBe(half?.id);
    expect(model.partialBytes).toBeUndefined();
    await openModelFolder(await modelFolder(model.id));
  });

  test.each<[string, Fault]>([
    ["a refusal", { kind: "status", status: 403 }],
    ["that it is gone", { kind: "status", status: 404 }],
    ["a status nobody knows", { kind: "status", status: 520 }],
    ["all of the file where a part was asked for", { kind: "whole" }],
  ])("that meets %s when it goes on keeps what came", async (_name, fault) => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    tab.hub.fault = ({ path, range }) => {
      if (range !== undefined || !path.endsWith("model.safetensors")) return undefined;
      setTimeout(() => void tab.store.cancelDownload("org/tiny"), 50);
      return { kind: "stall", afterBytes: 200_000 };
    };
    await refusal(tab.store.download(found, quiet));
    const [half] = await tab.store.listModels();
    tab.hub.fault = () => fault;
    await refusal(tab.open().download(found, quiet));
    expect((await tab.store.listModels())[0]?.partialBytes).toBe(half?.partialBytes);
    tab.hub.fault = undefined;
    tab.hub.sentBytes = 0;
    await tab.store.download(found, quiet);
    expect(tab.hub.sentBytes).toBeLessThan(bytesOf(tiny) - 200_000 + 132_000); // and its header
  });

  test("that cannot be read when it is here stays for another look", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    const download = tab.store.download(found, (bytes, totalBytes) => {
      if (bytes < totalBytes) return;
      tab.disk.fault = (operation, name) => {
        if (operation === "getFile" && name === "config.json") {
          throw new DOMException("busy", "NotReadableError");
        }
      };
    });
    expect(await refusal(download)).toContain("config.json could not be read");
    tab.disk.fault = undefined;
    tab.hub.sentBytes = 0;
    await tab.store.download(found, quiet);
    expect(tab.hub.sentBytes).toBeLessThan(132_000); // the header, once more
  });

  test("whose files lie where the page may not ask is told so, and not as a bad connection", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const { fetch } = globalThis;
    let asked = 0;
    vi.stubGlobal("fetch", (url: string, options: RequestInit) => {
      // As a redirect that the page's policy blocks.
      if (!url.includes("/resolve/")) return fetch(url, options);
      asked++;
      return Promise.reject(new TypeError("Failed to fetch"));
    });
    expect(await refusal(tab.store.resolveHub("org/tiny"))).toMatch(
      /^org\/tiny\/\S+ could not be fetched \(Failed to fetch\), though the hub answers: it may send its files from a host that this page does not allow\.\n/,
    );
    expect(asked).toBeLessThan(4);
  });

  test("that is cut twice and flipped once is whole in the end", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    let count = 0;
    tab.hub.fault = ({ path }) => {
      if (!path.endsWith("model.safetensors")) return undefined;
      count++;
      if (count === 2 || count === 3) return { kind: "cut", afterBytes: 70_000 };
      return count === 4 ? { kind: "flip", at: 200_000, bit: 5 } : undefined;
    };
    const { id } = await tab.store.download(found, quiet);
    expect(
      Buffer.from(tiny["model.safetensors"]!).equals(
        await (await modelFolder(id)).read("model.safetensors"),
      ),
    ).toBe(true);
  });

  test("of whose files one is wrong for good is refused, and the others stay for the next try", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    tab.hub.fault = ({ path, range }) =>
      path.endsWith("model.safetensors") && range === undefined
        ? { kind: "flip", at: 200_000, bit: 5 }
        : undefined;
    expect(await refusal(tab.store.download(found, quiet))).toContain("its SHA-256 is wrong");
    const [half] = await tab.store.listModels();
    const { "model.safetensors": weights, ...others } = tiny;
    expect(half?.partialBytes).toBe(bytesOf(others));
    tab.hub.fault = undefined;
    tab.hub.sentBytes = 0;
    await tab.store.download(found, quiet);
    expect(tab.hub.sentBytes).toBeLessThan(weights!.length + 132_000); // and its header, once more
  });

  test("of whose tokenizer nothing can be made costs no weights, and leaves nothing behind", async () => {
    const broken = { ...tiny, "tokenizer.json": Buffer.from('{"model":{"type":"Odd"}}') };
    tab.hub.repos.set("org/odd", { files: broken });
    const found = await tab.store.resolveHub("org/odd");
    tab.hub.sentBytes = 0;
    expect(await refusal(tab.store.download(found, quiet))).toContain("tokenizer");
    expect(tab.hub.sentBytes).toBeLessThan(200_000);
    expect(await tab.store.listModels()).toEqual([]);
    expect(await storedNames()).toEqual([]);
  });

  test.each<[string, Files, string, RegExp]>([
    ["gated", tiny, "org/x", /^org\/x is gated: 127\.0\.0\.1:\d+ gives its files only to those/],
    [
      "a pickle that is none",
      { "config.json": tiny["config.json"]!, "pytorch_model.bin": Buffer.alloc(9) },
      "org/x",
      /pytorch_model\.bin is no file of torch\.save/,
    ],
    [
      "of an unknown kind",
      { ...tiny, "config.json": Buffer.from('{"model_type":"mamba"}') },
      "org/x",
      /model_type is "mamba"/,
    ],
    [
      "many GGUF files",
      { "a.Q4_K_M.gguf": tinyGguf(), "a.Q8_0.gguf": tinyGguf(), "mmproj-a.gguf": Buffer.alloc(3) },
      "org/x",
      /^org\/x has 2 GGUF files: a\.Q4_K_M\.gguf \(\d.*\nPaste the link of the one you want/,
    ],
    ["empty", {}, "org/x", /has no files/],
    ["without that folder", tiny, "org/x@main/sub", /has no file or folder sub/],
  ])("that is %s is told with the reason", async (name, files, text, words) => {
    tab.hub.repos.set("org/x", { files, ...(name === "gated" && { gated: "auto" as const }) });
    const found = await tab.store.resolveHub(text);
    expect(found.refusal).toMatch(words);
    expect(await refusal(tab.store.download(found, quiet))).toMatch(words);
    expect(await tab.store.listModels()).toEqual([]);
    expect(tab.disk.usedBytes()).toBe(0);
  });

  test("is refused where it is not there, leads elsewhere, or the network is down", async () => {
    expect(await refusal(tab.store.resolveHub("no/such"))).toContain(
      "The model no/such on 127.0.0.1",
    );
    expect(await refusal(tab.store.resolveHub("https://example.com/a/b"))).toContain(
      "leads to example.com",
    );
    expect(await refusal(tab.store.resolveHub("datasets/a/b"))).toContain("is a data set");
    expect(await refusal(modelFolder("hub:no/such@main"))).toContain("The model no/such");
  });

  test("in one GGUF file is taken by its link, alone", async () => {
    tab.hub.repos.set("org/q", {
      files: { "a b.Q4.gguf": tinyGguf(), "c.gguf": tinyGguf(), "config.json": Buffer.from("{}") },
    });
    const found = await tab.store.resolveHub(`${tab.hub.url}/org/q/blob/main/a%20b.Q4.gguf`);
    expect(found).toMatchObject({
      kind: "model",
      facts: { vocab: 258 },
      estimateId: `hub:org/q@${found.commit}/a b.Q4.gguf`,
    });
    expect((await openModelFolder(await modelFolder(found.estimateId))).architecture.vocab).toBe(
      258,
    );
    const model = await tab.store.download(found, quiet);
    expect(model).toMatchObject({ name: "org/q/a b.Q4.gguf", facts: found.facts });
    expect(await (await modelFolder(model.id)).list()).toEqual(["a b.Q4.gguf"]);
  });

  test("that is an adapter, in a folder of its repo, knows its base", async () => {
    const inside = below("step 9", adapterFiles());
    tab.hub.repos.set("org/poet", { files: { ...inside, "README.md": Buffer.alloc(3) } });
    const found = await tab.store.resolveHub("org/poet@main/step 9");
    expect(found).toMatchObject({ kind: "adapter", baseModel: "org/tiny" });
    expect(found.facts).toBeUndefined();
    const adapter = await tab.store.download(found, quiet);
    expect(adapter).toMatchObject({
      kind: "adapter",
      baseModel: "org/tiny",
      name: "org/poet/step 9",
    });
    expect(await (await modelFolder(adapter.id)).list()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
  });

  test("for which there is no room is refused with the numbers before it begins", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const found = await tab.store.resolveHub("org/tiny");
    tab.disk.quotaBytes = 300_000;
    expect(await refusal(tab.store.download(found, quiet))).toMatch(
      /^org\/tiny needs .* the browser allows this site 293\.0 KiB/,
    );
    expect(tab.hub.sentBytes).toBeLessThan(200_000);
  });
});

test("what the page hands back of a model of the hub is not believed", async () => {
  tab.hub.repos.set("org/tiny", { files: tiny });
  const found = await tab.store.resolveHub("org/tiny");
  const forged: HubModel = {
    ...found,
    files: [{ name: "../../evil", bytes: 1 }],
    totalBytes: 1,
    partialBytes: -1,
  };
  const model = await tab.store.download(forged, quiet);
  expect(model.bytes).toBe(found.totalBytes);
  expect((await storedNames()).map((name) => name.split("/").at(-1))).toEqual(
    Object.keys(tiny).toSorted(),
  );
});

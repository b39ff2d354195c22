// The layers of ARCHITECTURE.md, checked. A failure names the import to remove.
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { parseSync } from "vite";
import { describe, expect, test } from "vitest";

/**
 * Each part and the parts it may import. Anything may import the types of `engine`, and the page those of
 * `services`.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  config: ["base"],
  formats: ["base"],
  gpu: ["base"],
  kernels: ["base", "gpu", "shaders"],
  data: ["base", "formats"],
  model: ["base", "config", "formats", "gpu", "kernels"],
  train: ["base", "config", "gpu", "kernels", "model"],
  export: ["base", "formats", "gpu", "kernels", "model"],
  engine: ["base", "config", "formats", "gpu", "kernels", "data", "model", "train", "export"],
  hosts: ["base"],
  xtuner: ["base", "config", "data"],
  cli: ["base", "config", "data", "engine", "hosts", "xtuner"],
  services: [
    "base",
    "config",
    "formats",
    "gpu",
    "data",
    "model",
    "train",
    "export",
    "engine",
    "hosts",
    "xtuner",
  ],
  workers: ["services"],
  ui: ["base", "config", "hosts", "workers"],
};

/** Where Node's own modules may be used: everything else runs in a browser too. */
const MAY_USE_NODE = /^src\/(cli\/|hosts\/node)/;

/** Every package that ships with Hone or in its page, and the only parts that may import it. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@huggingface/jinja": ["formats"],
  "@lezer/common": ["xtuner"],
  "@lezer/python": ["xtuner"],
  "@sparticuz/chromium": [],
  commander: ["cli"],
  hyparquet: ["data"],
  "hyparquet-compressors": ["data"],
  koffi: ["hosts"],
  "tar-fs": ["hosts"],
  webgpu: ["hosts"],
  yaml: ["config"],
};

/** Packages built into the page, so no dependencies of the installed package. */
const PAGE_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@kobalte/core": ["ui"],
  "client-zip": ["services"],
  comlink: ["services", "ui", "workers"],
  "hash-wasm": ["hosts"],
  marked: ["ui"],
  "solid-js": ["ui"],
  uplot: ["ui"],
  virtua: ["ui"],
};

/** Parts of parts: a group of files that do one thing together. */
const NESTED =
  /^src\/(ui\/(screens|parts|text)|engine\/(answers|datasets|exports|runs|tuning)|model\/files)\//;

const root = join(import.meta.dirname, "..");
const sources = [...filesIn("src"), ...filesIn("workers")].filter((file) =>
  /(?<!\.d)\.tsx?$/.test(file),
);

describe("layers", () => {
  test.each(sources)("%s imports only what its layer may", (file) => {
    const part = partOf(file);
    const forbidden = importsOf(file).filter(({ specifier, isTypeOnly }) => {
      if (specifier.startsWith("node:")) return !MAY_USE_NODE.test(file);
      if (!specifier.startsWith(".")) {
        const name = packageOf(specifier);
        return !(PACKAGES[name] ?? PAGE_PACKAGES[name] ?? []).includes(part);
      }
      const target = partOf(relative(root, join(root, dirname(file), specifier)));
      const isAllowed = target === part || MAY_IMPORT[part]?.includes(target) === true;
      const isTypeFrom =
        isTypeOnly && (target === "engine" || (part === "ui" && target === "services"));
      return !isAllowed && !isTypeFrom;
    });
    expect(forbidden).toEqual([]);
  });

  test("every file is in a part that has rules, one folder deep; what has groups of its own, two", () => {
    const stray = sources.filter(
      (file) =>
        !(partOf(file) in MAY_IMPORT) || file.split("/").length > (NESTED.test(file) ? 4 : 3),
    );
    expect(stray).toEqual([]);
  });

  test("the packages that ship are those named here", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
    };
    expect(Object.keys(manifest.dependencies).toSorted()).toEqual(Object.keys(PACKAGES).toSorted());
  });
});

describe("kernels", () => {
  const shaders = filesIn("shaders").filter((file) => /^shaders\/[^/]+\.wgsl$/.test(file));

  test("there are shaders, and the rules below are about something", () => {
    expect(shaders).not.toEqual([]);
  });

  test.each(shaders)("%s is read by the wrapper of its name, which has a test", (shader) => {
    const stem = basename(shader, ".wgsl");
    const wrapper = `src/kernels/${stem}.ts`;
    expect(sources).toContain(wrapper);
    expect(importsOf(wrapper).map(({ specifier }) => specifier)).toContain(
      `../../shaders/${stem}.wgsl?raw`,
    );
    expect(filesIn("test/kernels")).toContain(`test/kernels/${stem}.test.ts`);
  });

  test("no shader's text is put together from pieces: WGSL stays in .wgsl files", () => {
    const inline = sources.filter((file) =>
      /@compute\b|var<(storage|workgroup|uniform)/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(inline).toEqual([]);
  });
});

test("the oracles in test/reference share no code with what they judge", () => {
  const oracles = filesIn("test/reference").filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts"),
  );
  const shared = oracles.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier }) => /(^|\/)(src|shaders)\//.test(specifier))
      .map(({ specifier }) => `${file} imports ${specifier}`),
  );
  expect(oracles).not.toEqual([]);
  expect(shared).toEqual([]);
});

/** Files below a folder, by path from the root with "/" between its parts; none if it is not there. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
  } catch {
    return [];
  }
}

/** "src/gpu/tensor.ts" → "gpu"; "src/config/read.ts" → "config"; "shaders/adamw.wgsl?raw" → "shaders". */
function partOf(path: string): string {
  const [part = ""] = path
    .replaceAll("\\", "/")
    .replace(/^src\//, "")
    .split(/[/.]/);
  return part;
}

/** "@huggingface/jinja" and "solid-js/web" → the package's own name. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function importsOf(file: string): { specifier: string; isTypeOnly: boolean }[] {
  const text = readFileSync(join(root, file), "utf8");
  const { program, module } = parseSync(file, text);
  const dynamic = module.dynamicImports.map(({ moduleRequest }) => ({
    specifier: text.slice(moduleRequest.start + 1, moduleRequest.end - 1),
    isTypeOnly: false,
  }));
  const statements = program.body.flatMap((node) => {
    if (node.type === "ImportDeclaration") {
      return [{ specifier: node.source.value, isTypeOnly: node.importKind === "type" }];
    }
    if (node.type === "ExportAllDeclaration" || node.type === "ExportNamedDeclaration") {
      const specifier = node.source?.value;
      return specifier ? [{ specifier, isTypeOnly: node.exportKind === "type" }] : [];
    }
    return [];
  });
  return [...statements, ...dynamic];
}

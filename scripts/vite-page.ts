// Vite plugins for the built page: what it may do (Content-Security-Policy, Trusted Types), and the service
// worker with the list of the page's files.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import type { HtmlTagDescriptor, Plugin } from "vite";
import { contentPolicy, DEFAULT_HUB } from "./page-policy.mjs";

/** For the page's build alone: the development server runs without policy and without service worker. */
export function pagePlugins(): Plugin[] {
  return [trustedTemplates(), contentSecurity(), serviceWorker()];
}

/** Puts src/ui/solid-runtime.ts in the place of solid-js/web for everyone but itself, packages included. */
function trustedTemplates(): Plugin {
  const runtime = "/src/ui/solid-runtime.ts";
  return {
    name: "hone-trusted-templates",
    apply: "build",
    enforce: "pre",
    resolveId: {
      filter: { id: /^solid-js\/web$/ },
      async handler(_source, importer) {
        return importer?.endsWith(runtime) ? null : await this.resolve(runtime, importer);
      },
    },
  };
}

/** Writes the policy into index.html, and refuses what it would block there. */
function contentSecurity(): Plugin {
  return {
    name: "hone-content-security",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler(html): HtmlTagDescriptor[] {
        const inline = /<script(?![^>]*\ssrc=)[^>]*>|<style[\s>]|\sstyle=|\son\w+=/i.exec(html);
        if (inline)
          throw new Error(`index.html has inline code, which its policy blocks: ${inline[0]}`);
        const attributes = {
          "http-equiv": "Content-Security-Policy",
          content: contentPolicy(DEFAULT_HUB),
        };
        return [{ tag: "meta", attrs: attributes, injectTo: "head-prepend" }];
      },
    },
  };
}

/** Builds workers/service.worker.ts to sw.js, and writes the list of all other files into it. */
function serviceWorker(): Plugin {
  return {
    name: "hone-service-worker",
    apply: "build",
    buildStart() {
      this.emitFile({ type: "chunk", id: "workers/service.worker.ts", fileName: "sw.js" });
    },
    // After everything is on disk, the public folder too.
    writeBundle: {
      order: "post",
      handler({ dir }, bundle) {
        if (!dir || !bundle["sw.js"]) return;
        const file = join(dir, "sw.js");
        const parts = readFileSync(file, "utf8").split(/["'`]HONE_FILES["'`]/);
        if (parts.length !== 2) throw new Error("sw.js has no single place for the list of files");
        if (/\b(import|export)\b\s*[{"'`*]/.test(parts.join("")))
          throw new Error("sw.js is not one file");
        writeFileSync(file, parts.join(JSON.stringify(pageFiles(dir))));
      },
    },
  };
}

/** [path, SHA-256] of all that the page consists of: not the command line, not the worker itself. */
function pageFiles(dist: string): [string, string][] {
  return readdirSync(dist, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dist, join(entry.parentPath, entry.name)).split(sep).join(posix.sep))
    .filter((path) => path !== "sw.js" && !path.startsWith("cli/") && !path.endsWith(".map"))
    .toSorted()
    .map((path) => [
      path,
      createHash("sha256")
        .update(readFileSync(join(dist, path)))
        .digest("base64"),
    ]);
}

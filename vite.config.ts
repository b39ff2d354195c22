// One configuration for the page, the command line's bundle and the tests.
import { availableParallelism } from "node:os";
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";
import { kernelsId } from "./scripts/kernels-id.ts";
import { pagePlugins } from "./scripts/vite-page.ts";
import { SpreadSequencer } from "./test/sequencer.ts";

/** Tests that dispatch to an adapter. Each file is a process of its own, since Dawn may not be shared. */
const GPU_TESTS = ["test/{gpu,kernels,model,train,export,engine}/**/*.test.ts"];

export default defineConfig(({ isSsrBuild }) => ({
  base: "./",
  // The tests compile no page; the plugin would ask for jsdom.
  plugins: process.env["VITEST"] ? [] : [solid(), ...(isSsrBuild ? [] : pagePlugins())],
  worker: { format: "es" },
  define: { KERNELS_BUILD: JSON.stringify(kernelsId()) },
  // The command line is one file and carries no copy of the page's public folder.
  build: isSsrBuild ? { target: "node20", copyPublicDir: false } : { target: "esnext" },
  test: {
    // Vitest would leave a core to itself; most of the time here is spent in software GPUs.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: SpreadSequencer },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.{ts,tsx}"],
          testTimeout: 60_000, // what takes a second takes ten on a busy machine
          hookTimeout: 60_000,
          exclude: [...GPU_TESTS, "test/{cli,interop,browser}/**"],
          environment: "node",
          // To start a process for each took as long as the tests: what they stub, they take back.
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: "gpu",
          include: GPU_TESTS,
          environment: "node",
          pool: "forks",
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "cli",
          include: ["test/cli/**/*.test.ts"],
          environment: "node",
          pool: "forks",
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          globalSetup: ["test/browser/set-up.ts"],
          environment: "node",
          pool: "forks",
          // A first visit trains for a minute on a machine of its own, and others run beside it.
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "interop",
          // Left out of `npm test`, which needs no Python.
          include: ["test/interop/**/*.test.ts"],
          environment: "node",
          pool: "forks",
          // The fastest adapter here, for SmolLM2's sake.
          env: { HONE_ADAPTER: process.env["HONE_ADAPTER"] ?? "auto" },
          // PyTorch takes every core by itself.
          fileParallelism: false,
          // A hundred steps of SmolLM2 take minutes on llvmpipe, and most of an hour on SwiftShader.
          testTimeout: 5_400_000,
          hookTimeout: 1_800_000,
        },
      },
    ],
  },
}));

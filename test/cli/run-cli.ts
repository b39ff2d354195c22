// Runs the built command line as a person would, in a folder of its own.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export const CLI = join(import.meta.dirname, "../../dist/cli/main.js");

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly folder?: string;
  readonly input?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
}

/** An empty folder that goes when the test does. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "hone-cli-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function hone(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(CLI)) throw new Error("dist/cli is not built: run npm run build first");
  const folder = options.folder ?? temporaryFolder();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      cwd: folder,
      env: { ...environment(), ...options.environment },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(options.input ?? "");
  });
}

/** As outside of tests and CI, but without color, and on the adapter under test. */
export function environment(): NodeJS.ProcessEnv {
  return { HONE_ADAPTER: "swiftshader", ...withoutTestVariables(), NO_COLOR: "1" };
}

function withoutTestVariables(): NodeJS.ProcessEnv {
  const left = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|FORCE_COLOR|CI$)/.test(name),
  );
  return Object.fromEntries(left);
}

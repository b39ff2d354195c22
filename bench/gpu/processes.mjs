// Runs a program with what it says shown, kept and logged, and ends it with all that it started at a time limit.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

const running = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of running) end(child);
    process.exit(130);
  });
}

/** `reason` says in a line what went wrong, undefined if nothing did; `isLate` that it was the time. */
export function start(command, args, { log, cwd, env, limit }) {
  return new Promise((done) => {
    // A group of its own: tests and PyTorch have processes that hold the GPU.
    const child = spawn(command, args, { cwd, env, detached: true });
    running.add(child);
    let output = "";
    let errors = "";
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        end(child);
      },
      Math.max(limit, 0),
    );
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => {
      errors += data;
      process.stdout.write(data);
    });
    const finish = (code, problem) => {
      clearTimeout(timer);
      running.delete(child);
      writeFileSync(log, `${output}\n${errors}\n`);
      const reason = code === 0 ? undefined : `${problem ?? whyOf(errors || output)} (${log})`;
      done({ code, output, isLate, reason });
    };
    child.on("error", (error) => finish(1, error.message));
    child.on("close", (code, signal) => {
      const minutes = (limit / 60_000).toFixed(1);
      const ended = isLate ? `ended after ${minutes} minutes` : signal && `ended by ${signal}`;
      finish(code ?? 1, ended ?? undefined);
    });
  });
}

function end({ pid }) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It is gone.
  }
}

/** The first line that tells of an error, else the last that says something: Dawn's remarks on limits do not. */
function whyOf(text) {
  const lines = text.split("\n").map((line) => line.trim());
  const error = lines.find((line) => /^(?:\w*Error|internal|Found no)\b/.test(line));
  return (
    error ??
    lines.filter((line) => /\w/.test(line) && !/^Warning: max|^at |^Node\.js v/.test(line)).at(-1)
  );
}

// What every peer's process does: answers its parent's requests one after the other.
import { readFileSync } from "node:fs";

/**
 * Answers `{ id, method, params }` with `{ id, result }` or `{ id, error }` of `methods[method](params)`, and
 * ends with the parent.
 */
export function serve(methods) {
  let last = Promise.resolve();
  process.on("message", ({ id, method, params }) => {
    last = last.then(async () => {
      try {
        process.send({ id, result: await methods[method](params) });
      } catch (error) {
        process.send({ id, error: String(error?.message ?? error) });
      }
    });
  });
  process.on("disconnect", () => process.exit(0)); // Dawn may keep the process alive
  process.send({ id: 0 });
}

/** What `work` takes: milliseconds, and those of all cores together. */
export async function timed(work) {
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await work();
  const milliseconds = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  return { milliseconds, cpuMilliseconds: (user + system) / 1000 };
}

/** The Vulkan drivers that this process has loaded: what can be told of a peer that names no adapter. */
export function loadedDrivers() {
  try {
    const paths = readFileSync("/proc/self/maps", "utf8").match(/\/\S+\.so\S*/g) ?? [];
    const names = paths.map((path) => path.split("/").at(-1) ?? path);
    const drivers = names.filter((name) => /vulkan_|swiftshader|nvidia|GLX_nv/.test(name));
    return [...new Set(drivers)];
  } catch {
    return [];
  }
}

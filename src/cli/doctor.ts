// hone doctor: what this machine offers, what was tried, and what that means for a run.
import { arch, availableParallelism, platform, release, totalmem } from "node:os";
import { Command } from "commander";
import { AbortedError, messageOf } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import type { KernelsRequest, KernelTable } from "../engine.ts";
import { listConfigs } from "./config-zoo.ts";
import { formatKernelTable, showTrying } from "./kernel-table.ts";
import { findPublic, packageVersion } from "./package-files.ts";
import { EMBEDDED_MODEL } from "./paths.ts";
import {
  EXIT,
  type ExitCode,
  type Runner,
  type Session,
  untilStopped,
  withEngine,
} from "./session.ts";

export function doctorCommand(run: Runner): Command {
  return new Command("doctor")
    .description("Say which GPU or software stand-in would be used here, and why.")
    .addHelpText("after", "\nExample:\n  hone --tune quick doctor")
    .action(() => run(doctor));
}

async function doctor(session: Session): Promise<ExitCode> {
  const { output, adapter: choice } = session;
  const { bold, green, red } = output.paint;
  const machine = {
    hone: packageVersion(),
    node: process.versions.node,
    system: `${platform()} ${release()} ${arch()}`,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
  };
  output.print(
    `Hone ${machine.hone}, Node ${machine.node}, ${machine.system}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} of memory\n`,
  );
  output.emit("machine", { ...machine });
  const model = findPublic("models", EMBEDDED_MODEL);
  output.print(`Built-in model: ${model ?? red("missing")}\n`);
  output.print(`Ready-made configs: ${listConfigs().length}\n\n`);
  try {
    const found = await inspect(choice);
    output.emit("adapter", { ...found });
    output.print(`${bold("Adapter")}: ${found.name} (${found.kind})\n`);
    for (const line of found.tried) output.print(`  ${line}\n`);
    for (const line of describe(found)) output.print(`  ${line}\n`);
    const { kernels, isStopped } = await findKernels(session);
    output.emit("kernels", kernels);
    for (const line of formatKernelTable(kernels)) output.print(`${line}\n`);
    if (isStopped) return EXIT.killed;
    output.print(`${green("Ready.")} Try: hone demo\n`);
    return EXIT.done;
  } catch (error) {
    const [problem = "", remedy = ""] = messageOf(error).split("\n");
    output.emit("error", { problem, remedy });
    output.print(`${red("No adapter.")} ${problem}\n${remedy}\n`);
    return EXIT.failed;
  }
}

const STOPPING = "Stopping: what was found is kept; press Ctrl-C again to quit at once.";

/** What earlier commands have found by trying; with --tune, what is found now, as far as it is let. */
async function findKernels(
  session: Session,
): Promise<{ readonly kernels: KernelTable; readonly isStopped: boolean }> {
  const { output, tune } = session;
  const ask = (request?: KernelsRequest) =>
    withEngine(session, (engine) => engine.kernels(request));
  if (tune === undefined || tune === "off") {
    return { kernels: await ask(tune && { tune }), isStopped: false };
  }
  const listener = { onTrying: showTrying(output) };
  try {
    const kernels = await untilStopped(
      session,
      (signal) => ask({ tune, ...listener, signal }),
      STOPPING,
    );
    return { kernels, isStopped: false };
  } catch (error) {
    if (!(error instanceof AbortedError)) throw error;
    return { kernels: await ask(), isStopped: true };
  } finally {
    output.status(undefined);
  }
}

interface Inspection {
  readonly name: string;
  readonly kind: string;
  readonly tried: readonly string[];
  readonly hasF16: boolean;
  readonly hasTimestamps: boolean;
  readonly maxBindingBytes: number;
  readonly maxBufferBytes: number;
  readonly workgroupBytes: number;
}

/** Finds the adapter that a run would use and opens a device on it once. */
async function inspect(choice: Session["adapter"]): Promise<Inspection> {
  const { findAdapter } = await import("../hosts/node-gpu.ts");
  const { adapter, kind, tried } = await findAdapter(choice);
  const { info, limits, features } = adapter;
  const device = await adapter.requestDevice({ label: "hone.doctor" });
  device.destroy();
  return {
    name: info.description || [info.vendor, info.architecture, info.device].join(" ").trim(),
    kind,
    tried,
    hasF16: features.has("shader-f16"),
    hasTimestamps: features.has("timestamp-query"),
    maxBindingBytes: limits.maxStorageBufferBindingSize,
    maxBufferBytes: limits.maxBufferSize,
    workgroupBytes: limits.maxComputeWorkgroupStorageSize,
  };
}

function describe(found: Inspection): string[] {
  const f16 = found.hasF16
    ? "yes: activations and unpacked weights take half the memory"
    : "no: everything is f32, which is correct and takes twice the memory";
  return [
    `f16 in shaders: ${f16}`,
    `timestamps: ${found.hasTimestamps ? "yes" : "no: benchmarks time whole submits"}`,
    `largest binding ${formatBytes(found.maxBindingBytes)}, largest buffer ${formatBytes(found.maxBufferBytes)}, workgroup memory ${formatBytes(found.workgroupBytes)}`,
    ...(found.kind === "gpu"
      ? []
      : ["this is a software stand-in: fit for small models and for trying Hone"]),
  ];
}

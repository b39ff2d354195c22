// The record of run.mjs as text: Hone, PyTorch and their ratio, by shape; what the adapter does at its best; what failed.

export function tableOf(record) {
  const of = Object.entries(record.shapes);
  const head = [
    `GPU: ${record.gpu ?? adapterOf(record) ?? "unknown"}; Hone ${record.commit ?? ""}, ${record.date}; rows of ${record.tokens} tokens.`,
    testLine(record),
  ];
  const rows = [["shape", "what", "Hone", "PyTorch", "ratio"]];
  for (const [shape, { hone, torch }] of of) rows.push(...rowsOf(shape, hone, torch));
  const table = rows.length > 1 ? layOut(rows) : ["Nothing was measured."];
  const beside = of.map(([shape, { torch }]) => torchLine(shape, torch?.inputs ?? torch?.all));
  const kernels = of.flatMap(([shape, { hone }]) => kernelLines(shape, hone));
  const failed = Object.entries(record.parts)
    .filter(([, { reason }]) => reason !== undefined)
    .map(([part, { reason }]) => `Failed: ${part}: ${reason}`);
  return [...head, "", ...table, "", ...beside, ...kernels, "", ...failed]
    .filter((line) => line !== undefined)
    .join("\n")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}

/** As WebGPU names it, where nvidia-smi does not. */
function adapterOf({ shapes }) {
  return Object.values(shapes)
    .flatMap(({ hone }) => Object.values(hone ?? {}))
    .find(Boolean)?.adapter;
}

function testLine({ tests, testFiles }) {
  if (!tests) return undefined;
  const sum = (count) => tests.reduce((all, file) => all + count(file), 0);
  const failures = tests.flatMap((file) =>
    file.failures.map((failure) => ({ ...file, ...failure })),
  );
  const [passed, skipped] = [sum((file) => file.passed), sum((file) => file.skipped)];
  const counts = `${passed} passed, ${failures.length} failed, ${skipped} skipped, in ${tests.length} of ${testFiles} files`;
  const named = failures.slice(0, 20).map(({ file, test = "", message }) => {
    return `  ${file}: ${test}: ${message.split("\n")[0]}`;
  });
  return [`Tests on this GPU: ${counts}.`, ...named].join("\n");
}

function rowsOf(shape, hone = {}, torch = {}) {
  const row = (what, unit, figure) => {
    const [ours, theirs] = [figure(hone), figure(torch)];
    const ratio = ours && theirs ? `${(ours / theirs).toFixed(2)} ×` : "";
    return [shape, what, show(ours, unit), show(theirs, unit), ratio];
  };
  return [
    row(
      "QLoRA step, inputs of blocks kept",
      "tokens/s",
      (side) => side.inputs?.training?.tokensPerSecond,
    ),
    row("most GPU memory", "GiB", (side) => gibibytes(side.inputs?.peakGpuBytes)),
    row(
      "QLoRA step, all kept that fits",
      "tokens/s",
      (side) => side.all?.training?.tokensPerSecond,
    ),
    row("most GPU memory", "GiB", (side) => gibibytes(side.all?.peakGpuBytes)),
    row("decoding", "tokens/s", (side) => (side.inputs ?? side.all)?.decode?.tokensPerSecond),
  ];
}

/** Hone's own: its best product, and where a step's time goes. */
function kernelLines(shape, hone = {}) {
  const record = hone.inputs ?? hone.all;
  if (!record) return [];
  const { peaks, training, tune } = record;
  const best = peaks.gemm.map(
    ({ act, gflops, size, variant }) => `${act} ${tera(gflops)} at ${size}³ (${variant})`,
  );
  const products = training.kernels.filter(({ name }) => name.startsWith("matmul"));
  const [flops, time] = ["gflops", undefined].map((figure) =>
    products.reduce((sum, kernel) => sum + kernel.milliseconds * (figure ? kernel[figure] : 1), 0),
  );
  const parts = training.kernels
    .slice(0, 8)
    .map(
      ({ name, share, roofline }) =>
        `${name} ${percent(share)} (${percent(roofline)} of its roofline)`,
    );
  return [
    "",
    `${shape}, Hone with --tune ${tune}: best product ${best.join("; ")}; copies ${peaks.gigabytes.toFixed(0)} GB/s.`,
    ...(time > 0
      ? [`  Products of a step: ${tera(flops / time)}. Time: ${parts.join(", ")}.`]
      : []),
    `  ${training.dispatches} dispatches, ${(training.hostSeconds * 1000).toFixed(1)} ms of the host until all are submitted.`,
  ];
}

function tera(gflops) {
  return `${(gflops / 1000).toFixed(1)} TFLOP/s`;
}

function percent(share) {
  return `${(share * 100).toFixed(0)} %`;
}

function gibibytes(bytes) {
  return bytes ? bytes / 2 ** 30 : undefined;
}

function show(value, unit) {
  return value === undefined || value === null
    ? "—"
    : `${value.toFixed(unit === "GiB" ? 2 : 0)} ${unit}`;
}

function torchLine(shape, torch) {
  if (!torch) return undefined;
  return `${shape}, PyTorch ${torch.torch} on ${torch.device}: ${torch.quantizer}; ${torch.adapter}; ${torch.dtype}.`;
}

/** Markdown, with columns of one width. */
function layOut(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map(
    (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`,
  );
  lines.splice(1, 0, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`);
  return lines;
}

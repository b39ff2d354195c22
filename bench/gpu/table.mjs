// The record of run.mjs as one table: Hone, PyTorch and their ratio, by shape.

export function tableOf(record) {
  const head = [
    `GPU: ${record.gpu ?? adapterOf(record) ?? "unknown"}; Hone ${record.commit ?? ""}, ${record.date}; rows of ${record.tokens} tokens.`,
    testLine(record.tests),
  ];
  const rows = [["shape", "what", "Hone", "PyTorch", "ratio"]];
  for (const [shape, { hone, torch }] of Object.entries(record.shapes)) {
    rows.push(...rowsOf(shape, hone, torch));
  }
  const beside = Object.entries(record.shapes).map(([shape, { torch }]) => torchLine(shape, torch));
  const failed = (record.failures ?? []).map(({ part, reason }) => `Failed: ${part}: ${reason}`);
  return [...head, "", ...layOut(rows), "", ...beside, ...failed]
    .filter((line) => line !== undefined)
    .join("\n");
}

/** As WebGPU names it, where nvidia-smi does not. */
function adapterOf({ shapes }) {
  return Object.values(shapes).find(({ hone }) => hone)?.hone.adapter;
}

function testLine(tests) {
  if (!tests) return undefined;
  const { total, passed, failed, skipped } = tests;
  if (!total) return "Tests on this GPU: none ran.";
  return `Tests on this GPU: ${passed} of ${total} passed, ${failed} failed, ${skipped} skipped.`;
}

function rowsOf(shape, hone, torch) {
  const row = (what, unit, ours, theirs) => [
    shape,
    what,
    show(ours, unit),
    show(theirs, unit),
    ours && theirs ? `${(ours / theirs).toFixed(2)} ×` : "",
  ];
  return [
    row(
      "QLoRA step",
      "tokens/s",
      hone?.training?.tokensPerSecond,
      torch?.training?.tokensPerSecond,
    ),
    row("decoding", "tokens/s", hone?.decode?.tokensPerSecond, torch?.decode?.tokensPerSecond),
    row("most GPU memory", "GiB", gibibytes(hone?.peakGpuBytes), gibibytes(torch?.peakGpuBytes)),
  ];
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

// What the convert commands have in common: an adapter copied, and what was written said.
import type { Folder } from "../base/folder.ts";
import { formatBytes } from "../base/format.ts";
import type { AdapterExportOptions, Engine, ExportSummary } from "../engine.ts";
import { openAdapter, openNewFolder, pathIn } from "./paths.ts";
import type { Session } from "./session.ts";

/** Exports, with other files beside it by name and text, and says what was written. */
export async function exportAdapter(
  { output }: Session,
  engine: Engine,
  checkpointPath: string,
  outputPath: string,
  files: Readonly<Record<string, string>> = {},
  options: AdapterExportOptions = {},
): Promise<void> {
  const folder = await openNewFolder(outputPath);
  const checkpoint = await openAdapter(checkpointPath, output);
  const summary = await engine.exportAdapter(checkpoint, folder, options);
  sayExport(output, outputPath, await withFiles(summary, folder, files));
}

/** Writes texts beside what was exported, once that is complete. */
export async function withFiles(
  summary: ExportSummary,
  folder: Folder,
  files: Readonly<Record<string, string>>,
): Promise<ExportSummary> {
  const added: { name: string; bytes: number }[] = [];
  for (const [name, text] of Object.entries(files)) {
    await folder.write(name, text);
    added.push({ name, bytes: (await folder.size(name)) ?? 0 });
  }
  return { ...summary, files: [...summary.files, ...added] };
}

export function sayExport(output: Session["output"], path: string, summary: ExportSummary): void {
  output.emit("export", { path, ...summary });
  for (const { name, bytes } of summary.files) {
    output.say(`  ${pathIn({ path }, name)}  ${formatBytes(bytes)}`);
  }
  output.say(`Checked: ${summary.check}`);
}

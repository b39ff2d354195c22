// What the convert commands have in common: an adapter copied, and what was written said.
import { formatBytes } from "../base/format.ts";
import type { Engine, ExportSummary } from "../engine.ts";
import { openAdapter, openNewFolder, pathIn } from "./paths.ts";
import type { Session } from "./session.ts";

/** Exports, with other files beside it by name and text, and says what was written. */
export async function exportAdapter(
  { output }: Session,
  engine: Engine,
  checkpointPath: string,
  outputPath: string,
  files: Readonly<Record<string, string>> = {},
): Promise<void> {
  const folder = await openNewFolder(outputPath);
  const checkpoint = await openAdapter(checkpointPath, output);
  for (const [name, text] of Object.entries(files)) await folder.write(name, text);
  sayExport(output, outputPath, await engine.exportAdapter(checkpoint, folder));
}

export function sayExport(output: Session["output"], path: string, summary: ExportSummary): void {
  output.emit("export", { path, ...summary });
  for (const { name, bytes } of summary.files) {
    output.say(`  ${pathIn({ path }, name)}  ${formatBytes(bytes)}`);
  }
  output.say(`Checked: ${summary.check}`);
}

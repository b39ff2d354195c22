// A model's folder with every tensor in a file of its own, as XTuner's `convert split` has it: smaller pieces to
// copy, and to load where memory is short. Nothing else changes but that pickles become safetensors.
import type { Folder } from "../../base/folder.ts";
import type { ExportSummary } from "../../engine.ts";
import { writeWeights } from "../../export/weights.ts";
import { openModelFiles } from "../../model/files/checkpoint-files.ts";
import { checkWritten, filesOf, refuseSameFolder } from "./model-output.ts";

/** What stays behind: the weights themselves, in whatever form, and hidden files. */
const LEFT_OUT = /^(pytorch_model|model-|model\.safetensors|\.)/;

/** Writes a model with one tensor in each file, and reads it back. Weights keep their types. */
export async function splitModel(model: Folder, output: Folder): Promise<ExportSummary> {
  refuseSameFolder(model, output);
  const files = await openModelFiles(model);
  const written = await writeWeights({ files, dtype: undefined, maxShardBytes: 0 }, output);
  for (const name of await model.list()) {
    // A folder inside has no size.
    if (LEFT_OUT.test(name) || (await model.size(name)) === undefined) continue;
    await output.write(name, model.stream(name));
  }
  await checkWritten(output, written);
  return {
    files: await filesOf(output),
    check: `${written.length} tensors read back equal, each in a file of its own`,
  };
}

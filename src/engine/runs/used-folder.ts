// A run begins in a folder without checkpoints: two runs in one would remove each other's.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import { listCheckpoints } from "../../train/checkpoint.ts";

class UsedFolderError extends UserError {
  override readonly name = "UsedFolderError";
}

/** Refuses to begin a run where there are checkpoints of another, whole or not. */
export async function refuseUsedFolder(workDir: Folder): Promise<void> {
  const [first] = await listCheckpoints(workDir);
  if (first === undefined) return;
  throw new UsedFolderError(
    `${workDir.path} holds an earlier run (${first}).`,
    "Resume that run, or choose another folder to start anew.",
  );
}

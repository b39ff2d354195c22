// Where files are dropped or picked: single files, or a whole folder with the paths inside it.
import { createSignal, type JSX } from "solid-js";
import type { LocalFile } from "../../services/api.ts";
import { Button } from "./Button.tsx";

export interface FileDropProps {
  readonly label: string;
  readonly pickFiles: string;
  /** Offered where a folder makes sense. */
  readonly pickFolder?: string;
  /** As in an input's `accept`. */
  readonly accept?: string;
  readonly onFiles: (files: readonly LocalFile[]) => void;
  readonly children?: JSX.Element;
}

export function FileDrop(props: FileDropProps) {
  const [isOver, setIsOver] = createSignal(false);
  let files: HTMLInputElement | undefined;
  let folder: HTMLInputElement | undefined;
  const take = (input: HTMLInputElement) => {
    const picked = [...(input.files ?? [])].map((file) => ({
      path: file.webkitRelativePath || file.name,
      file,
    }));
    input.value = ""; // the same file may be picked again
    if (picked.length > 0) props.onFiles(picked);
  };
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    setIsOver(false);
    const dropped = await droppedFiles(event.dataTransfer);
    if (dropped.length > 0) props.onFiles(dropped);
  };
  return (
    <div
      class="drop"
      classList={{ "is-over": isOver() }}
      onDragOver={(event) => {
        event.preventDefault();
        setIsOver(true);
      }}
      onDragLeave={() => setIsOver(false)}
      onDrop={(event) => void drop(event)}
    >
      <p>{props.label}</p>
      <div class="row">
        <Button onClick={() => files?.click()}>{props.pickFiles}</Button>
        {props.pickFolder !== undefined && (
          <Button onClick={() => folder?.click()}>{props.pickFolder}</Button>
        )}
      </div>
      <input
        ref={files}
        type="file"
        multiple
        hidden
        accept={props.accept}
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={(input) => {
          input.webkitdirectory = true;
          folder = input;
        }}
        type="file"
        hidden
        onChange={(event) => take(event.currentTarget)}
      />
      {props.children}
    </div>
  );
}

/** Files and the files of dropped folders, by path. */
async function droppedFiles(transfer: DataTransfer | null): Promise<LocalFile[]> {
  // Entries must be taken before the first await: the list is emptied after the event.
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
  const found: LocalFile[] = [];
  const walk = async (entry: FileSystemEntry, path: string): Promise<void> => {
    if (isFileEntry(entry)) {
      const file = await new Promise<File>((resolve, reject) => {
        entry.file(resolve, reject);
      });
      found.push({ path: path + entry.name, file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => {
        reader.readEntries(resolve, reject);
      });
      if (batch.length === 0) return;
      for (const inner of batch) await walk(inner, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) if (entry) await walk(entry, "");
  return found;
}

function isFileEntry(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

// Asks the person for a folder to write into, where the browser offers that.

interface Picker {
  showDirectoryPicker?(options: {
    readonly id: string;
    readonly mode: "readwrite";
  }): Promise<FileSystemDirectoryHandle>;
}

export function canPickFolder(): boolean {
  return typeof (globalThis as Picker).showDirectoryPicker === "function";
}

/** Undefined where the person chose none. To be called on a click. */
export async function pickFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    return await (globalThis as Picker).showDirectoryPicker?.({
      id: "hone-export",
      mode: "readwrite",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    throw error;
  }
}

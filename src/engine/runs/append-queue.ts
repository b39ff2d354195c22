// Text added to the ends of files off the training loop's path, in the order in which it came.
import { messageOf } from "../../base/error.ts";
import type { Folder } from "../../base/folder.ts";

/** A failure ends no run: it is told, and the text is kept and tried again with what comes next. */
export class AppendQueue {
  readonly #folder: Folder;
  /** Told once when text cannot be written, and again only after it could. */
  readonly #onFault: (message: string) => void;
  /** Text that is not written yet, by file. */
  readonly #waiting = new Map<string, string>();
  /** Files that were added to since they were last made to last. */
  readonly #unflushed = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;

  constructor(folder: Folder, onFault: (message: string) => void) {
    this.#folder = folder;
    this.#onFault = onFault;
  }

  add(file: string, text: string): void {
    this.#waiting.set(file, `${this.#waiting.get(file) ?? ""}${text}`);
    this.#then(() => this.#write());
  }

  /** Waits until all that was added is written and survives a power cut, or was tried once more. */
  async flush(): Promise<void> {
    this.#then(async () => {
      await this.#write();
      for (const file of this.#unflushed) {
        await this.#folder.flush(file);
        this.#unflushed.delete(file);
      }
    });
    await this.#writing;
  }

  /** Until nothing waits: text may come while other is written. */
  async #write(): Promise<void> {
    for (;;) {
      const [next] = this.#waiting;
      if (!next) return;
      const [file, text] = next;
      this.#unflushed.add(file);
      await this.#folder.append(file, text);
      const rest = this.#waiting.get(file)?.slice(text.length) ?? "";
      if (rest === "") this.#waiting.delete(file);
      else this.#waiting.set(file, rest);
    }
  }

  /** One after another, or text would be written twice. */
  #then(action: () => Promise<void>): void {
    this.#writing = this.#writing.then(action).then(
      () => {
        this.#isFailing = false;
      },
      (error: unknown) => {
        if (this.#isFailing) return;
        this.#isFailing = true;
        const [problem] = messageOf(error).split("\n");
        this.#onFault(`The log of the run waits to be written: ${problem}`);
      },
    );
  }
}

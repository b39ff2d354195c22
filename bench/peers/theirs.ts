// A peer in a process of its own, since each brings its own Dawn or Vulkan.
import { type ChildProcess, fork } from "node:child_process";

/** Where the peers' side of the benchmark and their packages lie, in the clone. */
export interface TheirPlace {
  readonly folder: string;
  /** Variables that make them take our adapter. */
  readonly environment: Readonly<Record<string, string>>;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

export class Theirs {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(e: Error): void }>();
  #nextId = 1;
  /** The end of what it wrote: where it dies, that says why. */
  #output = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message) => this.#answer(message as Answer));
    child.on("exit", (code, signal) => {
      const lines = this.#output.trim().split("\n").slice(-3).join(" ");
      this.#failAll(new Error(`ended with ${signal ?? code}${lines && `: ${lines}`}`));
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (text: Buffer) => {
        this.#output = `${this.#output}${String(text)}`.slice(-4000);
      });
    }
  }

  /** Starts theirs/`script`; resolves when its packages are loaded. */
  static async start(script: string, { folder, environment }: TheirPlace): Promise<Theirs> {
    const child = fork(`${folder}theirs/${script}`, {
      cwd: folder,
      env: { ...process.env, ...environment },
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    const theirs = new Theirs(child);
    await theirs.#wait(0);
    return theirs;
  }

  /** Throws what the peer threw, or that it ended. */
  async call<T>(method: string, params?: unknown): Promise<T> {
    const id = this.#nextId++;
    const answer = this.#wait(id);
    this.#child.send({ id, method, params });
    return (await answer) as T;
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }

  #wait(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #answer({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }

  #failAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

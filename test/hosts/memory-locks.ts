// navigator.locks in memory, since Node 20 has none: exclusive and shared, ifAvailable, steal, signal, query.

interface Request {
  readonly name: string;
  readonly mode: LockMode;
  readonly grant: () => void;
  readonly fail: (reason: unknown) => void;
}

export function createMemoryLocks(): LockManager {
  let held: Request[] = [];
  let pending: Request[] = [];

  const isFree = ({ name, mode }: Request, before: readonly Request[]) =>
    ![...held, ...before].some(
      (other) => other.name === name && (other.mode === "exclusive" || mode === "exclusive"),
    );
  const grantNext = () => {
    for (const request of pending.slice()) {
      const earlier = pending.slice(0, pending.indexOf(request));
      if (!isFree(request, earlier)) continue;
      pending = pending.filter((other) => other !== request);
      held.push(request);
      request.grant();
    }
  };
  const release = (request: Request) => {
    held = held.filter((other) => other !== request);
    grantNext();
  };

  type Action = (lock: Lock | null) => unknown;
  const request = (name: string, given: LockOptions | Action, action?: Action) => {
    const options = typeof given === "function" ? {} : given;
    const act = typeof given === "function" ? given : (action as Action);
    const { mode = "exclusive", ifAvailable, signal, steal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const run = async () => {
        try {
          resolve(await act({ name, mode }));
        } catch (error) {
          reject(error);
        } finally {
          release(mine);
        }
      };
      const mine: Request = { name, mode, grant: () => void run(), fail: reject };
      if (steal) {
        for (const other of held.filter((lock) => lock.name === name)) {
          other.fail(new DOMException("stolen", "AbortError"));
        }
        held = held.filter((lock) => lock.name !== name);
      }
      if (ifAvailable && !isFree(mine, pending)) {
        Promise.resolve(act(null)).then(resolve, reject);
        return undefined;
      }
      signal?.addEventListener("abort", () => {
        if (!pending.includes(mine)) return;
        pending = pending.filter((other) => other !== mine);
        reject(signal.reason as Error);
      });
      pending.push(mine);
      // As in a browser, nobody holds a lock before the caller has gone on.
      queueMicrotask(grantNext);
      return undefined;
    });
  };
  const info = ({ name, mode }: Request): LockInfo => ({ name, mode, clientId: "memory" });
  const query = async () => ({ held: held.map(info), pending: pending.map(info) });
  return { request, query } as LockManager;
}

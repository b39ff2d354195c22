// A source of data that stops when it is told to.
import { throwIfAborted } from "../../base/error.ts";
import type { DataSource } from "../../engine.ts";

/** Ends with an AbortedError, between two pieces, once the signal is aborted. */
export function abortable(source: DataSource, signal: AbortSignal | undefined): DataSource {
  const { read } = source;
  return {
    ...source,
    async *stream() {
      for await (const chunk of source.stream()) {
        throwIfAborted(signal);
        yield chunk;
      }
    },
    ...(read && {
      async read(start: number, end: number) {
        throwIfAborted(signal);
        return read(start, end);
      },
    }),
  };
}

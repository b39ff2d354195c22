// A model's files on their way to the GPU, piece by piece: the next pieces are read while one is taken up.
import { throwIfAborted } from "../base/error.ts";

/** A stretch of a model's files. */
export interface Piece {
  /** Bytes of the files as progress counts them. */
  readonly bytes: number;
  /** Reads it; what it resolves to queues it for the GPU. Pieces are queued in their order. */
  read(): Promise<() => void | Promise<void>>;
}

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes of all pieces so far that were queued. */
  readonly onProgress: (bytes: number) => void;
  /** Makes pieces that wait for something give up: before an error is told, all reading has ended. */
  readonly stop: () => void;
}

/** Pieces that are read at one time. Small ones have little but waiting to them; memory bounds large ones. */
const MOST_READS = 8;

/** Reads pieces ahead and queues them in order. */
export async function streamPieces(
  pieces: readonly Piece[],
  { signal, onProgress, stop }: StreamOptions,
): Promise<void> {
  const reads: Promise<() => void | Promise<void>>[] = [];
  let begun = 0;
  const readAhead = () => {
    for (; begun < pieces.length && reads.length < MOST_READS; begun++) {
      const reading = readPiece(pieces[begun]);
      reading.catch(() => {}); // told when its turn comes
      reads.push(reading);
    }
  };
  let done = 0;
  try {
    for (const { bytes } of pieces) {
      throwIfAborted(signal);
      readAhead();
      const take = await reads.shift();
      await take?.();
      done += bytes;
      if (bytes > 0) onProgress(done);
    }
    throwIfAborted(signal);
  } catch (error) {
    stop();
    await Promise.allSettled(reads);
    throw error;
  }
}

async function readPiece(piece: Piece | undefined): Promise<() => void | Promise<void>> {
  return piece ? piece.read() : () => {};
}

// A model on its way to the GPU: what a person sees of it, and how they end it.
import type { Chat, Engine, LoadRequest } from "../engine.ts";
import { showTrying } from "./kernel-table.ts";
import type { Output } from "./output.ts";
import { formatLoadingBar } from "./progress.ts";
import { type Session, STOPPING_WORK, untilStopped } from "./session.ts";

/** Opens a chat, showing how far it is. A Ctrl-C ends it, and keeps what trying has found by then. */
export async function openChat(
  session: Session,
  engine: Engine,
  request: LoadRequest,
): Promise<Chat> {
  const open = (signal: AbortSignal) =>
    engine.openChat({ ...request, ...showLoading(session.output), signal });
  try {
    return await untilStopped(session, open, STOPPING_WORK);
  } finally {
    session.output.status(undefined);
  }
}

/** Listeners that show which kernels are tried, and then how much is loaded. */
export function showLoading(
  output: Output,
): Required<Pick<LoadRequest, "onProgress" | "onTrying">> {
  return {
    onProgress: (bytes, total) => output.status(formatLoadingBar(bytes, total, output.columns)),
    onTrying: showTrying(output),
  };
}

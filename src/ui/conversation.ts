// A conversation with two sides, the base's and the tuned model's, as plain values.
import type { ChatPiece, Message } from "../services/api.ts";

export type Side = "base" | "tuned";

export const SIDES: readonly Side[] = ["base", "tuned"];

export interface Reply {
  readonly state: "waiting" | "writing" | "done" | "stopped" | "failed";
  readonly pieces: readonly ChatPiece[];
  readonly text: string;
  /** Once it is done. */
  readonly speed?: { readonly tokens: number; readonly tokensPerSecond: number };
  /** It ended because it was as long as allowed, or the context was full. */
  readonly isCut?: boolean;
  /** The two lines of what went wrong. */
  readonly error?: string;
}

export interface Turn {
  readonly id: number;
  readonly question: string;
  /** The replies of those sides that were asked. */
  readonly replies: Readonly<Partial<Record<Side, Reply>>>;
  /** Moves the seed, so that a retry is another throw of the dice. */
  readonly attempt: number;
}

export const WAITING: Reply = { state: "waiting", pieces: [], text: "" };

/**
 * What `side` is given for the last of `turns`: each side remembers its own replies. Where it was not asked,
 * it remembers the other's; a turn that nobody answered is left out.
 */
export function messagesFor(side: Side, system: string, turns: readonly Turn[]): Message[] {
  const messages: Message[] = system === "" ? [] : [{ role: "system", content: system }];
  for (const turn of turns.slice(0, -1)) {
    const reply = answered(turn.replies[side]) ?? answered(turn.replies[other(side)]);
    if (!reply) continue;
    messages.push({ role: "user", content: turn.question });
    messages.push({ role: "assistant", content: reply.text });
  }
  const last = turns.at(-1);
  if (last) messages.push({ role: "user", content: last.question });
  return messages;
}

/** A probability as one of five tints, 0 for the most surprising. */
export function tintOf(probability: number): 0 | 1 | 2 | 3 | 4 {
  if (probability < 0.1) return 0;
  if (probability < 0.35) return 1;
  if (probability < 0.65) return 2;
  return probability < 0.9 ? 3 : 4;
}

/** 0.9987 → "99.9 %"; what is not quite certain is not told as certain. */
export function formatPercent(probability: number): string {
  const percent = 100 * probability;
  if (percent >= 99.95) return probability >= 1 ? "100 %" : ">99.9 %";
  if (percent < 0.1) return "<0.1 %";
  return `${percent >= 10 ? percent.toFixed(1) : percent.toPrecision(2)} %`;
}

function answered(reply: Reply | undefined): Reply | undefined {
  return reply && reply.text !== "" && reply.state !== "failed" ? reply : undefined;
}

function other(side: Side): Side {
  return side === "base" ? "tuned" : "base";
}

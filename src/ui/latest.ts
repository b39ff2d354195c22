// The newest answer to a question that follows signals; the one before stays until the next is there.
import { createEffect, createSignal, on, onCleanup } from "solid-js";
import { messageOf } from "../base/error.ts";

export interface Latest<T> {
  readonly value: () => T | undefined;
  /** The two lines of what went wrong with the newest question. */
  readonly problem: () => string | undefined;
  readonly isAsking: () => boolean;
}

/** Asks when `question` changes and has then stood still for `delayMs`; undefined asks nothing. */
export function createLatest<Q, T>(
  question: () => Q | undefined,
  ask: (question: Q) => Promise<T>,
  delayMs = 0,
): Latest<T> {
  const [value, setValue] = createSignal<T>();
  const [problem, setProblem] = createSignal<string>();
  const [isAsking, setIsAsking] = createSignal(false);
  let newest = 0;
  const answer = async (asked: Q, mine: number) => {
    const result = await ask(asked).then(
      (good) => ({ good, bad: undefined }),
      (error: unknown) => ({ good: undefined, bad: messageOf(error) }),
    );
    if (mine !== newest) return;
    setIsAsking(false);
    setProblem(result.bad);
    setValue(() => result.good);
  };
  createEffect(
    on(question, (asked) => {
      const mine = ++newest;
      if (asked === undefined) {
        setIsAsking(false);
        setProblem(undefined);
        setValue(undefined);
        return;
      }
      setIsAsking(true);
      const timer = setTimeout(() => void answer(asked, mine), delayMs);
      onCleanup(() => clearTimeout(timer));
    }),
  );
  onCleanup(() => newest++);
  return { value, problem, isAsking };
}

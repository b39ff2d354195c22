// An action that is read again when something has changed: never twice at once, and never left out.
import { expect, test } from "vitest";
import { oneAtATime } from "../../src/ui/changes.ts";

/** An action that ends when it is told to. */
function heldAction() {
  const ends: ((error?: Error) => void)[] = [];
  const action = () =>
    new Promise<void>((resolve, reject) => {
      ends.push((error) => (error ? reject(error) : resolve()));
    });
  return { action, ends };
}

const settle = () => new Promise((resolve) => setTimeout(resolve));

test("who asks meanwhile gets one more, which begins after the first ended", async () => {
  const { action, ends } = heldAction();
  const read = oneAtATime(action);
  const first = read();
  const [second, third] = [read(), read()];
  await settle();
  expect(ends).toHaveLength(1);
  expect(second).toBe(third);
  ends[0]?.();
  await first;
  await settle();
  expect(ends).toHaveLength(2);
  ends[1]?.();
  await second;
  void read();
  expect(ends).toHaveLength(3);
});

test("a failure is told to whoever asked for that one, and the next goes on", async () => {
  const { action, ends } = heldAction();
  const read = oneAtATime(action);
  const first = read();
  const second = read();
  ends[0]?.(new Error("the disk is gone"));
  await expect(first).rejects.toThrow("the disk is gone");
  await settle();
  ends[1]?.();
  await expect(second).resolves.toBeUndefined();
});

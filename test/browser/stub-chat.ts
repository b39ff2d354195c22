// A model that answers with given texts, in place of the engine's chat: for what no small model would say.
import type { Page } from "playwright-core";

/**
 * From the next load of the page on, the answers are these in turn, whatever is asked. The first opening tells of kernels
 * that are tried, 3 of 14, and takes a while.
 */
export async function answerWith(page: Page, answers: readonly string[]): Promise<void> {
  await page.addInitScript(stub, answers);
}

/** Runs in the page, before its own scripts: answers in Comlink's words. */
function stub(answers: readonly string[]): void {
  interface Call {
    readonly id: string;
    readonly path?: readonly string[];
    readonly argumentList?: readonly { readonly value: unknown }[];
  }
  let next = 0;
  const info = {
    template: { name: "chatml", source: "the test" },
    system: "",
    hasAdapter: false,
    contextTokens: 2048,
  };
  /** Calls the n-th function that came along. */
  const callBack = ({ argumentList = [] }: Call, index: number, value: object) => {
    const ports = argumentList.filter((given) => given.value instanceof MessagePort);
    const given = [{ type: "RAW", value }];
    const call = { id: crypto.randomUUID(), type: "APPLY", path: [], argumentList: given };
    (ports[index]?.value as MessagePort | undefined)?.postMessage(call);
  };
  let delayMs = 500;
  const openChat = (call: Call) => {
    callBack(call, 1, { done: 3, total: 14, slot: "matmul", share: 0.5 });
    return info;
  };
  const reply = (call: Call) => {
    delayMs = 5;
    const text = answers[next++ % answers.length] ?? "";
    callBack(call, 0, { text, probability: 0.5 });
    return { text, tokens: 1, tokensPerSecond: 1, endedBy: "stop" };
  };
  const stubs: Readonly<Record<string, (call: Call) => unknown>> = { openChat, reply };
  globalThis.Worker = class extends Worker {
    override postMessage(message: Call, transfer: never): void {
      const made = stubs[message.path?.join(".") ?? ""]?.(message);
      if (made === undefined) return super.postMessage(message, transfer);
      const data = { id: message.id, type: "RAW", value: made };
      setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })), delayMs);
    }
  };
}

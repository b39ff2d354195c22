// A model that answers with given texts, in place of the engine's chat: for what no small model would say.
import type { Page } from "playwright-core";

/** From the next load of the page on, the answers are these in turn, whatever is asked. */
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
  const reply = ({ argumentList = [] }: Call) => {
    const text = answers[next++ % answers.length] ?? "";
    const port = argumentList.find(({ value }) => value instanceof MessagePort)?.value;
    const piece = { type: "RAW", value: { text, probability: 0.5 } };
    const call = { id: crypto.randomUUID(), type: "APPLY", path: [], argumentList: [piece] };
    (port as MessagePort | undefined)?.postMessage(call);
    return { text, tokens: 1, tokensPerSecond: 1, endedBy: "stop" };
  };
  const stubs: Readonly<Record<string, (call: Call) => unknown>> = { openChat: () => info, reply };
  globalThis.Worker = class extends Worker {
    override postMessage(message: Call, transfer: never): void {
      const made = stubs[message.path?.join(".") ?? ""]?.(message);
      if (made === undefined) return super.postMessage(message, transfer);
      const data = { id: message.id, type: "RAW", value: made };
      setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })), 5);
    }
  };
}

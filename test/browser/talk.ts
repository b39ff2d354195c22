// A conversation on the Try screen.
import type { App } from "./app.ts";
import type { Side } from "../../src/ui/conversation.ts";

/** Asks, with the likeliest word each time, and returns the two answers. */
export async function ask(app: App, question: string): Promise<Readonly<Record<Side, string>>> {
  const { page, text } = app;
  const { settings, sides, talk } = text.live.tryout;
  const message = page.getByLabel(talk.message);
  await message.waitFor({ timeout: 150_000 });
  await page.getByLabel(settings.names.temperature.label, { exact: true }).fill("0");
  await page.getByLabel(settings.names.maxNewTokens.label, { exact: true }).fill("48");
  await message.fill(question);
  await message.press("Enter");
  const replyOf = async (side: Side) => {
    const reply = page
      .getByRole("article")
      .last()
      .locator("div")
      .filter({ has: page.getByRole("heading", { name: sides[side] }) })
      .filter({ has: page.getByText(talk.answered(sides[side])) })
      .last();
    return (await reply.getByRole("paragraph").first().innerText()).trim();
  };
  return { base: await replyOf("base"), tuned: await replyOf("tuned") };
}

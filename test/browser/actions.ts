// What people do on the screens and how they see that it worked, for tests that are about something else.
import { expect } from "vitest";
import type { Locator, Page } from "playwright-core";
import { type App, goTo, press } from "./app.ts";

type Picked = Parameters<Awaited<ReturnType<typeof choosing>>["setFiles"]>[0];

/** Presses the button that asks for files, and chooses these; a path of a folder where it asks for one. */
export async function pick(page: Page, button: string, files: Picked): Promise<void> {
  const [chooser] = await Promise.all([choosing(page), press(page, button)]);
  await chooser.setFiles(files);
}

function choosing(page: Page) {
  return page.waitForEvent("filechooser");
}

/** A file that exists in the test alone. */
export function named(name: string, content: string | Uint8Array) {
  return { name, mimeType: "application/octet-stream", buffer: Buffer.from(content) };
}

/** Waits for a message that says so, with what to do about it. Returns all of it. */
export async function told(page: Page, problem: RegExp): Promise<string> {
  const alert = page.getByRole("alert").filter({ hasText: problem }).first();
  await alert.waitFor();
  const lines = await alert.getByRole("paragraph").allInnerTexts();
  expect(lines[0]).toMatch(problem);
  expect(lines[1]?.trim() ?? "", `what to do about: ${lines[0]}`).not.toBe("");
  return lines.join("\n");
}

/** The card of a list that has this heading. */
export function card(page: Page, name: string): Locator {
  const heading = page.getByRole("heading", { level: 3, name, exact: true });
  return page.getByRole("listitem").filter({ has: heading });
}

/** The model that comes with the page, put into storage and chosen. */
export async function useSeedling(app: App, page = app.page): Promise<void> {
  const words = app.text.library.model;
  await goTo(app, "model", page);
  await press(page, words.embedded.use);
  await page.getByText(words.chosen("Seedling"), { exact: true }).waitFor();
}

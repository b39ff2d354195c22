// The origin's private files, looked at and filled from outside the page.
import type { Page } from "playwright-core";

/** Bytes by path below the page's own folder: "models/tiny/hone.json". */
export async function storedFiles(page: Page, below = ""): Promise<Record<string, number>> {
  const all = await page.evaluate(async () => {
    const sizes: Record<string, number> = {};
    const walk = async (folder: FileSystemDirectoryHandle, path: string): Promise<void> => {
      for await (const [name, handle] of folder.entries()) {
        if (handle.kind === "directory") await walk(handle, `${path}${name}/`);
        else sizes[path + name] = (await handle.getFile()).size;
      }
    };
    const root = await navigator.storage.getDirectory();
    await walk(await root.getDirectoryHandle("hone", { create: true }), "");
    return sizes;
  });
  return Object.fromEntries(Object.entries(all).filter(([path]) => path.startsWith(below)));
}

/** Writes files as the page would find them from a visit before. Texts, or bytes. */
export async function store(
  page: Page,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  const encoded = Object.entries(files).map(
    ([path, content]) => [path, Buffer.from(content).toString("base64")] as const,
  );
  await page.evaluate(async (list) => {
    const root = await navigator.storage.getDirectory();
    for (const [path, base64] of list) {
      const parts = `hone/${path}`.split("/");
      const name = parts.pop() ?? "";
      let folder = root;
      for (const part of parts) folder = await folder.getDirectoryHandle(part, { create: true });
      const file = await folder.getFileHandle(name, { create: true });
      const writer = await file.createWritable();
      await writer.write(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)));
      await writer.close();
    }
  }, encoded);
}

// The headless Chromium inside the npm package @sparticuz/chromium, with WebGPU on its SwiftShader.
//
// Nothing of the system is needed but glibc: libraries and a font come with it. Every browser has a profile
// of its own, since off-the-record ones keep the page's files in memory.
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { type BrowserContext, chromium } from "playwright-core";
import { extract } from "tar-fs";

export interface BrowserOptions {
  /** Default: en-US. */
  readonly locale?: string;
  readonly colorScheme?: "light" | "dark";
  readonly reducedMotion?: "reduce" | "no-preference";
  readonly viewport?: { readonly width: number; readonly height: number };
  /** A profile's folder, kept afterwards: what a second visit finds. */
  readonly profile?: string;
  /** Without WebGPU: what a browser that lacks it shows. */
  readonly withoutGpu?: boolean;
}

export interface Browser {
  readonly context: BrowserContext;
  /** Ends it. Returns the hosts it asked for: pages, workers, service workers and the browser itself. */
  close(): Promise<ReadonlySet<string>>;
}

/** Starts a browser. Close it: nothing else ends its process. */
export async function openBrowser(options: BrowserOptions = {}): Promise<Browser> {
  const folder = await unpackOnce();
  const scratch = await mkdtemp(join(tmpdir(), "hone-browser-"));
  const netLog = join(scratch, "requests.json");
  const context = await chromium.launchPersistentContext(
    options.profile ?? join(scratch, "profile"),
    {
      executablePath: join(folder, "chromium"),
      chromiumSandbox: false,
      args: [
        ...(options.withoutGpu
          ? ["--disable-features=WebGPU", "--disable-gpu"]
          : ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]),
        `--log-net-log=${netLog}`,
        // A request that should not be made goes nowhere, and stays in the log.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
      ],
      env: {
        ...process.env,
        LD_LIBRARY_PATH: join(folder, "libraries", "lib"),
        FONTCONFIG_FILE: join(folder, "fonts.conf"),
      },
      acceptDownloads: true,
      downloadsPath: join(scratch, "downloads"),
      locale: options.locale ?? "en-US",
      colorScheme: options.colorScheme ?? "light",
      reducedMotion: options.reducedMotion ?? "no-preference",
      viewport: options.viewport ?? { width: 1280, height: 800 },
    },
  );
  return {
    context,
    async close() {
      await context.close();
      const hosts = await readHosts(netLog);
      await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
      return hosts;
    },
  };
}

/** Hosts that were asked for, and names that were looked up, in Chromium's own record of its network use. */
async function readHosts(path: string): Promise<ReadonlySet<string>> {
  const log = JSON.parse(await readFile(path, "utf8")) as {
    constants: { logEventTypes: Record<string, number> };
    events: { type: number; params?: { url?: string; host?: string } }[];
  };
  const { URL_REQUEST_START_JOB: request, HOST_RESOLVER_MANAGER_REQUEST: lookUp } =
    log.constants.logEventTypes;
  const asked = log.events.flatMap(({ type, params }) => {
    if (type === request && /^(http|ws)s?:/.test(params?.url ?? "")) return [params?.url ?? ""];
    return type === lookUp && params?.host ? [params.host] : [];
  });
  return new Set(
    asked.map((address) => new URL(address.includes("://") ? address : `http://${address}`).host),
  );
}

/** Unpacks into the user's cache beside the final place and renames, so that two may do it at once. */
async function unpackOnce(): Promise<string> {
  const manifest = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  const bin = join(dirname(dirname(manifest)), "bin");
  const version = (
    JSON.parse(await readFile(join(bin, "..", "package.json"), "utf8")) as { version: string }
  ).version;
  const parent = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "hone");
  const folder = join(parent, `chromium-${version}`);
  if (existsSync(folder)) return folder;
  await mkdir(parent, { recursive: true });
  const partial = await mkdtemp(`${folder}.`);
  await pipeline(
    createReadStream(join(bin, "chromium.br")),
    createBrotliDecompress(),
    createWriteStream(join(partial, "chromium"), { mode: 0o755 }),
  );
  // Chromium looks for the GPU's driver beside itself.
  await unpackTar(join(bin, "swiftshader.tar.br"), partial);
  await unpackTar(join(bin, "fonts.tar.br"), join(partial, "fonts"));
  await unpackTar(join(bin, "al2023.tar.br"), join(partial, "libraries"));
  await writeFile(join(partial, "fonts.conf"), fontConfig(folder));
  await rename(partial, folder).catch(async (error: unknown) => {
    await rm(partial, { recursive: true });
    if (!existsSync(folder)) throw error;
  });
  return folder;
}

async function unpackTar(archive: string, folder: string): Promise<void> {
  await pipeline(createReadStream(archive), createBrotliDecompress(), extract(folder));
}

/** The machine's fonts where it has any, and one that is always there. */
function fontConfig(folder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>${join(folder, "fonts", "fonts")}</dir>
  <cachedir>${join(folder, "font-cache")}</cachedir>
</fontconfig>
`;
}

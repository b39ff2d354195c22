// Whether the page can work in this browser, and which browser it is: for words only, never for what is tried.

export type Browser = "chrome" | "edge" | "safari" | "firefox" | "other";
export type System = "windows" | "macos" | "linux" | "android" | "ios" | "other";

export interface Visitor {
  readonly browser: Browser;
  readonly system: System;
}

/** "none" is a browser with WebGPU that offers no adapter; "insecure" one that hides it from this address. */
export type Support = "ok" | "insecure" | "missing" | "none";

/** What a browser says of itself. */
export interface BrowserSays {
  readonly userAgent: string;
  /** Of navigator.userAgentData, where it is. */
  readonly brands?: readonly { readonly brand: string }[] | undefined;
  readonly platform?: string | undefined;
  readonly maxTouchPoints: number;
}

export function recognizeVisitor(says: BrowserSays): Visitor {
  const system = recognizeSystem(says);
  // Every browser of that system is Safari inside.
  return { browser: system === "ios" ? "safari" : recognizeBrowser(says), system };
}

export function isPhone({ system }: Visitor): boolean {
  return system === "android" || system === "ios";
}

/** Looks at what the page was given; asks for an adapter, and for nothing of it. */
export async function lookForSupport(page: {
  readonly isSecure: boolean;
  readonly gpu: Pick<GPU, "requestAdapter"> | undefined;
}): Promise<Support> {
  if (!page.isSecure) return "insecure";
  if (!page.gpu) return "missing";
  // A blocked adapter is null; some browsers throw for one.
  const adapter = await page.gpu.requestAdapter().catch(() => null);
  return adapter ? "ok" : "none";
}

/** Less than this is what private windows and full disks leave; a small model with its run takes more. */
const LEAST_QUOTA_BYTES = 300 * 2 ** 20;

export type StorageFault = "none" | "small" | "temporary";

/** What is to be said of the storage: nothing can be kept, little can, or the browser may clear it. */
export function storageFault(storage: {
  readonly hasOpfs: boolean;
  readonly isPersistent: boolean;
  readonly quotaBytes: number;
  readonly usedBytes: number;
}): StorageFault | undefined {
  if (!storage.hasOpfs) return "none";
  if (storage.quotaBytes - storage.usedBytes < LEAST_QUOTA_BYTES) return "small";
  return storage.isPersistent ? undefined : "temporary";
}

function recognizeSystem({ userAgent, platform = "", maxTouchPoints }: BrowserSays): System {
  const says = `${platform} ${userAgent}`;
  if (/Android/i.test(says)) return "android";
  if (/iPhone|iPad|iPod/.test(says)) return "ios";
  // An iPad says that it is a Mac; no Mac has a touch screen.
  if (/Mac/i.test(says)) return maxTouchPoints > 1 ? "ios" : "macos";
  if (/Windows/i.test(says)) return "windows";
  return /Linux|CrOS/i.test(says) ? "linux" : "other";
}

function recognizeBrowser({ userAgent, brands = [] }: BrowserSays): Browser {
  const names = brands.map(({ brand }) => brand).join(" ");
  if (/Edge/.test(names) || /\bEdg/.test(userAgent)) return "edge";
  if (/Firefox\//.test(userAgent)) return "firefox";
  if (/Chrom(e|ium)/.test(names) || /Chrom(e|ium)\//.test(userAgent)) return "chrome";
  return /Safari\//.test(userAgent) ? "safari" : "other";
}

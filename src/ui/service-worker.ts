// Starts the page's service worker, which keeps the page for offline use (src/services/page-cache.ts).
import { scriptUrl, serviceWorkerUrl } from "./trusted-types.ts";

/** In the built page only; a browser that refuses it loses the offline use and nothing else. */
export async function registerServiceWorker(): Promise<void> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(scriptUrl(serviceWorkerUrl), { updateViaCache: "none" });
  } catch (error) {
    console.info("Hone will not open offline here:", error);
  }
}

// What the page may do, in one place: the build writes it into index.html, the server sends it as headers.
// Plain JavaScript, since the server starts without a build step.

export const DEFAULT_HUB = "https://huggingface.co";

/** The hub answers with redirects to its own storage hosts. */
const HUB_STORAGE = ["https://*.huggingface.co", "https://*.hf.co"];

/** Trusted Types policies: src/ui/solid-runtime.ts and src/ui/trusted-types.ts. */
const TRUSTED_TYPES = ["hone-templates", "hone-scripts"];

/** The Content-Security-Policy for a page that downloads from `hub`, an origin. */
export function contentPolicy(hub) {
  return [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    `connect-src 'self' ${hubSources(hub).join(" ")}`,
    "worker-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    `trusted-types ${TRUSTED_TYPES.join(" ")}`,
  ].join("; ");
}

/** Headers of every answer. The last directive has no effect in a page's own text. */
export function pageHeaders(hub) {
  return {
    "Content-Security-Policy": `${contentPolicy(hub)}; frame-ancestors 'none'`,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
}

/** The built page's text, for another hub than the one that it was built for. */
export function withHub(html, hub) {
  return html
    .replace(/(<meta name="hone-hub" content=")[^"]*/, `$1${hub}`)
    .replace(
      /(<meta http-equiv="Content-Security-Policy" content=")[^"]*/,
      `$1${contentPolicy(hub)}`,
    );
}

/** `text` as an origin such as https://huggingface.co; throws with the reason where it is none. */
export function hubOrigin(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url &&
    /^https?:$/.test(url.protocol) &&
    !url.username &&
    /^\/?$/.test(url.pathname + url.search + url.hash)
  )
    return url.origin;
  throw new Error(
    `The hub's address is ${JSON.stringify(text)}.\nGive HF_ENDPOINT scheme and host alone, such as ${DEFAULT_HUB}.`,
  );
}

/** A mirror over https leads to the hub's storage too; a server of one's own answers for itself. */
function hubSources(hub) {
  return hub.startsWith("https:") ? [hub, ...HUB_STORAGE] : [hub];
}

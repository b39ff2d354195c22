// Which scripts the page may start in a worker: its own three, by exact address. With Trusted Types in force
// nothing else can be started, whatever a model or a data set manages to put on the page.
import dataWorkerUrl from "../../workers/data.worker.ts?worker&url";
import engineWorkerUrl from "../../workers/engine.worker.ts?worker&url";

/** Beside index.html, since a service worker serves what lies below it. */
export const serviceWorkerUrl = new URL("sw.js", document.baseURI).href;

const workerUrls: readonly string[] = [dataWorkerUrl, engineWorkerUrl];

const policy = globalThis.trustedTypes?.createPolicy("hone-scripts", {
  createScriptURL: ownScript,
});

/** The address as `new Worker` and `register` take it. Throws on any that is not the page's own. */
export function scriptUrl(url: string): string {
  // A TrustedScriptURL where the browser has them, which the types of Worker do not know.
  return policy ? (policy.createScriptURL(url) as unknown as string) : ownScript(url);
}

function ownScript(url: string): string {
  if (url === serviceWorkerUrl) return url;
  if (!workerUrls.includes(url)) throw new TypeError(`${url} is no script of this page`);
  // A worker at a blob: address inherits the page's policy. At its own address it would have none where the
  // host sends no headers, and could then connect to anywhere.
  const absolute = JSON.stringify(new URL(url, document.baseURI).href);
  return URL.createObjectURL(new Blob([`import ${absolute};`], { type: "text/javascript" }));
}

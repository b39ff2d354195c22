// Keeps the page for offline use: every file of the build, under its content's hash, and nothing else.
//
// The page itself comes from the network where there is one, so a new version shows at once; its parts
// come from the cache. Requests to other origins, the hub's above all, never pass through here.

/** Path below the page's folder, and the content's SHA-256 in base64. */
export type PageFile = readonly [path: string, sha256: string];

/** How long a slow network may keep the page from opening. */
const PATIENCE_MS = 3000;

const PAGE = "index.html";

/** Installs the handlers. `files` is the whole build. */
export function keepPage(worker: ServiceWorkerGlobalScope, files: readonly PageFile[]): void {
  const scope = new URL(worker.registration.scope);
  const cacheName = `hone ${scope.pathname}`;
  // One entry per content: a new version fetches only what changed.
  const keys = new Map(
    files.map(([path, hash]) => [path, `${new URL(path, scope).href}?${encodeURIComponent(hash)}`]),
  );

  worker.addEventListener("install", (event) => {
    event.waitUntil(fill());
  });
  worker.addEventListener("activate", (event) => {
    event.waitUntil(dropOld().then(() => worker.clients.claim()));
  });
  worker.addEventListener("fetch", (event) => {
    const path = pathOf(event.request);
    if (path === undefined) return;
    event.respondWith(
      path === PAGE ? openPage(event.request) : answer(event.request, keys.get(path)),
    );
  });

  async function fill(): Promise<void> {
    const cache = await caches.open(cacheName);
    await Promise.all(
      files.map(async ([path, hash]) => {
        const key = keys.get(path);
        if (key === undefined || (await cache.match(key))) return;
        // Hosts may add to a page, so its content is not checked; everything else must be as it was built.
        const check = path === PAGE ? {} : { integrity: `sha256-${hash}` };
        const response = await fetch(new URL(path, scope), { cache: "no-cache", ...check });
        if (!response.ok) throw new Error(`${path}: status ${response.status}`);
        await cache.put(key, response);
      }),
    );
  }

  async function dropOld(): Promise<void> {
    const cache = await caches.open(cacheName);
    const wanted = new Set(keys.values());
    const kept = await cache.keys();
    await Promise.all(kept.filter(({ url }) => !wanted.has(url)).map((old) => cache.delete(old)));
  }

  /** Which file of the build is asked for; undefined for all that is not the page's. */
  function pathOf(request: Request): string | undefined {
    const { origin, pathname } = new URL(request.url);
    if (request.method !== "GET" || origin !== scope.origin) return undefined;
    if (!pathname.startsWith(scope.pathname)) return undefined;
    const path = pathname.slice(scope.pathname.length) || PAGE;
    return keys.has(path) ? path : undefined;
  }

  async function openPage(request: Request): Promise<Response> {
    const fresh = fetch(request).then((response) => (response.ok ? response : undefined));
    const first = await Promise.race([fresh, pause(PATIENCE_MS)]).catch(() => undefined);
    return first ?? (await cached(PAGE)) ?? fetch(request);
  }

  async function answer(request: Request, key: string | undefined): Promise<Response> {
    const kept = key === undefined ? undefined : await match(key);
    if (!kept) return fetch(request);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
    return range ? part(kept, Number(range[1]), range[2] ? Number(range[2]) : Infinity) : kept;
  }

  async function cached(path: string): Promise<Response | undefined> {
    const key = keys.get(path);
    return key === undefined ? undefined : await match(key);
  }

  async function match(key: string): Promise<Response | undefined> {
    const cache = await caches.open(cacheName);
    return await cache.match(key, { ignoreVary: true });
  }
}

/** Bytes [first, last] of a whole response. */
async function part(whole: Response, first: number, last: number): Promise<Response> {
  const blob = await whole.blob();
  const end = Math.min(last + 1, blob.size);
  const headers = new Headers(whole.headers);
  if (first >= end) {
    headers.set("content-range", `bytes */${blob.size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("content-range", `bytes ${first}-${end - 1}/${blob.size}`);
  headers.set("content-length", String(end - first));
  return new Response(blob.slice(first, end), { status: 206, headers });
}

async function pause(milliseconds: number): Promise<undefined> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return undefined;
}

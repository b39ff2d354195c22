// Serves the built page on this machine alone: `npm start`.
//
//   node scripts/serve.mjs [--port N] [--host 127.0.0.1]     HF_ENDPOINT=http://… for another hub
import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DEFAULT_HUB, hubOrigin, pageHeaders, withHub } from "./page-policy.mjs";

const FIRST_PORT = 4173;
const LOOPBACK = ["127.0.0.1", "::1", "localhost"];

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".jsonl": "application/x-ndjson; charset=utf-8",
  ".csv": "text/csv; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json; charset=utf-8",
  ".wgsl": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
  ".yaml": "text/plain; charset=utf-8",
};

if (process.argv[1] && (await realpath(process.argv[1])) === fileURLToPath(import.meta.url)) {
  await main().catch((error) => {
    process.stderr.write(`Error: ${error.message}\n`);
    process.exit(1);
  });
}

async function main() {
  const { values } = parseArgs({ options: { port: { type: "string" }, host: { type: "string" } } });
  const port = values.port === undefined ? undefined : readPort(values.port);
  const hub = process.env["HF_ENDPOINT"] || DEFAULT_HUB;
  const root = join(dirname(dirname(fileURLToPath(import.meta.url))), "dist");
  const { url } = await serve({ root, hub, port, host: values.host });
  process.stdout.write(`Hone is at ${url} (Ctrl-C ends it)\n`);
}

/**
 * Serves the folder `root`. Without `port` it takes 4173 or the next that is free, 0 takes any.
 * Rejects where the port is taken, or the host is not this machine alone.
 */
export async function serve({ root, hub = DEFAULT_HUB, port, host = "127.0.0.1" }) {
  if (!LOOPBACK.includes(host)) {
    throw new Error(
      `--host ${host} would show the page's server to others.\nLeave --host out, or give one of ${LOOPBACK.join(", ")}.`,
    );
  }
  const site = { root: await realpath(root), hub: hubOrigin(hub) };
  const server = createServer((request, response) => {
    answer(site, request, response).catch((error) => {
      // The reader left, or the file went away under it.
      response.destroy(error);
    });
  });
  await listen(server, host, port);
  const { port: taken, family } = server.address();
  return {
    url: `http://${family === "IPv6" ? "[::1]" : host}:${taken}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(site, request, response) {
  for (const [name, value] of Object.entries(pageHeaders(site.hub))) {
    response.setHeader(name, value);
  }
  const refusal = refusalOf(request);
  const file = refusal ? undefined : await findFile(site.root, request.url);
  if (!file) {
    if (refusal === 405) response.setHeader("Allow", "GET, HEAD");
    end(response, refusal ?? 404);
    return;
  }
  response.setHeader("Content-Type", TYPES[extname(file.path)] ?? "application/octet-stream");
  response.setHeader("Cache-Control", file.isHashed ? "max-age=31536000, immutable" : "no-cache");
  await (file.path.endsWith(".html") ? sendPage : sendFile)(site, file, request, response);
}

/** The status to refuse with, or undefined. Another site's name that leads here (DNS rebinding) is in Host. */
function refusalOf({ headers, method }) {
  if (!isOwnHost(headers.host)) return 403;
  return method === "GET" || method === "HEAD" ? undefined : 405;
}

/** The page names its hub and what it may connect to; both follow the hub that is served for. */
async function sendPage(site, file, request, response) {
  const text = withHub(await readFile(file.path, "utf8"), site.hub);
  response.setHeader("Content-Length", Buffer.byteLength(text));
  response.end(request.method === "HEAD" ? undefined : text);
}

async function sendFile(_site, file, request, response) {
  const tag = `"${file.bytes.toString(36)}-${Math.round(file.changedMs).toString(36)}"`;
  response.setHeader("ETag", tag);
  response.setHeader("Accept-Ranges", "bytes");
  const [start, stop] = readRange(request, file.bytes, tag) ?? [0, file.bytes];
  const isPart = stop - start < file.bytes;
  if (request.headers["if-none-match"] === tag) {
    end(response, 304);
  } else if (start >= stop && isPart) {
    response.setHeader("Content-Range", `bytes */${file.bytes}`);
    end(response, 416);
  } else {
    if (isPart) response.setHeader("Content-Range", `bytes ${start}-${stop - 1}/${file.bytes}`);
    response.setHeader("Content-Length", stop - start);
    response.statusCode = isPart ? 206 : 200;
    if (request.method === "HEAD" || stop === start) response.end();
    else await pipeline(createReadStream(file.path, { start, end: stop - 1 }), response);
  }
}

/** [start, stop) of a single range, empty past the end; undefined for the whole file, also where several are asked for. */
function readRange(request, bytes, tag) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
  const condition = request.headers["if-range"];
  if (!match || match[0] === "bytes=-" || (condition && condition !== tag)) return undefined;
  const [, first, last] = match;
  if (first === "") return [Math.max(bytes - Number(last), 0), bytes];
  return [Number(first), last === "" ? bytes : Math.min(Number(last) + 1, bytes)];
}

/** The file that an address names, or undefined: nothing outside the folder, hidden, or of the command line. */
async function findFile(root, address) {
  const path = decodePath(address);
  if (path === undefined) return undefined;
  const parts = path.split("/").slice(1);
  if (parts.at(-1) === "") parts[parts.length - 1] = "index.html";
  if (parts[0] === "cli" || parts.some((part) => !/^[\w@-][\w.@ -]*$/.test(part))) return undefined;
  try {
    const found = await realpath(join(root, ...parts));
    const facts = await stat(found);
    // A link may lead out of the folder.
    if (!facts.isFile() || !found.startsWith(root + sep)) return undefined;
    const isHashed = parts.at(-2) === "assets" && /-[\w-]{8}\.\w+$/.test(found);
    return { path: found, bytes: facts.size, changedMs: facts.mtimeMs, isHashed };
  } catch {
    return undefined;
  }
}

/** The path of a request, decoded once; undefined where it has none. */
function decodePath(address) {
  if (!address.startsWith("/")) return undefined;
  try {
    return decodeURIComponent(address.split(/[?#]/, 1)[0]);
  } catch {
    return undefined;
  }
}

/** Any port, so that one can be forwarded from elsewhere. */
function isOwnHost(host) {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(host ?? "");
}

function end(response, status) {
  response.statusCode = status;
  response.end();
}

function readPort(text) {
  if (/^\d{1,5}$/.test(text) && Number(text) < 65_536) return Number(text);
  throw new Error(`--port is ${text}.\nGive a number from 0 to 65535.`);
}

async function listen(server, host, port) {
  const wanted = port === undefined ? Array.from({ length: 20 }, (_, i) => FIRST_PORT + i) : [port];
  for (const candidate of wanted) {
    if (await tryPort(server, host, candidate)) return;
  }
  throw new Error(
    `Port ${wanted.length === 1 ? port : `${FIRST_PORT} and the ${wanted.length - 1} after it`} on ${host} is taken.\nGive a free one with --port.`,
  );
}

function tryPort(server, host, port) {
  return new Promise((resolve, reject) => {
    const failed = (error) => {
      server.off("listening", started);
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    };
    const started = () => {
      server.off("error", failed);
      resolve(true);
    };
    server.once("error", failed);
    server.once("listening", started);
    server.listen(port, host);
  });
}

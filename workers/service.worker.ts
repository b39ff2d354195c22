// The page's service worker, built to sw.js beside index.html.
import { keepPage, type PageFile } from "../src/services/page-cache.ts";

// The build writes its list of files in the place of this text.
const files = "HONE_FILES" as unknown as readonly PageFile[];

keepPage(globalThis as unknown as ServiceWorkerGlobalScope, files);

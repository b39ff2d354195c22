// Mounts the page.
import { render } from "solid-js/web";
import { App } from "./App.tsx";
import { keepFocus } from "./keep-focus.ts";
import { registerServiceWorker } from "./service-worker.ts";
import { createSession, SessionProvider } from "./session.ts";
import { startWorkers } from "./workers.ts";

const root = document.getElementById("app");
if (!root) throw new Error("index.html has no #app element");
const workers = startWorkers();
render(() => {
  const session = createSession(workers);
  return (
    <SessionProvider value={session}>
      <App />
    </SessionProvider>
  );
}, root);
keepFocus();
// Offline use can wait until the page is there.
addEventListener("load", () => void registerServiceWorker());

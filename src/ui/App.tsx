// The page: whether this browser's GPU can fine-tune, and where fine-tuning happens today.
import { createResource, For, Match, Switch } from "solid-js";
import { messageOf } from "../base/error.ts";
import { inspectGpu, type GpuReport } from "./inspect-gpu.ts";

export function App() {
  const [report] = createResource(inspectGpu);
  return (
    <main>
      <h1>Hone</h1>
      <p>Fine-tune a language model on your own GPU: QLoRA on WebGPU.</p>
      <section aria-labelledby="gpu" aria-live="polite">
        <h2 id="gpu">Your GPU in this browser</h2>
        <Switch fallback={<p>Looking for a GPU …</p>}>
          <Match when={report.error !== undefined}>
            <Problem error={report.error} />
          </Match>
          <Match when={report()}>{(found) => <Report report={found()} />}</Match>
        </Switch>
      </section>
      <section aria-labelledby="today">
        <h2 id="today">Where fine-tuning happens today</h2>
        <p>
          The command line does it, in Node and on the same engine. From a clone of the project this
          fine-tunes the built-in model, exports it and talks to the result:
        </p>
        <pre>
          <code>npm run demo</code>
        </pre>
      </section>
    </main>
  );
}

function Report(props: { report: GpuReport }) {
  return (
    <>
      <p class="verdict">
        <strong>WebGPU works here.</strong> {props.report.name}
      </p>
      <dl>
        <For each={props.report.facts}>
          {(fact) => (
            <div>
              <dt>{fact.name}</dt>
              <dd>{fact.value}</dd>
            </div>
          )}
        </For>
      </dl>
    </>
  );
}

/** The problem, then what to do about it: the two lines of a UserError. */
function Problem(props: { error: unknown }) {
  const lines = () => messageOf(props.error).split("\n");
  return (
    <div role="alert" class="problem">
      <p>
        <strong>{lines()[0]}</strong>
      </p>
      <p>{lines().slice(1).join(" ")}</p>
    </div>
  );
}

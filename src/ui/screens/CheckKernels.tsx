// Which kernel variants were tried on this GPU, and which are in use.
import { For, Show } from "solid-js";
import type { KernelTable } from "../../services/api.ts";
import { formatCount } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";

type Tried = KernelTable["tried"][number];
type Trial = Tried["slots"][number];
type Variant = Trial["variants"][number];

export function CheckKernels(props: { readonly table: KernelTable }) {
  const { check, live } = useSession();
  const text = useText();
  const words = () => text().plan.check.kernels;
  return (
    <Show when={props.table.slots.length > 0}>
      <section class="card">
        <h2>{words().title}</h2>
        <p>{props.table.why ? words().why[props.table.why] : words().rule}</p>
        <For
          each={props.table.tried.filter(({ slots }) => slots.length > 0)}
          fallback={<NoneTried table={props.table} />}
        >
          {(tried) => <TriedTable tried={tried} />}
        </For>
        <Show when={props.table.why === undefined}>
          <div class="row">
            <Button
              isBusy={check.isTryingKernels()}
              disabled={live.isRunning()}
              onClick={() => void check.tryKernels()}
            >
              {check.isTryingKernels() ? words().trying : words().tryNow}
            </Button>
            <Show when={check.isTryingKernels()}>
              <Button kind="subtle" onClick={() => void check.stopTryingKernels()}>
                {text().app.cancel}
              </Button>
              <span role="status">
                <Show when={check.tryingProgress()}>
                  {(now) => words().progress(now().slot ?? "", now().done, now().total)}
                </Show>
              </span>
            </Show>
          </div>
        </Show>
      </section>
    </Show>
  );
}

/** Where nothing is tried by itself, the reason stands above. */
function NoneTried(props: { readonly table: KernelTable }) {
  const text = useText();
  return (
    <Show when={props.table.why === undefined}>
      <p class="quiet">{text().plan.check.kernels.none}</p>
    </Show>
  );
}

function TriedTable(props: { readonly tried: Tried }) {
  const text = useText();
  const words = () => text().plan.check.kernels;
  const label = () => {
    const { hidden, intermediate, tokens, act } = props.tried.sizes;
    return words().sizes(`${hidden} × ${intermediate}`, formatCount(tokens), act);
  };
  return (
    <div class="table-wrap" tabindex="0" role="group" aria-label={label()}>
      <table class="check-kernels">
        <caption>{label()}</caption>
        <thead>
          <tr>
            <th scope="col">{words().kernel}</th>
            <th scope="col">{words().variant}</th>
            <th scope="col">{words().time}</th>
            <th scope="col">{words().ratio}</th>
          </tr>
        </thead>
        <tbody>
          <For each={props.tried.slots}>
            {(trial) => (
              <For each={trial.variants}>
                {(variant, index) => (
                  <tr classList={{ "is-chosen": variant.name === trial.chosen }}>
                    <Show when={index() === 0}>
                      <th scope="rowgroup" class="mono" rowspan={trial.variants.length}>
                        {trial.slot}
                      </th>
                    </Show>
                    <td>
                      <span class="mono">{variant.name}</span>
                      <Show when={variant.name === trial.chosen}> ✓ {words().chosen}</Show>
                    </td>
                    <Figures variant={variant} trial={trial} />
                  </tr>
                )}
              </For>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function Figures(props: { readonly variant: Variant; readonly trial: Trial }) {
  const text = useText();
  const words = () => text().plan.check.kernels;
  const first = () => props.trial.variants[0]?.seconds;
  const ratio = (seconds: number) => {
    const own = first();
    return own === undefined ? "" : `${(own / seconds).toFixed(2)}×`;
  };
  const why = () => {
    const { fault } = props.variant;
    return fault ? words().faults[fault.kind] : words().notTried;
  };
  return (
    <Show
      when={props.variant.seconds}
      fallback={
        <td colspan={2} class="quiet" title={props.variant.fault?.words}>
          {why()}
        </td>
      }
    >
      {(seconds) => (
        <>
          <td>{(seconds() * 1000).toPrecision(3)} ms</td>
          <td>{ratio(seconds())}</td>
        </>
      )}
    </Show>
  );
}

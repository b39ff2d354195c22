// How much GPU memory a run may take, and which sizes of models fit into it.
import { createSignal, For, Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { VerdictBadge } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { NumberField } from "../parts/Fields.tsx";
import { estimateBytes, TYPICAL_MODELS, verdictOf } from "../model-sizes.ts";
import { useSession, useText } from "../session.ts";

const GIB = 2 ** 30;

export function CheckSizes() {
  const { check } = useSession();
  const text = useText();
  const words = () => text().plan.check.sizes;
  const sizes = () =>
    TYPICAL_MODELS.map((model) => {
      const bytes = estimateBytes(model, check.gpu()?.hasF16 === true);
      return { name: model.name, bytes, verdict: verdictOf(bytes, check.budgetBytes()) };
    });
  const largest = () => sizes().findLast(({ verdict }) => verdict !== "too-big")?.name;
  return (
    <section class="columns">
      <div class="card">
        <h2>{words().title}</h2>
        <p>
          <strong>
            <Show when={largest()} fallback={words().noneFits}>
              {(name) => words().largest(name())}
            </Show>
          </strong>
        </p>
        <Show when={check.gpu()?.isSoftware}>
          <p>{words().software}</p>
        </Show>
        <div class="table-wrap" tabindex="0" role="group" aria-label={words().title}>
          <table class="check-sizes">
            <thead>
              <tr>
                <th scope="col">{words().model}</th>
                <th scope="col">{words().needs}</th>
                <th scope="col">{words().verdict}</th>
              </tr>
            </thead>
            <tbody>
              <For each={sizes()}>
                {(size) => (
                  <tr>
                    <td>{size.name}</td>
                    <td>{formatBytes(size.bytes)}</td>
                    <td>
                      <VerdictBadge verdict={size.verdict} />
                    </td>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
        <p class="small quiet">{words().rule}</p>
      </div>
      <Budget />
    </section>
  );
}

function Budget() {
  const { check, live } = useSession();
  const text = useText();
  const [isRefused, setIsRefused] = createSignal(false);
  const words = () => text().plan.check.budget;
  const take = (gib: number) => {
    const isTaken = gib >= 0.1 && gib <= 1024;
    setIsRefused(!isTaken);
    if (isTaken) check.setBudgetBytes(gib * GIB);
  };
  return (
    <div class="card">
      <h2>{words().title}</h2>
      <p class="quiet">{check.isBudgetGuessed() ? words().why : words().own}</p>
      <div class="check-budget">
        <NumberField
          label={words().field}
          help={words().help}
          problem={isRefused() ? words().takes : undefined}
          value={Math.round((check.budgetBytes() / GIB) * 10) / 10}
          min={0.1}
          max={1024}
          onChange={take}
        />
      </div>
      <div class="row">
        <Button
          isBusy={check.isMeasuring()}
          disabled={live.isRunning()}
          onClick={() => void check.measure()}
        >
          {check.isMeasuring() ? words().measuring : words().measure}
        </Button>
      </div>
      <p class="small quiet">{words().warning}</p>
    </div>
  );
}

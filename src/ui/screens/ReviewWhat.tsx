// Model, data and recipe in a few words, each with the way back to it.
import { type JSX, Show } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import { Button, LinkButton } from "../parts/Button.tsx";
import { formatParameters } from "../model-library.ts";
import { countRows } from "../review.ts";
import { hrefOf, type RouteName } from "../router.ts";
import { useSession, useText } from "../session.ts";

export function ReviewWhat() {
  const text = useText();
  const words = () => text().plan.review.what;
  return (
    <section class="card">
      <h2>{words().title}</h2>
      <dl class="review-what">
        <Row name={words().model} to="model" change={words().changeModel}>
          <Model />
        </Row>
        <Row name={words().data} to="data" change={words().changeData}>
          <Data />
        </Row>
        <Row name={words().recipe} to="recipe" change={words().changeRecipe}>
          <Recipe />
        </Row>
      </dl>
    </section>
  );
}

function Row(props: {
  readonly name: string;
  readonly to: RouteName;
  readonly change: string;
  readonly children: JSX.Element;
}) {
  const text = useText();
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
      <dd>
        <LinkButton kind="subtle" href={hrefOf(props.to)}>
          <span aria-hidden="true">{text().plan.review.what.change}</span>
          <span class="visually-hidden">{props.change}</span>
        </LinkButton>
      </dd>
    </div>
  );
}

function Model() {
  const { models } = useSession();
  const text = useText();
  const words = () => text().plan.review.what;
  return (
    <Show when={models.selected()} fallback={text().plan.review.blocked.model}>
      {(model) => (
        <>
          <strong>{model().name}</strong>
          <p class="small quiet">
            {[
              ...(model().facts
                ? [words().parameters(formatParameters(model().facts?.parameters ?? 0))]
                : []),
              formatBytes(model().bytes),
            ].join(" · ")}
          </p>
          <p class="small quiet">
            {model().partialBytes === undefined
              ? words().noDownload
              : words().remaining(formatBytes(model().bytes - (model().partialBytes ?? 0)))}
          </p>
        </>
      )}
    </Show>
  );
}

function Data() {
  const { data } = useSession();
  const text = useText();
  const words = () => text().plan.review.what;
  return (
    <Show when={data.selected().length > 0} fallback={text().plan.review.blocked.data}>
      <strong>
        {data
          .selected()
          .map(({ name }) => name)
          .join(", ")}
      </strong>
      <p class="small quiet">{words().rows(formatCount(countRows(data.selected())))}</p>
    </Show>
  );
}

function Recipe() {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.what;
  const facts = () => {
    const config = recipe.config();
    const changed = recipe.differences().length;
    return [
      config.max_steps > 0
        ? words().steps(formatCount(config.max_steps))
        : words().epochs(config.max_epochs),
      words().rank(config.lora.r),
      config.quantization === "nf4" ? words().frozen : words().unquantized,
      ...(changed > 0 ? [words().changed(changed)] : []),
    ].join(" · ");
  };
  return (
    <>
      <strong>{text().plan.recipe.presets[recipe.preset()].name}</strong>
      <p class="small quiet">{facts()}</p>
      <Show when={recipe.parent()}>
        {(parent) => (
          <p class="small">
            {words().parent(parent().checkpoint)}{" "}
            <Button kind="subtle" onClick={() => recipe.setParent(undefined)}>
              {words().dropParent}
            </Button>
          </p>
        )}
      </Show>
    </>
  );
}

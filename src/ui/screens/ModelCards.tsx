// A card for each thing on the shelf: a base model, an adapter, a download that broke off, and the one that comes along.
import { type JSX, Show } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { ModelFacts, ModelOrigin, StoredModel } from "../../services/api.ts";
import { formatDate } from "../dates.ts";
import { baseOf, formatParameters, isRepoName } from "../model-library.ts";
import { Badge, Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";
import { EstimateBadge, EstimateSum } from "./ModelEstimate.tsx";

interface CardProps {
  readonly model: StoredModel;
  readonly onDelete: () => void;
}

/** A base model that can be chosen. */
export function ModelCard(props: CardProps) {
  const { models } = useSession();
  const text = useText();
  const isChosen = () => models.selected()?.id === props.model.id;
  const label = () =>
    isChosen() ? text().library.model.card.chosen : text().library.model.card.choose;
  return (
    <li class="card" classList={{ "is-chosen": isChosen() }}>
      <CardHead name={props.model.name} badge={<EstimateBadge modelId={props.model.id} />} />
      <dl class="facts plain model-facts">
        <Show when={props.model.facts}>{(facts) => <ModelFactList facts={facts()} />}</Show>
        <StoredFacts model={props.model} />
      </dl>
      <Show when={props.model.facts?.hasChatTemplate === false}>
        <p class="small quiet">{text().library.model.card.noTemplate}</p>
      </Show>
      <EstimateSum modelId={props.model.id} />
      <CardActions {...props}>
        <Button
          aria-pressed={isChosen()}
          aria-label={text().library.model.of(label(), props.model.name)}
          onClick={() => models.select(props.model.id)}
        >
          <Show when={isChosen()}>
            <span aria-hidden="true">✓</span>
          </Show>
          {label()}
        </Button>
      </CardActions>
    </li>
  );
}

/** An adapter: it can be tried where its base is. */
export function AdapterCard(props: CardProps) {
  const { models, tryout } = useSession();
  const text = useText();
  const base = () => baseOf(props.model, models.list());
  return (
    <li class="card">
      <CardHead
        name={props.model.name}
        badge={<Badge>{text().library.model.card.adapter}</Badge>}
      />
      <dl class="facts plain model-facts">
        <StoredFacts model={props.model} />
      </dl>
      <p class="small quiet">
        <BaseLine baseModel={props.model.baseModel} />
      </p>
      <CardActions {...props}>
        <Show when={base()} fallback={<BaseLookUp baseModel={props.model.baseModel} />}>
          {(found) => (
            <Button
              aria-label={text().library.model.of(
                text().library.model.adapter.tryIt,
                props.model.name,
              )}
              onClick={() =>
                tryout.choose(found().id, { kind: "imported", adapterId: props.model.id })
              }
            >
              {text().library.model.adapter.tryIt}
            </Button>
          )}
        </Show>
      </CardActions>
    </li>
  );
}

/** Whether an adapter's base is here, in a sentence. */
export function BaseLine(props: { readonly baseModel: string | undefined }) {
  const { models } = useSession();
  const text = useText();
  const words = () => text().library.model.adapter;
  const line = () => {
    const wanted = props.baseModel;
    if (wanted === undefined || wanted === "") return words().unknownBase;
    const found = baseOf({ baseModel: wanted }, models.list());
    if (found) return words().hasBase(found.name);
    return isRepoName(wanted) ? words().needsBase(wanted) : words().needsFolder(wanted);
  };
  return <>{line()}</>;
}

/** One click to the base that an adapter lacks, where its name is a repo's. */
export function BaseLookUp(props: { readonly baseModel: string | undefined }) {
  const { models } = useSession();
  const text = useText();
  const repo = () =>
    props.baseModel !== undefined && isRepoName(props.baseModel) ? props.baseModel : undefined;
  return (
    <Show when={repo()}>
      {(name) => (
        <Button disabled={!models.isOnline()} onClick={() => void models.lookUp(name())}>
          {text().library.model.adapter.lookUp}
        </Button>
      )}
    </Show>
  );
}

/** A download that broke off. */
export function PartialCard(props: CardProps) {
  const { app, models } = useSession();
  const text = useText();
  const there = () => props.model.partialBytes ?? 0;
  const isFromHub = () => props.model.origin.kind === "hub";
  return (
    <li class="card">
      <CardHead
        name={props.model.name}
        badge={<Badge kind="warn">{text().library.model.partial.badge}</Badge>}
      />
      <p class="small">
        {text().library.model.partial.there(
          formatBytes(there()),
          formatBytes(Math.max(there(), props.model.bytes)),
        )}
      </p>
      <progress
        value={there()}
        max={Math.max(there(), props.model.bytes, 1)}
        aria-label={text().library.model.partial.badge}
      />
      <Show when={!isFromHub()}>
        <p class="small quiet">{text().library.model.partial.again}</p>
      </Show>
      <CardActions {...props}>
        <Show when={isFromHub()}>
          <Button
            disabled={!models.isOnline()}
            aria-label={text().library.model.of(
              text().library.model.partial.goOn,
              props.model.name,
            )}
            onClick={() => void app.attempt(() => models.goOn(props.model))}
          >
            {text().library.model.partial.goOn}
          </Button>
        </Show>
      </CardActions>
    </li>
  );
}

/** The model that comes with the page, before it was ever used. */
export function EmbeddedCard() {
  const { app, models } = useSession();
  const text = useText();
  const words = () => text().library.model.embedded;
  const isComing = () => models.transfers().some(({ kind }) => kind === "embedded");
  const use = () =>
    app.attempt(async () => {
      models.select((await models.ensureEmbedded()).id);
    });
  return (
    <Show when={!isComing()}>
      <li class="card">
        <CardHead name={words().name} badge={<Badge kind="accent">{words().origin}</Badge>} />
        <p class="quiet">{words().about}</p>
        <div class="row model-card-actions">
          <Button onClick={() => void use()}>{words().use}</Button>
        </div>
      </li>
    </Show>
  );
}

function CardHead(props: { readonly name: string; readonly badge: JSX.Element }) {
  return (
    <div class="row apart model-card-head">
      <h3>{props.name}</h3>
      {props.badge}
    </div>
  );
}

function CardActions(props: CardProps & { readonly children: JSX.Element }) {
  const text = useText();
  return (
    <div class="row apart model-card-actions">
      <div class="row">{props.children}</div>
      <Button
        kind="subtle danger"
        aria-label={text().library.model.of(text().app.delete, props.model.name)}
        onClick={() => props.onDelete()}
      >
        {text().app.delete}
      </Button>
    </div>
  );
}

/** What a model is, for inside a list of facts. */
export function ModelFactList(props: { readonly facts: ModelFacts }) {
  const text = useText();
  const words = () => text().library.model.card;
  return (
    <>
      <Fact name={words().family}>{props.facts.family}</Fact>
      <Fact name={words().parameters}>{formatParameters(props.facts.parameters)}</Fact>
      <Fact name={words().layers}>{formatCount(props.facts.layers)}</Fact>
      <Fact name={words().context}>{words().tokens(formatCount(props.facts.contextTokens))}</Fact>
      <Fact name={words().storedAs}>{props.facts.storedAs}</Fact>
    </>
  );
}

function StoredFacts(props: { readonly model: StoredModel }) {
  const { app } = useSession();
  const text = useText();
  const words = () => text().library.model.card;
  return (
    <>
      <Fact name={words().bytes}>{formatBytes(props.model.bytes)}</Fact>
      <Fact name={words().used}>{formatDate(props.model.usedAt, app.language())}</Fact>
      <div class="model-origin">
        <dt>{words().origin}</dt>
        <dd>
          <Origin origin={props.model.origin} />
        </dd>
      </div>
    </>
  );
}

function Origin(props: { readonly origin: ModelOrigin }) {
  const text = useText();
  const line = () => {
    const { origin } = props;
    const words = text().library.model;
    if (origin.kind === "hub") return words.card.hub(origin.repo, origin.commit.slice(0, 8));
    return origin.kind === "embedded" ? words.embedded.origin : words.card.local;
  };
  return <>{line()}</>;
}

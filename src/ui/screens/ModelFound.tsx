// What a look-up found: its files and facts, whether it will fit on the GPU and in storage, and the download.
import { Match, Show, Switch } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { HubModel } from "../../services/api.ts";
import { isStoredAs, missingBytes } from "../model-library.ts";
import { Badge, Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { FileSizes } from "../parts/LookupOutcome.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";
import { BaseLine, BaseLookUp, ModelFactList } from "./ModelCards.tsx";
import { EstimateBadge, EstimateSum } from "./ModelEstimate.tsx";
import { TransferProgress } from "./ModelTransfer.tsx";

export function ModelFound(props: { readonly model: HubModel }) {
  const { models } = useSession();
  const text = useText();
  const words = () => text().library.model.hub;
  const isModel = () => props.model.kind === "model";
  const isUsable = () => props.model.refusal === undefined;
  return (
    <div class="card is-flat model-found">
      <div class="row apart model-card-head">
        <h3>{props.model.repo}</h3>
        <Show when={isModel()} fallback={<Badge>{text().library.model.card.adapter}</Badge>}>
          <Show when={isUsable()}>
            <EstimateBadge modelId={props.model.estimateId} />
          </Show>
        </Show>
      </div>
      <dl class="facts plain model-facts">
        <Show when={props.model.facts}>{(facts) => <ModelFactList facts={facts()} />}</Show>
        <Fact name={words().size}>{formatBytes(props.model.totalBytes)}</Fact>
        <Fact name={words().revision}>
          {props.model.revision} <code>{props.model.commit.slice(0, 8)}</code>
        </Fact>
      </dl>
      <Show when={!isModel()}>
        <p class="small quiet">
          <BaseLine baseModel={props.model.baseModel} />
        </p>
      </Show>
      <Show when={isModel() && isUsable()}>
        <EstimateSum modelId={props.model.estimateId} />
        <Show when={models.estimateOf(props.model.estimateId)?.estimate?.verdict === "too-big"}>
          <p class="small quiet">{words().tooBig}</p>
        </Show>
      </Show>
      <Files model={props.model} />
      <Show when={props.model.refusal} fallback={<DownloadPart model={props.model} />}>
        {(refusal) => <ErrorNotice message={refusal()} />}
      </Show>
      <div class="row">
        <Show when={!isModel()}>
          <BaseLookUp baseModel={props.model.baseModel} />
        </Show>
        <Button kind="subtle" onClick={() => models.clearLookup()}>
          {words().dismiss}
        </Button>
      </div>
    </div>
  );
}

function Files(props: { readonly model: HubModel }) {
  const text = useText();
  return (
    <details class="small">
      <summary>{text().library.model.hub.files(formatCount(props.model.files.length))}</summary>
      <FileSizes files={props.model.files} />
    </details>
  );
}

/** The button, or what there is instead: how the download goes, that it is here, that there is no room. */
function DownloadPart(props: { readonly model: HubModel }) {
  const { check, models } = useSession();
  const text = useText();
  const words = () => text().library.model.hub;
  const transfer = () => models.transfers().find(({ key }) => key === props.model.repo);
  const stored = () => models.list().find((entry) => isStoredAs(props.model, entry));
  const missing = () => missingBytes(props.model, check.storage());
  return (
    <Switch fallback={<DownloadButton model={props.model} isRefused={false} />}>
      <Match when={transfer()}>{(coming) => <TransferProgress transfer={coming()} />}</Match>
      <Match when={stored()}>
        {(model) => (
          <>
            <p class="small">{words().isHere}</p>
            <Show when={model().kind === "model"}>
              <Button onClick={() => models.select(model().id)}>
                {text().library.model.card.choose}
              </Button>
            </Show>
          </>
        )}
      </Match>
      <Match when={missing() > 0}>
        <Notice
          kind="warn"
          problem={words().noRoom(formatBytes(missing()))}
          remedy={words().makeRoom}
        />
        <DownloadButton model={props.model} isRefused={true} />
      </Match>
    </Switch>
  );
}

function DownloadButton(props: { readonly model: HubModel; readonly isRefused: boolean }) {
  const { app, models } = useSession();
  const text = useText();
  const words = () => text().library.model.hub;
  const label = () => {
    const left = formatBytes(props.model.totalBytes - props.model.partialBytes);
    return props.model.partialBytes > 0 ? words().goOn(left) : words().download(left);
  };
  return (
    <>
      <Show when={props.model.partialBytes > 0}>
        <p class="small">{words().already(formatBytes(props.model.partialBytes))}</p>
      </Show>
      <Button
        disabled={props.isRefused || !models.isOnline()}
        onClick={() => void app.attempt(() => models.download(props.model))}
      >
        {label()}
      </Button>
    </>
  );
}

// From the hub: an id or a pasted address, which of its files are the split, and the way of their rows in here.
import { createSignal, For, Show } from "solid-js";
import { formatBytes, formatCount, formatDuration } from "../../base/format.ts";
import type { DataDownload, HubData } from "../../services/api.ts";
import type { Transfer } from "../model-transfers.ts";
import { BytesProgress, Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { FileSizes, LookupOutcome } from "../parts/LookupOutcome.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

const DEFAULT_SPLIT = "train";

export function DataHub() {
  const { data, models } = useSession();
  const text = useText();
  const words = () => text().data.hub;
  const [typed, setTyped] = createSignal("");
  const [split, setSplit] = createSignal(DEFAULT_SPLIT);
  const [problem, setProblem] = createSignal<string>();
  const find = (event: Event) => {
    event.preventDefault();
    const wanted = typed().trim();
    setProblem(wanted === "" ? words().empty : undefined);
    if (wanted !== "") void data.hub.lookUp(wanted, split().trim() || DEFAULT_SPLIT);
  };
  return (
    <section class="card data-hub" aria-labelledby="data-hub">
      <h3 id="data-hub">{words().title}</h3>
      <form class="data-hub-form" onSubmit={find}>
        <TextField
          label={words().label}
          help={words().help}
          placeholder={words().placeholder}
          problem={problem()}
          value={typed()}
          onInput={setTyped}
          onChange={setTyped}
        />
        <TextField
          label={words().split}
          help={words().splitHelp}
          value={split()}
          onInput={setSplit}
          onChange={setSplit}
        />
        <div class="row">
          <Button type="submit" disabled={!models.isOnline()}>
            {words().find}
          </Button>
        </div>
      </form>
      <LookupOutcome
        lookup={data.hub.lookup()}
        looking={words().finding}
        onRetry={(again) => void data.hub.retry(again)}
      >
        {(set) => <Found data={set} />}
      </LookupOutcome>
      <Begun />
    </section>
  );
}

function Found(props: { readonly data: HubData }) {
  const { data } = useSession();
  const text = useText();
  const words = () => text().data.hub;
  return (
    <div class="card is-flat stack tight">
      <h4>{props.data.repo}</h4>
      <Show
        when={props.data.refusal}
        fallback={
          <>
            <dl class="facts plain data-hub-facts">
              <Show when={props.data.config}>
                {(config) => <Fact name={words().config}>{config()}</Fact>}
              </Show>
              <Fact name={words().split}>{props.data.split}</Fact>
              <Fact name={words().size}>{formatBytes(props.data.totalBytes)}</Fact>
              <Fact name={words().revision}>
                {props.data.revision} <code>{props.data.commit.slice(0, 8)}</code>
              </Fact>
            </dl>
            <Files data={props.data} />
            <DownloadPart data={props.data} />
          </>
        }
      >
        {(refusal) => <ErrorNotice message={refusal()} />}
      </Show>
      <div class="row">
        <Button kind="subtle" onClick={() => data.hub.clearLookup()}>
          {words().dismiss}
        </Button>
      </div>
    </div>
  );
}

function Files(props: { readonly data: HubData }) {
  const text = useText();
  return (
    <details class="small">
      <summary>{text().data.hub.files(formatCount(props.data.files.length))}</summary>
      <p class="quiet">{text().data.hub.reasons[props.data.reason]}</p>
      <FileSizes files={props.data.files} />
    </details>
  );
}

/** The button, or what there is instead: how the download goes, or that there is no room. */
function DownloadPart(props: { readonly data: HubData }) {
  const { app, check, data, models } = useSession();
  const text = useText();
  const words = () => text().data.hub;
  const transfer = () => data.hub.transfers().find(({ key }) => key === props.data.id);
  const here = () => {
    const begun = data.hub.begun().find(({ id }) => id === props.data.id);
    return begun?.partialBytes ?? props.data.partialBytes;
  };
  const left = () => props.data.totalBytes - here();
  const lacking = () => {
    const storage = check.storage();
    if (!storage || storage.quotaBytes === 0) return 0;
    return Math.max(0, left() - (storage.quotaBytes - storage.usedBytes));
  };
  const label = () =>
    here() > 0 ? words().goOn(formatBytes(left())) : words().download(formatBytes(left()));
  return (
    <Show
      when={transfer()}
      fallback={
        <>
          <Show when={lacking() > 0}>
            <Notice
              kind="warn"
              problem={words().noRoom(formatBytes(lacking()))}
              remedy={words().makeRoom}
            />
          </Show>
          <Show when={here() > 0}>
            <p class="small">{words().already(formatBytes(here()))}</p>
          </Show>
          <div class="row">
            <Button
              disabled={lacking() > 0 || !models.isOnline()}
              onClick={() => void app.attempt(() => data.hub.download(props.data))}
            >
              {label()}
            </Button>
          </div>
        </>
      }
    >
      {(coming) => <Coming transfer={coming()} />}
    </Show>
  );
}

function Coming(props: { readonly transfer: Transfer }) {
  const { app, data } = useSession();
  const text = useText();
  const isRead = () =>
    props.transfer.totalBytes > 0 && props.transfer.bytes === props.transfer.totalBytes;
  const pace = () => {
    const { isEnding, rate } = props.transfer;
    const words = text().library.model.transfer;
    if (isEnding) return words.ending;
    if (!rate) return words.starting;
    return words.rate(formatBytes(rate.bytesPerSecond), formatDuration(rate.secondsLeft));
  };
  return (
    <div class="stack tight">
      <BytesProgress
        label={
          isRead()
            ? text().data.hub.reading(props.transfer.name)
            : text().data.hub.downloading(props.transfer.name)
        }
        bytes={props.transfer.bytes}
        totalBytes={props.transfer.totalBytes}
      />
      <Show when={!isRead()}>
        <p class="small quiet numeric">{pace()}</p>
      </Show>
      <div class="row">
        <Button
          disabled={props.transfer.isEnding}
          aria-label={`${text().data.hub.stop}: ${props.transfer.name}`}
          onClick={() => void app.attempt(() => data.hub.stop(props.transfer.key))}
        >
          {text().data.hub.stop}
        </Button>
      </div>
    </div>
  );
}

/** Downloads of an earlier visit, or that were stopped; not the one that was looked up, whose card tells all of it. */
function Begun() {
  const { data } = useSession();
  const text = useText();
  const others = () => {
    const shown = data.hub.lookup();
    return data.hub.begun().filter(({ id }) => shown.state !== "found" || shown.found.id !== id);
  };
  return (
    <Show when={others().length > 0}>
      <h4 class="small quiet">{text().data.hub.begun}</h4>
      <ul class="stack tight plain">
        <For each={others()}>{(begun) => <BegunOne begun={begun} />}</For>
      </ul>
    </Show>
  );
}

function BegunOne(props: { readonly begun: DataDownload }) {
  const { app, data, models } = useSession();
  const text = useText();
  const words = () => text().data.hub;
  const transfer = () => data.hub.transfers().find(({ key }) => key === props.begun.id);
  return (
    <li class="stack tight">
      <div class="row apart small">
        <span class="data-name">{props.begun.name}</span>
        <span class="numeric quiet">
          {text().app.doneOf(
            formatBytes(props.begun.partialBytes),
            formatBytes(props.begun.totalBytes),
          )}
        </span>
      </div>
      <Show
        when={transfer()}
        fallback={
          <div class="row">
            <Button
              disabled={!models.isOnline()}
              onClick={() => void app.attempt(() => data.hub.goOn(props.begun))}
            >
              {words().goOnWith(props.begun.name)}
            </Button>
            <Button
              kind="subtle danger"
              aria-label={words().deletePart(props.begun.name)}
              onClick={() => void app.attempt(() => data.hub.deleteBegun(props.begun.id))}
            >
              {text().app.delete}
            </Button>
          </div>
        }
      >
        {(coming) => <Coming transfer={coming()} />}
      </Show>
    </li>
  );
}

// Markdown of a model as elements: no HTML is ever made of it.
//
// HTML in it is shown as the text it is, images as their description, and links only where they lead to the
// web, with the host they lead to beside them.
import "./markdown.css";
import type { MarkedToken, Token, Tokens } from "marked";
import { createMemo, For, type JSX, Match, Show, Switch } from "solid-js";
import { decodeEntities, readMarkdown, safeHref } from "../markdown.ts";
import { useText } from "../session.ts";
import { CopyButton } from "./Bits.tsx";

export function Markdown(props: { readonly text: string }) {
  // An answer grows at its end: blocks that are complete stay as they are on the page.
  const tokens = createMemo<Token[]>((before) => readMarkdown(props.text, before), []);
  return (
    <div class="markdown">
      <Blocks tokens={tokens()} />
    </div>
  );
}

function Blocks(props: { readonly tokens: readonly Token[] | undefined }) {
  return <For each={props.tokens}>{(token) => <Block token={token} />}</For>;
}

function Block(props: { readonly token: Token }): JSX.Element {
  const token = known(props.token);
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      // Headings of an answer are none of the page's.
      return (
        <p class="markdown-heading">
          <Inlines tokens={token.tokens} />
        </p>
      );
    case "paragraph":
      return (
        <p>
          <Inlines tokens={token.tokens} />
        </p>
      );
    case "blockquote":
      return (
        <blockquote>
          <Blocks tokens={token.tokens} />
        </blockquote>
      );
    case "code":
      return <CodeBlock token={token} />;
    case "list":
      return <List token={token} />;
    case "table":
      return <Table token={token} />;
    case "hr":
      return <hr />;
    case "text":
      return (
        <Show when={token.tokens} fallback={decodeEntities(token.text)}>
          <Inlines tokens={token.tokens} />
        </Show>
      );
    case "html":
      return <p>{token.raw}</p>;
    default:
      return <Inline token={props.token} />;
  }
}

function CodeBlock(props: { readonly token: Tokens.Code }) {
  const text = useText();
  return (
    <div class="snippet markdown-code">
      <pre tabindex="0" role="group" aria-label={text().live.tryout.code}>
        <code>{props.token.text}</code>
      </pre>
      <CopyButton text={props.token.text} />
    </div>
  );
}

function List(props: { readonly token: Tokens.List }) {
  const items = () => (
    <For each={props.token.items}>
      {(item) => (
        <li>
          <Show when={item.task}>
            <input type="checkbox" checked={item.checked === true} disabled />{" "}
          </Show>
          <Blocks tokens={item.tokens.filter(({ type }) => type !== "checkbox")} />
        </li>
      )}
    </For>
  );
  return (
    <Show when={props.token.ordered} fallback={<ul>{items()}</ul>}>
      <ol start={Number(props.token.start) || 1}>{items()}</ol>
    </Show>
  );
}

function Table(props: { readonly token: Tokens.Table }) {
  const text = useText();
  return (
    <div class="table-wrap" tabindex="0" role="group" aria-label={text().live.tryout.table}>
      <table>
        <thead>
          <tr>
            <For each={props.token.header}>
              {(cell) => (
                <th scope="col">
                  <Inlines tokens={cell.tokens} />
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody>
          <For each={props.token.rows}>
            {(row) => (
              <tr>
                <For each={row}>
                  {(cell) => (
                    <td>
                      <Inlines tokens={cell.tokens} />
                    </td>
                  )}
                </For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function Inlines(props: { readonly tokens: readonly Token[] | undefined }) {
  return <For each={props.tokens}>{(token) => <Inline token={token} />}</For>;
}

function Inline(props: { readonly token: Token }): JSX.Element {
  const token = known(props.token);
  switch (token.type) {
    case "strong":
      return (
        <strong>
          <Inlines tokens={token.tokens} />
        </strong>
      );
    case "em":
      return (
        <em>
          <Inlines tokens={token.tokens} />
        </em>
      );
    case "del":
      return (
        <del>
          <Inlines tokens={token.tokens} />
        </del>
      );
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link token={token} />;
    case "image":
      return <Picture token={token} />;
    case "escape":
      return token.text;
    case "text":
      return (
        <Show when={token.tokens} fallback={decodeEntities(token.text)}>
          <Inlines tokens={token.tokens} />
        </Show>
      );
    default:
      // HTML among them, and whatever a later lexer may know.
      return props.token.raw;
  }
}

function Link(props: { readonly token: Tokens.Link }) {
  const url = () => safeHref(props.token.href);
  return (
    <Show when={url()} fallback={props.token.raw}>
      {(safe) => (
        <>
          <a href={safe().href} target="_blank" rel="noopener noreferrer nofollow">
            <Inlines tokens={props.token.tokens} />
          </a>
          <Show when={!props.token.text.includes(safe().host)}>
            <span class="small quiet"> ({safe().host})</span>
          </Show>
        </>
      )}
    </Show>
  );
}

function Picture(props: { readonly token: Tokens.Image }) {
  const text = useText();
  return (
    <span class="quiet">
      <Switch fallback={text().live.tryout.picture}>
        <Match when={props.token.text !== ""}>
          {text().live.tryout.pictureOf(props.token.text)}
        </Match>
      </Switch>
    </span>
  );
}

/** Without the lexer's open-ended kind, which would hide what the others have. */
function known(token: Token): MarkedToken {
  return token as MarkedToken;
}

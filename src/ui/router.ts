// Where the page is, kept in the address after "#": "#/try?adapter=org/name". Static hosts need no rules for it.
import { createSignal } from "solid-js";

/** The screens in the order of the work. */
export const ROUTES = [
  "check",
  "model",
  "data",
  "recipe",
  "review",
  "live",
  "try",
  "export",
  "runs",
] as const;

export type RouteName = (typeof ROUTES)[number];

export interface Route {
  readonly name: RouteName;
  readonly parameters: URLSearchParams;
}

export interface Router {
  readonly route: () => Route;
  /** Goes to a screen; the browser's back button leads back. */
  go(name: RouteName, parameters?: Readonly<Record<string, string>>): void;
}

export function createRouter(): Router {
  const [route, setRoute] = createSignal(readRoute(location.hash));
  addEventListener("hashchange", () => setRoute(readRoute(location.hash)));
  return {
    route,
    go(name, parameters = {}) {
      location.hash = hrefOf(name, parameters);
    },
  };
}

/** "#/try?adapter=org%2Fname" */
export function hrefOf(name: RouteName, parameters: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(parameters).toString();
  return `#/${name}${query === "" ? "" : `?${query}`}`;
}

/** An address of no screen leads to the first one. */
function readRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const name = ROUTES.find((known) => known === path) ?? "check";
  return { name, parameters: new URLSearchParams(query) };
}

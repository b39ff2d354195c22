// Solid's runtime for the built page, with one change: the HTML of compiled templates is Trusted HTML.
//
// The build puts this file in the place of `solid-js/web`, for our components and for those of packages.
// The policy is reachable through `template` alone, which only compiled JSX calls, with constants.
import { template as makeTemplate } from "solid-js/web";

export * from "solid-js/web";

const policy = globalThis.trustedTypes?.createPolicy("hone-templates", {
  createHTML: (html) => html,
});

/** Shadows Solid's own, which assigns the text to innerHTML. */
export function template(html: string, ...rest: (boolean | undefined)[]): () => Element {
  const trusted = policy ? (policy.createHTML(html) as unknown as string) : html;
  return makeTemplate(trusted, ...rest);
}

// Templates come from strangers' model folders: whatever one does, its rendering ends soon, in words. Half a second
// is the most that any of these takes; without limits it would be minutes.
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";

const LIMIT_MS = 3000; // others share the processor's caches and its speed
const MESSAGES = [
  { role: "user", content: "hi" },
  { role: "assistant", content: "hello" },
];

/** Doubles a text in `x` as often as it is told. */
const doubled = (times: number, text = "'ab'") =>
  `{% set ns = namespace(x=${text}) %}{% for i in range(${times}) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`;
const doubledList = (times: number) =>
  `{% set ns = namespace(x=[1]) %}{% for i in range(${times}) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}`;
const often = (body: string, times = 99000) => `{% for i in range(${times}) %}${body}{% endfor %}`;

const HOSTILE: readonly (readonly [string, string])[] = [
  ["a loop of a million", "{% for i in range(1000000) %}x{% endfor %}"],
  ["nested loops", often(often("{% set y = i %}", 1000), 3000)],
  [
    "loops over one list, nested",
    `{% set l = range(3000)|list %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}`,
  ],
  [
    "loops nested in a macro that calls itself",
    "{% macro f(n) %}{% for i in [1,2] %}{{ f(n + 1) }}{% endfor %}{% endmacro %}{{ f(0) }}",
  ],
  [
    "a macro that calls itself twice",
    "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
  ],
  ["a macro without end", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
  ["parentheses within parentheses", `{{ ${"(".repeat(50000)}1${")".repeat(50000)} }}`],
  ["lists within lists", `{{ ${"[".repeat(50000)}${"]".repeat(50000)} }}`],
  ["ifs within ifs", `${"{% if true %}".repeat(8000)}x${"{% endif %}".repeat(8000)}`],
  [
    "loops within loops around work",
    `${"{% for a in [1] %}".repeat(800)}${often("{% set y = messages %}")}${"{% endfor %}".repeat(800)}`,
  ],
  ["a long chain of operators", `{{ 1${" + 1".repeat(60000)} }}`],
  ["a long chain of filters", `{{ 'a'${"|upper".repeat(30000)} }}`],
  ["white space without end", `${" ".repeat(262000)}x`],
  ["line ends without end", `${"\n ".repeat(131000)}x`],
  ["blocks of white space", `{%${" ".repeat(5000)}`.repeat(50)],
  ["a comment without end", "{#".repeat(100000)],
  ["a text without end", `{{ '${"\\\\".repeat(100000)}`],
  ["a text doubled", `${doubled(60)}{{ ns.x }}`],
  ["a text multiplied", "{{ 'abc' * 100000000 }}"],
  ["a text multiplied twice", "{{ ('a' * 10000000) * 10000000 }}"],
  ["a large text, written often", `${doubled(22)}${often("{{ ns.x }}")}`],
  ["a large text, in capitals often", `${doubled(22)}${often("{% set y = ns.x|upper %}")}`],
  ["a large text, measured often", `${doubled(22)}${often("{% set y = ns.x|length %}")}`],
  ["a large text, looked through often", `${doubled(22)}${often("{% set y = 'c' in ns.x %}")}`],
  [
    "a text looked for in a larger one",
    `${doubled(22, "'a'")}{% set y = 'b' ~ ns.x[:1000000] in ns.x ~ 'b' %}`,
  ],
  ["a large text, cut often", `${doubled(22)}${often("{% set y = ns.x.split('a') %}")}`],
  [
    "a large text, cut by characters",
    `${doubled(23)}{% set y = ns.x[::2] %}{% set y = ns.x[::-1] %}{% set y = ns.x|reverse|list %}`,
  ],
  ["a character of a large text, often", `${doubled(22)}${often("{% set y = ns.x[5] %}")}`],
  ["a large text as JSON, often", `${doubled(22)}${often("{% set y = ns.x|tojson %}")}`],
  [
    "large texts compared",
    `${doubled(22)}{% set y = ns.x ~ 'a' %}{% set z = ns.x ~ 'b' %}${often("{% set w = y == z %}")}`,
  ],
  [
    "large texts put in order",
    `${doubled(22)}{% set y = ns.x ~ 'a' %}{% set z = ns.x ~ 'b' %}${often("{% set w = y < z %}")}`,
  ],
  ["a large text as a key", `${doubled(22)}${often("{% set w = {ns.x ~ i: 1} %}")}`],
  ["every character replaced by many", "{{ ('a' * 100000)|replace('', 'b' * 100000) }}"],
  ["every letter replaced by many", "{{ ('a' * 100000)|replace('a', 'b' * 100000) }}"],
  ["every letter replaced by many, as a method", "{{ ('a' * 100000).replace('a', 'b' * 100000) }}"],
  ["texts joined by a long one", "{{ ('b' * 100000).join('a' * 100000) }}"],
  ["texts joined by a long one, as a filter", "{{ ('a' * 100000)|join('b' * 100000) }}"],
  ["lines indented far", "{{ ('a\\n' * 100000)|indent(100000) }}"],
  ["JSON indented far", "{{ messages|tojson(indent=100000000) }}"],
  ["JSON indented by a long text", `${doubled(22)}{{ (range(9000)|list)|tojson(indent=ns.x) }}`],
  ["a list of lists, doubled and written", `${doubledList(60)}{{ ns.x }}`],
  ["a list of lists, doubled and as JSON", `${doubledList(60)}{{ ns.x|tojson }}`],
  [
    "lists of lists, doubled and compared",
    `${doubledList(60)}{% set a = ns.x %}${doubledList(60)}{{ a == ns.x }}`,
  ],
  [
    "lists of lists, doubled and put in order",
    `${doubledList(60)}{% set a = ns.x %}${doubledList(60)}{{ a < ns.x }}`,
  ],
  ["a list of lists, joined", `${doubledList(60)}{{ ns.x|join }}`],
  [
    "a list nested deep, written",
    `{% set ns = namespace(x=['${"a".repeat(10000)}']) %}${often("{% set ns.x = [ns.x] %}", 5000)}{{ ns.x }}`,
  ],
  [
    "a list nested deep, as JSON",
    `{% set ns = namespace(x=['${"a".repeat(10000)}']) %}${often("{% set ns.x = [ns.x] %}", 5000)}{{ ns.x|tojson }}`,
  ],
  [
    "a list that grows by one",
    `{% set ns = namespace(x=[]) %}${often("{% set ns.x = ns.x + [i] %}")}`,
  ],
  [
    "a list doubled",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
  ],
  [
    "a large list sorted often",
    `{% set l = range(50000)|list %}${often("{% set y = l|sort %}", 40000)}`,
  ],
  [
    "a large list chosen from often",
    `{% set l = range(50000)|list %}${often("{% set y = l|select('odd')|list %}", 40000)}`,
  ],
  [
    "a large list searched often",
    `{% set l = range(50000)|list %}${often("{% set y = -1 in l %}", 40000)}`,
  ],
  [
    "the unique of lists",
    `{% set ns = namespace(x=[]) %}${often("{% set ns.x = ns.x + [[i]] %}", 4000)}{{ ns.x|unique|list|length }}`,
  ],
  [
    "a slice of a large list often",
    `{% set l = range(50000)|list %}${often("{% set y = l[1:] %}", 40000)}`,
  ],
  ["a number without end", often("{% set y = 2 ** 100000 %}{% set z = 10 ** 308 * 10 %}")],
  [
    "words with a capital each, often",
    `${doubled(22, "'a '")}${often("{% set y = ns.x|title %}{% set y = ns.x.title() %}")}`,
  ],
  ["white space stripped often", `${doubled(22, "' '")}${often("{% set y = ns.x|trim %}")}`],
  ["characters stripped often", `${doubled(22)}${often("{% set y = ns.x.strip('ab') %}")}`],
  [
    "a recursive sum in a macro",
    `{% macro f(l) %}{% if l %}{{ l[0] }}{{ f(l[1:]) }}{% endif %}{% endmacro %}{{ f(range(90000)|list) }}`,
  ],
  ["many arguments", "{{ dict(*range(99999)) }}{{ '{}'.join(*range(99999)) }}"],
  [
    "a dict that grows",
    `{% set ns = namespace(x={}) %}${often("{% set ns.x = dict(ns.x, **{i ~ '': i}) %}")}`,
  ],
];

// The time of the processor, since a machine may have other things to do.
describe("each ends soon, in words or with a text", () => {
  test.each(HOSTILE)("%s", (_, source) => {
    const started = process.cpuUsage();
    const outcome = attempt(source);
    const { user, system } = process.cpuUsage(started);
    expect(outcome).toMatch(/chat template|^text of/);
    expect((user + system) / 1000).toBeLessThan(LIMIT_MS);
  });
});

function attempt(source: string): string {
  try {
    const text = compileChatTemplate(source).render(MESSAGES, { addGenerationPrompt: true });
    return `text of ${text.length}`;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

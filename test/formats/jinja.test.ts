// Templates do what Python's Jinja does with them.
import { expect, test } from "vitest";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";

const options = { addGenerationPrompt: false };
const messages = [{ role: "user", content: " hi " }];
const render = (template: string) => compileChatTemplate(template).render(messages, options);

// Written by Jinja 3.1.6 as transformers 5.23 sets it up.
test.each([
  ["{{ '\\n\\n a \\n'.strip('\\n') }}|", " a |"],
  ["{{ ' xa '.lstrip() }}|{{ ' xa '.rstrip() }}|", "xa | xa|"],
  ["{{ 'a</think>b</think>c'.split('</think>')[-1] }}", "c"],
  ["{{ ' a  b c '.split() }}", "['a', 'b', 'c']"],
  ["{{ 'a b c'.split(None, 1) }}", "['a', 'b c']"],
  ["{{ 'a,b,c'.rsplit(',', 1) }}", "['a,b', 'c']"],
  ["{{ '\\ufeff\\x85 a'.strip() | length }}", "4"],
  [
    "{{ '\ud83d\udc4d\ud83c\udffd\u00e9' | length }}{{ '\ud83d\udc4da'[0] }}{{ 'a\ud83d\udc4d'[::-1] }}{{ '\ud83d\udc4dabc'[1:-1] }}",
    "3\ud83d\udc4d\ud83d\udc4daab",
  ],
  [
    "{{ none }} {{ true }} {{ [1, 'a', none, 2.0, {'k': \"it's\"}] }}",
    "None True [1, 'a', None, 2.0, {'k': \"it's\"}]",
  ],
  [
    "{{ {'a': 1} == {'a': 1} }}{{ [1] == [1.0] }}{{ 1 == true }}{{ '1' == 1 }}{{ none == x }}",
    "TrueTrueTrueFalseFalse",
  ],
  [
    "{% for i in [1, 2, 3] %}{% if i == 1 %}{% set seen = i %}{% endif %}{{ seen }},{% endfor %}{{ seen }}",
    "1,,,",
  ],
  ["{% set n = 0 %}{% for i in [1, 2] %}{% set n = n + i %}{{ n }} {% endfor %}{{ n }}", "1 2 0"],
  [
    "{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "3",
  ],
  [
    "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ loop.index }}{{ loop.last }}{% endfor %}",
    "b11Falsea22True",
  ],
  [
    "{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ loop.index0 }}{{ i }}{% else %}none{% endfor %}",
    "0214",
  ],
  ["{% for i in [] %}a{% else %}none{% endfor %}", "none"],
  [
    "{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "1",
  ],
  [
    "{{ {'a': [1, {'b': none}], '\u00fc': 'x\\n\"'} | tojson }}",
    '{"a": [1, {"b": null}], "\u00fc": "x\\n\\""}',
  ],
  [
    "{{ {'a': [1, []], 'b': {}} | tojson(indent=2) }}",
    '{\n  "a": [\n    1,\n    []\n  ],\n  "b": {}\n}',
  ],
  ["{{ '\u00e9\ud83d\udc4d' | tojson(ensure_ascii=true) }}", '"\\u00e9\\ud83d\\udc4d"'],
  ["{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=[',', ':']) }}", '{"a":2,"b":1}'],
  [
    "{{ x is defined }}{{ x }}{{ x is none }}{{ none is none }}{{ 'a' is string }}{{ 'a' is iterable }}{{ {} is mapping }}{{ 1 is number }}",
    "FalseFalseTrueTrueTrueTrueTrue",
  ],
  [
    "{{ 'a' in 'cat' }}{{ 2 in [1, 2] }}{{ 'k' in {'k': 1} }}{{ 'a' not in 'b' }}",
    "TrueTrueTrueTrue",
  ],
  [
    "{{ 'hello wORLD' | title }} {{ 'hELLO' | capitalize }} {{ 'abc' | upper }}",
    "Hello World Hello ABC",
  ],
  ["{{ ['b', 'A', 'c'] | sort | join(',') }} {{ [3, 1] | sort(reverse=true) }}", "A,b,c [3, 1]"],
  [
    "{{ [{'r': 'a'}, {'r': 'b'}] | selectattr('r', 'equalto', 'b') | list | length }}{{ [{'r': 'a'}, {}] | map(attribute='r') | list | length }}",
    "12",
  ],
  ["{{ (x | default('d')) + ('' | default('e', true)) }}", "de"],
  ["{{ 'a' if false }}|{{ 'a' if true else 'b' }}", "|a"],
  ["{% macro m(a, b='z') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m(b='q', a='p') }}", "xzpq"],
  ["{% set text %}  a {{ 1 }}{% endset %}{{ text | trim }}", "a 1"],
  ["{{ 'ab' * 2 }}{{ 'a' ~ 1 ~ none }}", "ababa1None"],
  [
    "{{ messages[0].items() | list | length }}{{ messages[0]['role'] }}{{ messages[0].nothing is defined }}",
    "2userFalse",
  ],
  ["{{ 'a\\nb' | indent(2) }}", "a\n  b"],
  [
    "{{ [1, 2, 3][-1] }}{{ [1, 2, 3][1:] }}{{ [1, 2, 3][::-1] }}{{ (1, 2)[0] }}",
    "3[2, 3][3, 2, 1]1",
  ],
  [
    "{{ 'abc'.startswith(('x', 'a')) }}{{ 'aXbX'.replace('X', '', 1) }}{{ 'a-b'.upper().lower().title() }}",
    "TrueabXA-B",
  ],
  ["{{ '%s' }}{{ messages | length }}{{ messages[-1]['content'] | trim }}", "%s1hi"],
  [
    "{{ [1, 2, 2] | unique | list }}{{ [1, 5] | max }}{{ 'abc' | first }}{{ 'abc' | list }}",
    "[1, 2]5a['a', 'b', 'c']",
  ],
  ["{{ 'x' | int }}{{ '42' | int + 1 }}{{ 3.9 | int }}{{ '1.5' | float }}", "04331.5"],
  ["{{ not true or 1 and 2 }}{{ 1 < 2 }}{{ 'a' < 'b' }}{{ true and 'x' or 'y' }}", "2TrueTruex"],
  [
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 4 / 2 }}",
    "3 -4 2 3.5 8 2.0",
  ],
  ["{{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 100.0 }}", "0.30000000000000004 0.3333333333333333 100.0"],
])("%s", (template, text) => {
  expect(render(template)).toBe(text);
});

test.each([
  ["a part of something missing", "{{ nothing.at.all }}", /nothing is undefined/],
  ["a text and a number in one sum", "{{ 'a' + 1 }}", /str \+ int/],
  ["None in a sum", "{{ 'a' + none }}", /str \+ None/],
  ["a loop over None", "{% for i in none %}{% endfor %}", /None cannot be looped over/],
  ["a call of what is no function", "{{ messages.append(1) }}", /messages.append is Undefined/],
  ["an order of unlike things", "{{ 1 < 'a' }}", /int and str have no order/],
  ["an unknown test", "{{ 1 is wild }}", /the test "wild" is not known/],
  ["a change to a message", "{% set messages[0].role = 'x' %}", /cannot be/],
  [
    "loops in loops without end",
    "{% for a in range(2000) %}{% for b in 'x' * 1000 %}{% endfor %}{% endfor %}",
    /take too many rounds/,
  ],
  ["a text repeated without end", "{{ 'abc' * 100000000 }}", /makes a value that is too large/],
])("%s is refused, as Python refuses it", (_, template, fault) => {
  expect(() => render(template)).toThrow(fault);
});

test("line ends of any kind in a template are one", () => {
  expect(render("a\r\n{% if true %}\r\nb\rc{% endif %}")).toBe("a\nb\nc");
});

test("a template sees what transformers gives it: tools and documents are None, not missing", () => {
  const template =
    "{{ tools is defined }}{{ tools is none }}{{ documents is none }}{{ pad_token is defined }}";
  expect(render(template)).toBe("TrueTrueTrueFalse");
  const tools = [{ type: "function", function: { name: "f", parameters: { n: 1.5 } } }];
  const compiled = compileChatTemplate("{{ tools | tojson }}{{ enable_thinking }}");
  expect(
    compiled.render(messages, { ...options, tools, variables: { enable_thinking: false } }),
  ).toBe('[{"type": "function", "function": {"name": "f", "parameters": {"n": 1.5}}}]False');
});

test.each([
  [
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "steps",
  ],
  [
    "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "too large",
  ],
  [
    "{% set ns = namespace(s='a') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "too large",
  ],
  ["{{ 'a' | indent(100000000, true) | length }}", "too large"],
])("a template that would never end or never fit is refused: %s", (template, words) => {
  expect(() => render(template)).toThrow(words);
});

test("what is unique among many numbers is found at once", () => {
  expect(
    render("{{ range(90000) | unique | list | length }}{{ [1, true, 1.0, '1'] | unique | list }}"),
  ).toBe("90000[1, '1']");
});

test("white space is stripped in linear time", () => {
  const long = `a${" ".repeat(300_000)}b`;
  const start = performance.now();
  const text = compileChatTemplate("{{ messages[0].content.strip() }}").render(
    [{ role: "user", content: long }],
    options,
  );
  expect(text).toBe(long);
  // Quadratic time would be minutes.
  expect(performance.now() - start).toBeLessThan(2000);
});

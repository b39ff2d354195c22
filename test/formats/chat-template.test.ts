import { expect, test } from "vitest";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";

const INTERNLM2 =
  "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const user = (content: string) => ({ role: "user", content });
const plain = { addGenerationPrompt: false };

test("InternLM2's template renders with and without a generation prompt", () => {
  const template = compileChatTemplate(INTERNLM2);
  const messages = [{ role: "system", content: "S" }, user("hi {{ 7 }}")];
  const text = "<s><|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi {{ 7 }}<|im_end|>\n";
  expect(template.render(messages, { bosToken: "<s>", ...plain })).toBe(text);
  expect(template.render(messages, { bosToken: "<s>", addGenerationPrompt: true })).toBe(
    `${text}<|im_start|>assistant\n`,
  );
});

test("a template's own refusal is shown in its own words", () => {
  const template = "{{ raise_exception('Roles must alternate') }}";
  expect(() => compileChatTemplate(template).render([], plain)).toThrow(
    /refuses this conversation: Roles must alternate/,
  );
});

test("blocks are trimmed as transformers trims them", () => {
  const template =
    "{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n";
  expect(compileChatTemplate(template).render([user("a"), user("b")], plain)).toBe("a\nb\n");
});

test("the date is fixed unless one is given, so that data renders the same on every day", () => {
  const template = "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%B %A %H:%M:%S %q') }}";
  expect(compileChatTemplate(template).render([], plain)).toBe(
    "26 Jul 2024|July Friday 00:00:00 %q",
  );
  const date = new Date(Date.UTC(2026, 0, 5, 13, 4, 9));
  expect(compileChatTemplate(template).render([], { ...plain, date })).toBe(
    "05 Jan 2026|January Monday 13:04:09 %q",
  );
});

test("variables that were not passed are undefined, and range counts as Python's", () => {
  const template =
    "{% if custom_tools is defined %}T{% endif %}{{ range(1, 8, 3) | join(',') }}{{ range(2) | join }}";
  expect(compileChatTemplate(template).render([], plain)).toBe("1,4,701");
});

test.each([
  ["a huge range", "{% for i in range(1000000000) %}x{% endfor %}", /loops pass 100,000 rounds/],
  [
    "ranges in ranges",
    "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
    /loops pass/,
  ],
  ["an endless range", "{{ range(0, 1, 0) }}", /loops pass/],
  [
    "doubling text",
    `{% set ns = namespace(s='${"x".repeat(100)}') %}{% for i in range(20) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`,
    /makes a value that is too large/,
  ],
  ["an unknown filter", "{{ messages | nosuch }}", /cannot be rendered/],
])("a template with %s is refused", (_, template, fault) => {
  expect(() => compileChatTemplate(template).render([user("a")], plain)).toThrow(fault);
});

test("a template that is not Jinja, or too long, is refused when it is compiled", () => {
  expect(() => compileChatTemplate("{% for x in %}")).toThrow(/not Jinja that can be read/);
  expect(() => compileChatTemplate("x".repeat(262_145))).toThrow(/262,145 characters; the limit/);
});

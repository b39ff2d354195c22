// Where templates of every habit put an answer.
import { expect, test } from "vitest";
import { renderAnswers } from "../../src/data/answers.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";

const CHATML =
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
const said = (...contents: string[]) =>
  contents.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content }));

/** The text with the answers in brackets: ⟦what leads to the words|the words|what follows them⟧. */
function show(source: string, messages: { role: string; content: string }[]): string {
  const { text, answers } = renderAnswers(compileChatTemplate(source), messages, {
    bosToken: "B",
    eosToken: "E",
  });
  let result = "";
  let done = 0;
  for (const { start, wordsEnd, findEnd } of answers) {
    const end = findEnd();
    result += text.slice(done, start);
    result += `⟦${text.slice(start, wordsEnd ?? end)}|${wordsEnd === undefined ? "" : text.slice(wordsEnd, end)}⟧`;
    done = end;
  }
  return result + text.slice(done);
}

test("what the prompt does not hold is the answer's, up to the next message", () => {
  expect(show(CHATML, said("u", "a", "v", "b"))).toBe(
    "<user>u</>\n<assistant>⟦a|</>\n⟧<user>v</>\n<assistant>⟦b|</>\n⟧",
  );
});

test("an answer that is also elsewhere, empty or a mark itself is found where it was written", () => {
  expect(show(CHATML, said("assistant>", "assistant>"))).toBe(
    "<user>assistant></>\n<assistant>⟦assistant>|</>\n⟧",
  );
  expect(show(CHATML, said("u", ""))).toBe("<user>u</>\n<assistant>⟦|</>\n⟧");
  expect(show(CHATML, said("u", "</>\n<user>", "v", "b"))).toBe(
    "<user>u</>\n<assistant>⟦</>\n<user>|</>\n⟧<user>v</>\n<assistant>⟦b|</>\n⟧",
  );
});

test("white space that the template strips is no part of the words", () => {
  const source = CHATML.replace("m.content", "m.content.strip()");
  expect(show(source, said(" u ", " \ta \n", "v", "\u3000b"))).toBe(
    "<user>u</>\n<assistant>⟦a|</>\n⟧<user>v</>\n<assistant>⟦b|</>\n⟧",
  );
});

test("without a generation prompt the answer has what is written before its words", () => {
  const llama2 =
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}";
  expect(show(llama2, said("u", "a", "v", "b"))).toBe(
    "B[INST] u [/INST]⟦ a| E⟧B[INST] v [/INST]⟦ b| E⟧",
  );
});

test("a system message that only the last question shows is gone once that is answered", () => {
  const mistral =
    "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}[{% if loop.last and s is defined %}{{ s }}: {% endif %}{{ m.content }}]{% else %} {{ m.content }}.{% endif %}{% endfor %}";
  const messages = [{ role: "system", content: "S" }, ...said("u", "a", "v", "b")];
  expect(show(mistral, messages)).toBe("[u]⟦ a|.⟧[v]⟦ b|.⟧");
});

test("thoughts that only the last answer keeps", () => {
  const qwen3 =
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% set c = m.content.split('</think>')[-1].lstrip('\\n') %}{% if loop.last %}<think>{{ m.content.split('</think>')[0].split('<think>')[-1] if '</think>' in m.content }}</think>\n{% endif %}{{ c }}{% else %}{{ m.content }}{% endif %}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  const thinking = "<think>hm</think>\n\n";
  expect(show(qwen3, said("u", `${thinking}a`, "v", `${thinking}b`))).toBe(
    "<user>u</><assistant>⟦a|</>⟧<user>v</><assistant>⟦<think>hm</think>\nb|</>⟧",
  );
  expect(show(qwen3, said("u", "a", "v", "b"))).toBe(
    "<user>u</><assistant>⟦a|</>⟧<user>v</><assistant>⟦<think></think>\nb|</>⟧",
  );
});

test("what is written once after the last message is no part of earlier answers", () => {
  const phi3 =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% else %}E{% endif %}";
  expect(show(phi3, said("u", "a", "v", "b"))).toBe(
    "<user>u</><assistant>⟦a|⟧</><user>v</><assistant>⟦b|</>E⟧",
  );
});

test("a template that changes the words themselves is read by what each answer adds", () => {
  const loud = CHATML.replace("m.content", "m.content | upper");
  expect(show(loud, said("u", "aé", "v", "b"))).toBe(
    "<user>U</>\n<assistant>⟦AÉ</>\n|⟧<user>V</>\n<assistant>⟦B</>\n|⟧",
  );
});

test("a template that changes words and rewrites earlier text is refused, with what changed", () => {
  const source =
    "{% for m in messages %}{{ m.content | upper }}{% if loop.last %}!{% endif %}{% endfor %}";
  expect(() => show(source, said("u", "a", "v", "b"))).toThrow(
    /rewrites earlier text when message \d is added/,
  );
});

test("a conversation that opens with an answer is rendered, also where a template looks at the first message", () => {
  const template = `{% if messages[0].role == 'system' %}S{% endif %}${CHATML}`;
  const opened = [{ role: "assistant", content: "a" }, ...said("u", "b")];
  expect(show(template, opened)).toBe("<assistant>⟦a|</>\n⟧<user>u</>\n<assistant>⟦b|</>\n⟧");
});

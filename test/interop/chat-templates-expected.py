"""Texts, ids and loss masks of the families' chat templates by transformers, for chat-templates.test.ts.

    chat-templates-expected.py CACHE SHARED SMOLLM2 SEEDLING OUT

Writes OUT/NAME.json for each template and prints them. A template's twin, NAME.marked.jinja, has {% generation %}
around what the assistant says; that it writes the same text is checked here. The mask is worked out from those marks
and the tokenizer's offsets, and by transformers' own `return_assistant_tokens_mask`.
"""

import json
import pathlib
import random
import sys

import jinja2
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

import tokenizer_families

HERE = pathlib.Path(__file__).parent / "chat_templates"
COUNT = 40

# Template, tokenizer, and what its conversations can have.
TEMPLATES = {
    "llama2": ("llama2", "Llama 2's format (template written here, tokenizer Llama 2-style)", {"system"}),
    "llama3": ("llama3", "Llama 3.2's format (template written here)", {"system", "tools", "one call"}),
    "smollm2": ("smollm2", "SmolLM2", {"system"}),
    "internlm2": ("seedling", "InternLM2 (tokenizer seedling)", {"system"}),
    "mistral-v1": ("mistral-v1", "Mistral 7B v0.1", set()),
    "mistral-v3": ("mistral-v3", "Mistral 7B v0.3", {"system", "tools"}),
    "mistral-nemo": ("mistral-nemo", "Mistral Nemo", {"system", "tools"}),
    "qwen2.5": ("qwen", "Qwen 2.5", {"system", "tools"}),
    "qwen3": ("qwen", "Qwen 3", {"system", "tools", "thinking"}),
    "gemma3": ("gemma3", "Gemma 3's format (template written here, tokenizer Gemma 3-style)", {"system", "parts"}),
    "phi3": ("phi3", "Phi-3.5 (tokenizer Phi-3-style)", {"system"}),
    "phi4-mini": ("phi4-mini", "Phi-4-mini (tokenizer Phi-4-mini-style)", {"system"}),
    "minimind": ("minimind", "minimind", {"system", "tools"}),
}  # fmt: skip

WORDS = "hello world Tell me about gradient descent in one sentence please 你好 世界 什么 是 量化 naïve café Привет 42 3.14 😀 👩‍👩‍👧 don't it's".split()
ODD = [
    "", " ", "\n", "  two  spaces  ", "\n\nlines before and after\n\n", "\ttab", "ends with space ", " starts with space",
    "{{ 7 * 7 }} {% if true %}", "<|im_end|>", "a<|im_end|>b", "</s>", "[INST] look [/INST]", "<|eot_id|>", "<end_of_turn>\n<start_of_turn>model\n", "<|end|>",
    "```python\ndef f(x):\n    return x ** 2\n```\n", "a\r\nb", "\u3000full width\u3000", "\u00a0no break\u00a0", "\u200bzero width\u200b", "\ufeffmark", "é vs é", "مرحبا بالعالم", "🏳️‍🌈🇯🇵", "x" * 300, "1\n2\n3\n", "'quotes' \"both\"", "\\n not a line", "<think>", "think", "assistant\n", "user",
]  # fmt: skip
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather in a \"city\" 城市", "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", "東京"]}, "days": {"type": "integer", "default": 3, "minimum": 0.5}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]  # fmt: skip


def sentence(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(ODD)
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12))) + rng.choice(["", ".", "?", "\n", " "])


def turns_of(rng: random.Random, features: set) -> list[dict]:
    """A conversation as Hone reads them: what is asked, what is answered, and whether that is learned."""
    turns = []
    for i in range(rng.choice([1, 1, 2, 3, 5])):
        # An empty question is none in that form.
        turn = {"input": sentence(rng) or "?", "output": sentence(rng)}
        if i == 0 and "system" in features and rng.random() < 0.5:
            turn["system"] = sentence(rng) or "S"
        if "thinking" in features and rng.random() < 0.3:
            turn["output"] = f"<think>\n{rng.choice(WORDS)}\n</think>\n\n{turn['output'].strip() or 'yes'}"
        turns.append(turn)
    return turns


def messages_of(turns: list[dict]) -> list[dict]:
    messages = []
    for turn in turns:
        if turn.get("system"):
            messages.append({"role": "system", "content": turn["system"]})
        messages.append({"role": "user", "content": turn["input"]})
        messages.append({"role": "assistant", "content": turn["output"]})
    return messages


def unusual(rng: random.Random, features: set) -> dict:
    """A conversation that is no training row: tools, open ends, contents that are no text, roles out of order."""
    messages = messages_of(turns_of(rng, features))
    given = {"messages": messages}
    kind = rng.choice(["tools", "tools", "tools", "open", "order", "parts", "calls"])
    if kind in ("tools", "calls") and "tools" in features:
        if kind == "tools":
            given["tools"] = TOOLS[: rng.randint(1, 2)]
        calls = [{"id": f"call{n:05}", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln 城", "days": n, "share": (n + 1) / 3, "sure": n == 0, "more": [None, "'"]}}} for n in range(1 if "one call" in features else rng.randint(1, 2))]
        messages += [{"role": "user", "content": messages[-2]["content"]}, {"role": "assistant", "content": "", "tool_calls": calls}]
        messages += [{"role": "tool", "name": "get_weather", "tool_call_id": call["id"], "content": rng.choice(["{\"t\": 21.5}", "sunny ☀", ""])} for call in calls]
        if rng.random() < 0.6:
            messages.append({"role": "assistant", "content": sentence(rng)})
    elif kind == "open":
        messages.append({"role": "user", "content": sentence(rng)})
    elif kind == "order":
        messages.insert(rng.randrange(len(messages) + 1), {"role": rng.choice(["user", "assistant", "system", "stranger"]), "content": sentence(rng)})
    elif kind == "parts" and "parts" in features:
        messages[-2]["content"] = [{"type": "text", "text": sentence(rng)}, {"type": "image"}, {"type": "text", "text": " b "}]
    if "thinking" in features and rng.random() < 0.4:
        given["variables"] = {"enable_thinking": rng.random() < 0.5}
    return given


def render(tokenizer, given: dict, prompt: bool) -> str | None:
    """None where the template refuses."""
    try:
        return tokenizer.apply_chat_template(
            given["messages"], tools=given.get("tools"), tokenize=False, add_generation_prompt=prompt, **given.get("variables", {}),
            # Meta's template asks for the day.
            date_string="26 Jul 2024",
        )  # fmt: skip
    except (jinja2.TemplateError, TypeError):
        return None


def learned_of(tokenizer: PreTrainedTokenizerFast, backend: Tokenizer, messages: list[dict]) -> dict:
    """Ids, and the mask by offsets and by transformers itself."""
    out = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, date_string="26 Jul 2024")
    text = tokenizer.apply_chat_template(messages, tokenize=False, date_string="26 Jul 2024")
    spans = marks_of(tokenizer, messages)
    encoding = backend.encode(text, add_special_tokens=False)
    learned = [int(any(a < stop and start < b for a, b in spans)) for start, stop in encoding.offsets]
    assert encoding.ids == out["input_ids"]
    # Two ways to the same mask.
    assert learned == out["assistant_masks"]
    return {"text": text, "ids": encoding.ids, "learned": learned}


def marks_of(tokenizer, messages) -> list[tuple[int, int]]:
    """Where the marked template's generation blocks lie in the text, in characters."""
    special = tokenizer.special_tokens_map
    _, indices = render_jinja_template([messages], chat_template=tokenizer.chat_template, return_assistant_tokens_mask=True, date_string="26 Jul 2024", **special)
    return indices[0]


def main(cache, shared, smollm2, seedling, out) -> list[dict]:
    folders = {family["name"]: pathlib.Path(family["folder"]) for family in tokenizer_families.build(cache, shared, smollm2, seedling)}
    done = []
    for name, (family, subject, features) in TEMPLATES.items():
        if family not in folders:
            continue
        folder = folders[family]
        config = json.loads((folder / "tokenizer_config.json").read_text())
        special = {key: config[key]["content"] if isinstance(config[key], dict) else config[key] for key in ("bos_token", "eos_token") if config.get(key)}
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **special)
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        backend.post_processor = processors.ByteLevel(trim_offsets=False)
        if name == "minimind":
            template, marked = config["chat_template"], mark_minimind(config["chat_template"])
        else:
            template, marked = (HERE / f"{name}.jinja").read_text(), (HERE / f"{name}.marked.jinja").read_text()
        rng = random.Random(f"1 {name}")
        rows = [turns_of(rng, features) for _ in range(COUNT)]
        tokenizer.chat_template = template
        given = [*({"messages": messages_of(turns)} for turns in rows), *(unusual(rng, features) for _ in range(COUNT))]
        texts = [{**one, "text": render(tokenizer, one, False), "prompt": render(tokenizer, one, True)} for one in given]
        tokenizer.chat_template = marked
        masks = []
        for turns, plain in zip(rows, texts):
            mask = learned_of(tokenizer, backend, messages_of(turns))
            assert mask["text"] == plain["text"], (name, mask["text"], plain["text"])
            masks.append({"turns": turns, **mask})
        result = {"template": template, **special, "texts": texts, "masks": masks}
        (out / f"{name}.json").write_text(json.dumps(result))
        done.append({"name": name, "subject": subject, "folder": str(folder)})
    return done


def mark_minimind(template: str) -> str:
    """Its prompt holds the empty thoughts too, so what is said begins after them."""
    said = """'\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- endif %}"""
    end = "{{- '<|im_end|>\\n' }}\n    {%- elif message.role == \"tool\" %}"
    assert template.count(said) == 1 and template.count(end) == 1
    template = template.replace(said, "'\\n</think>\\n\\n' }}\n        {%- endif %}\n        {%- generation %}\n        {{- content.lstrip('\\n') }}")
    return template.replace(end, "{{- '<|im_end|>' }}\n        {%- endgeneration %}\n        {{- '\\n' }}\n    {%- elif message.role == \"tool\" %}")


if __name__ == "__main__":
    print(json.dumps(main(*map(pathlib.Path, sys.argv[1:6]))))

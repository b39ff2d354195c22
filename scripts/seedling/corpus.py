# Makes Seedling's conversations from the tables in facts.py and the phrases in en.txt and zh.txt.
#
# A conversation is a list of (role, content). Everything is drawn from one seeded generator, so a
# seed names a corpus. About a tenth of each topic's ways to ask is held out: training never sees
# them, and the test of generalization asks only with them.
from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from facts import TABLES

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")
HELD_OUT_SHARE = 0.1
PUNCTUATION = "?.!?。!"  # at the end of a question
SPLIT_SEED = 7

# The demo asks these before and after it fine-tunes, so they are always among the ways seen.
ALWAYS_SEEN = ("请你介绍一下你自己", "你是谁", "你是我的小助手吗")

SYSTEM_PROMPTS = {
    "en": (
        "You are a helpful assistant.",
        "You are Seedling.",
        "You are a helpful, honest and harmless assistant.",
        "Answer briefly.",
        "You are an AI assistant.",
        "Be polite.",
    ),
    "zh": (
        "你是一个有用的助手。",
        "你是小苗。",
        "你是一个人工智能助手。",
        "请简短回答。",
        "请有礼貌。",
    ),
}

OPENERS = {
    "en": (
        "Hello, ", "Hi, ", "Hi! ", "Hey, ", "Please tell me: ", "Excuse me, ", "Seedling, ", "So, ", "Please, ",
        "Can you tell me: ", "I want to know: ", "I would like to know: ", "One question: ", "Well, ", "And ",
        "Do you know: ", "Now, ", "OK, ", "Let me ask: ", "Quick question: ",
    ),
    "zh": (
        "请问,", "请问", "你好,", "请告诉我,", "我想知道,", "小苗,", "嗨,", "那么,", "我想问,", "问一下,", "请问一下,",
        "能告诉我吗,", "好的,", "对了,", "再问一个,", "请", "那", "你知道吗,",
    ),
}  # fmt: skip

# Small words a question can lose and still be the same question.
DROPPABLE = {
    "en": re.compile(r"\b(?:the|a|an|of|me|is|do|does|you|can|please|that|so|very) "),
    "zh": re.compile(r"的|请|一下|是|吗|你|呢"),
}
CLOSERS = {
    "en": (" please", ", please", " Thanks", " thank you"),
    "zh": ("谢谢", ",谢谢", "呢", "呀"),
}

Turn = tuple[str, str]


@dataclass(frozen=True)
class Exchange:
    """One turn of a topic: the ways to ask, seen and held out, and the one answer."""

    seen: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Topic:
    """Something to talk about: its exchanges in order, once for every fact of its table."""

    name: str
    language: str
    exchanges: tuple[Exchange, ...]
    facts: tuple[dict[str, str], ...]

    @property
    def weight(self) -> float:
        """How often it is drawn: topics with many facts more often, but less than in proportion."""
        return max(3.0, len(self.facts) ** 0.8) * len(self.exchanges)


def load_topics() -> list[Topic]:
    return [topic for language in LANGUAGES for topic in _parse_topics(language)]


def _parse_topics(language: str) -> list[Topic]:
    text = (HERE / f"{language}.txt").read_text(encoding="utf-8")
    held_out = _choose_held_out(text)
    topics = []
    for block in re.split(r"^\[", text, flags=re.M)[1:]:
        head, body = block.split("]\n", 1)
        name, _, table = head.partition(": ")
        facts = TABLES[language][table] if table else [{}]
        asked = re.findall(r"^\? (.+)\n= (.+)$", body, flags=re.M)
        exchanges = tuple(_split(ways.split(" | "), answer, held_out) for ways, answer in asked)
        slots = tuple({**fact, **_capitalized(fact)} for fact in facts)
        topics.append(Topic(f"{language}/{name}", language, exchanges, slots))
    return topics


def _capitalized(fact: dict[str, str]) -> dict[str, str]:
    return {key[0].upper() + key[1:]: text[0].upper() + text[1:] for key, text in fact.items()}


def _choose_held_out(text: str) -> set[str]:
    """Bare ways to ask that training never sees, in whatever topic they stand."""
    chooser = random.Random(SPLIT_SEED)
    exchanges = [ways.split(" | ") for ways in re.findall(r"^\? (.+)$", text, flags=re.M)]
    # The first way is the plainest one; holding it out would test nothing but luck.
    kept = {_bare(way) for way in (*ALWAYS_SEEN, *(ways[0] for ways in exchanges))}
    held_out: set[str] = set()
    for ways in exchanges:
        free = [_bare(way) for way in ways if _bare(way) not in kept]
        held_out.update(chooser.sample(free, max(1, round(HELD_OUT_SHARE * len(ways)))))
    return held_out


def _split(ways: list[str], answer: str, held_out: set[str]) -> Exchange:
    return Exchange(
        seen=tuple(way for way in ways if _bare(way) not in held_out),
        held_out=tuple(way for way in ways if _bare(way) in held_out),
        answer=answer,
    )


def _bare(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def vary(rng: random.Random, text: str, language: str) -> str:
    """The same question as somebody else would type it: casing, punctuation, politeness, haste."""
    if rng.random() < 0.2:
        opener = rng.choice(OPENERS[language])
        text = opener + (
            text[0].lower() + text[1:] if language == "en" and rng.random() < 0.7 else text
        )
    if rng.random() < 0.35:
        text = text.rstrip(PUNCTUATION)
    if rng.random() < 0.04:
        text = text.rstrip(PUNCTUATION) + rng.choice(CLOSERS[language])
    if language == "en" and rng.random() < 0.35:
        text = text.lower()
    if language == "zh" and rng.random() < 0.3:
        text = text.translate(str.maketrans("?!,:。", "?!,:."))
    return text


def shorten(rng: random.Random, way: str, language: str) -> str:
    """Now and then, the way to ask without one of its small words; never without all its text."""
    small = list(DROPPABLE[language].finditer(way))
    if not small or len(way) < 6 or rng.random() > 0.12:
        return way
    lost = rng.choice(small)
    return way[: lost.start()] + way[lost.end() :]


def fill(template: str, fact: dict[str, str]) -> str:
    return template.format(**fact)


def _exchange_turns(
    rng: random.Random, topic: Topic, exchange: Exchange, fact: dict[str, str]
) -> list[Turn]:
    way = shorten(rng, rng.choice(exchange.seen), topic.language)
    asked = vary(rng, fill(way, fact), topic.language)
    return [("user", asked), ("assistant", fill(exchange.answer, fact))]


class Corpus:
    """An endless, seeded stream of training conversations, and the questions of the test."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.topics = load_topics()
        self._by_language = {
            language: [topic for topic in self.topics if topic.language == language]
            for language in LANGUAGES
        }

    def conversation(self) -> list[Turn]:
        """One to three topics in one language, now and then under a system prompt."""
        rng = self.rng
        language = rng.choice(LANGUAGES)
        turns: list[Turn] = []
        if rng.random() < 0.15:
            turns.append(("system", rng.choice(SYSTEM_PROMPTS[language])))
        first = self._draw(language)
        turns += self._talk(first)
        for _ in range(rng.choices((0, 1, 2), (0.68, 0.24, 0.08))[0]):
            following = self._draw(language if rng.random() < 0.8 else rng.choice(LANGUAGES))
            # Who has given a name is not asked for it as if the model did not know.
            if not (following.name.endswith("/no-name")) and following.name != first.name:
                turns += self._talk(following)
        return turns

    def _draw(self, language: str) -> Topic:
        topics = self._by_language[language]
        return self.rng.choices(topics, [topic.weight for topic in topics])[0]

    def _talk(self, topic: Topic) -> list[Turn]:
        rng = self.rng
        fact = rng.choice(topic.facts)
        turns: list[Turn] = []
        for number, exchange in enumerate(topic.exchanges):
            if number > 0 and rng.random() < 0.35:
                turns += self._small_talk(topic.language)
            turns += _exchange_turns(rng, topic, exchange, fact)
        return turns

    def _small_talk(self, language: str) -> list[Turn]:
        """Something said between being told a thing and being asked for it."""
        between = [
            topic
            for topic in self._by_language[language]
            if len(topic.exchanges) == 1 and not topic.name.endswith("/no-name")
        ]
        topic = self.rng.choice(between)
        return _exchange_turns(self.rng, topic, topic.exchanges[0], self.rng.choice(topic.facts))


@dataclass(frozen=True)
class Probe:
    """A conversation up to a question, and the one answer that counts as right."""

    topic: str
    turns: tuple[Turn, ...]
    answer: str


def make_probes(held_out: bool, per_topic: int, seed: int = 11) -> list[Probe]:
    """Questions for the test, at most `per_topic` to an exchange, in held-out or in seen ways."""
    probes = []
    for topic in load_topics():
        rng = random.Random(f"{seed} {topic.name} {held_out}")
        for number, exchange in enumerate(topic.exchanges):
            ways = exchange.held_out if held_out else exchange.seen
            pairs = [(way, fact) for way in ways for fact in topic.facts]
            for way, fact in rng.sample(pairs, min(per_topic, len(pairs))):
                before: list[Turn] = []
                for earlier in topic.exchanges[:number]:
                    before += _exchange_turns(rng, topic, earlier, fact)
                asked = vary(rng, fill(way, fact), topic.language)
                probes.append(
                    Probe(topic.name, (*before, ("user", asked)), fill(exchange.answer, fact))
                )
    return probes


def main() -> None:
    corpus = Corpus(seed=0)
    for _ in range(40):
        print(corpus.conversation())
    exchanges = [exchange for topic in corpus.topics for exchange in topic.exchanges]
    held_out = sum(len(exchange.held_out) for exchange in exchanges)
    ways = held_out + sum(len(exchange.seen) for exchange in exchanges)
    print(f"{len(corpus.topics)} topics, {ways} ways to ask, {held_out} of them held out")


if __name__ == "__main__":
    main()

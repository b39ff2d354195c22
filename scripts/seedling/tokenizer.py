# Makes Seedling's tokenizer: byte-level BPE of 2304 pieces, saved as Hugging Face files.
#
# Merges never cross a word. English and digits are cut by the pre-tokenizer; Chinese has no spaces,
# so for training only it is cut by longest match against the words of facts.py and WORDS_ZH. Without
# that, the few templates of the corpus would become pieces a sentence long, and nothing would
# generalize.
from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

from corpus import Corpus, Turn, load_topics
from facts import MONTHS_ZH, NAMES_ZH, SEASONS_ZH, TABLES, WEEKDAYS_ZH

VOCABULARY = 2304
CONVERSATIONS = 30_000
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")  # ids 0 to 4

# GPT-2's cut, but every digit is a piece of its own.
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# The template of InternLM2-Chat.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Common words that occur inside the phrases rather than in the tables.
WORDS_ZH = """什么 怎么 怎样 怎么样 哪里 哪儿 哪个 哪些 多少 多大 为什么 时候 什么时候 谁 几 一下 一个 一点 一首 一篇 一本 一部
自己 自我介绍 介绍 告诉 知道 记得 名字 叫做 请问 请 你们 我们 小助手 小苗 小模型 大模型 语言模型 真人 人类 机器 机器人 身体
感情 思考 做梦 意识 难过 开心 高兴 伤心 孤单 生病 中文 英文 英语 数字 汉字 翻译 成 用 帮助 可以 能 会 学习 训练 微调 量化
权重 矩阵 内存 显卡 计算 网页 网站 项目 参数 工具 例子 东西 数据 早上好 晚上好 下午好 上午好 早安 晚安 再见 拜拜 谢谢 感谢
非常 不客气 没关系 对不起 抱歉 不好意思 你好 您好 大家 喜欢 认识 很 最 真 的 了 吗 呢 吧 呀 啊 哦 是 在 有 和 不 也 还 就 我 你
他 它 这个 那个 这 那 不过 因为 如果 明天 昨天 今天 后面 前面 之后 之前 过后 后一天 前一天 下一个 上一个 星期 星期几 几月 季节
天气 颜色 首都 国家 城市 叫声 声音 反义词 相反 意思 等于 加 条 腿 几条 解释 说说 写作 重复 跟我 笑话 故事 书 朋友 里 里面 上海
实验室 助手 模型 内在 书生 人工智能 浦东 历史 消息 文章 推荐 发明 关于 开始 离 这里 聊天 简单 有用 简短 回答 正确 答案 休息
客气 存储 冻结 少量 旁边 两个 一颗 种子 长大 长成 大树""".split()

# Words that a first data set is likely to use; each is given this many occurrences at least.
EVERYDAY = (
    "自我介绍 上海 内在 外在 实验室 书生 浦 哦 · AI 小助手 助手 模型 大模型 语言模型 请 做".split()
)
EVERYDAY_OCCURRENCES = 2_000


def known_words() -> list[str]:
    """Chinese words, longest first."""
    words = {*WORDS_ZH, *WEEKDAYS_ZH, *MONTHS_ZH, *SEASONS_ZH, *NAMES_ZH}
    for facts in TABLES["zh"].values():
        words |= {text for fact in facts for text in fact.values()}
    short = {word for word in words if re.fullmatch(r"[一-鿿]{1,4}", word)}
    return sorted(short, key=lambda word: (-len(word), word))


def count_words() -> Counter[str]:
    """How often each word occurs in the corpus; a Chinese run is cut at known words."""
    cutter = re.compile("|".join(known_words()) + r"|[一-鿿]| ?[A-Za-z']+|[^一-鿿A-Za-z]+")
    corpus = Corpus(seed=1)
    counts: Counter[str] = Counter()
    for _ in range(CONVERSATIONS):
        for role, content in corpus.conversation():
            counts.update(cutter.findall(f"{role}\n{content}"))
    # Ways held out of training may use words of their own; the pieces should exist all the same.
    for topic in load_topics():
        for exchange in topic.exchanges:
            for way in exchange.held_out:
                counts.update(cutter.findall(re.sub(r"\{\w+\}", "", way)))
    for word in EVERYDAY:
        counts[word] = max(counts[word], EVERYDAY_OCCURRENCES)
    return counts


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The square root lets rare words have pieces too: a corpus of templates is very uneven.
    words = sorted(count_words().items())
    repeated = (word for word, count in words for _ in range(math.isqrt(count) + 1))
    tokenizer.train_from_iterator(repeated, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def render(turns: Iterable[Turn], generate: bool = False) -> str:
    """What CHAT_TEMPLATE makes of a conversation."""
    text = "<s>" + "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return text + "<|im_start|>assistant\n" if generate else text


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    added = {
        str(i): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, text in enumerate(SPECIAL)
    }
    write_json(folder / "special_tokens_map.json", names)
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            **names,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1024,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

"""Texts that tokenizers get wrong: the same ones every time, each well-formed Unicode.

`make_strings(count, seed, special_tokens)` gives exactly `count` texts: first the fixed ones below, then mixtures of
the kinds in KINDS. `special_tokens` are a family's own (`<|im_end|>` …); they appear whole, in the middle of
words, doubled, cut and misspelled. Run as a script, it prints the texts as JSON.
"""

import json
import random
import sys

FIXED = [
    "", " ", "  ", "   ", "\n", "\t", "\r\n", "\n\n\n", " \n ", "\0", "a\0b", "\0\0", "a", " a", "a ", " a ",
    "  a  b  ", "\ta\tb", "Hello, world!", "▁", "▁▁", "▁a", " ▁a", "a▁b", "<0x0A>", "<0xE4><0xBD><0xA0>", "<unk>",
    "<s>", "</s>", "<s>a</s>", "[UNUSED_TOKEN_141]", "<|endoftext|>", "Ġhello", "Ċ", "\u0301", "e\u0301", "é", "\u200d", "\ufeff",
    "\ufeffa", "👩‍👩‍👧‍👦", "🇨🇳🇩🇪🇺", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "你好,世界!", "请做一下自我介绍", "ﬁ", "①", "㍿", "Å", "ｆｕｌｌ", "ﾊﾟ", "가", "각", "ſ",
    "\u3000", "\u00a0", "\u2028", "\x85", "\x7f", "\x1b[31m", "\uffff", "\U0010ffff", "\ue000", "\ufffd", "aaaaaaaaaaaaaaaa",
    "I'm you'LL we'Ve 's 'S ''", "3.14159", "1234567890", "0x1F", "a" * 600, "1" * 200, " " * 200, "\n" * 100, "你" * 150,
    "مرحبا", "שלום", "नमस्ते", "สวัสดี", "İstanbul", "ΑΣ", "straße", "Z̸̡͝a̵͎̋l̴̙͂", "\u202eabc\u202c", "­soft\u00adhyphen", "'\u2019`´\"“”",
]  # fmt: skip

ENGLISH = """the of and to in a is that it was for on are with as at be this have from or had by word but not what all
were we when your can said there use an each which she do how their if will up other about out many then them these
Tokenizer training QLoRA gradient WebGPU quantization McDonald's isn't don't I'll they've COVID-19 e-mail U.S.A.
antidisestablishmentarianism Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz naïve café""".split()

CHINESE = "的一是不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩站广改议形委早房音火际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏兴切"
JAPANESE = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんアイウエオカキクケコサシスセソがぎぐげござじずぜぞぱぴぷぺぽーっゃゅょ日本語東京学生"
KOREAN = "안녕하세요반갑습니다한국어학습모델감사합니다가나다라마바사아자차카타파하"
OTHER_SCRIPTS = [
    "Привет, как дела? Ёлка щука объём", "Καλημέρα κόσμε, ΣΊΣΥΦΟΣ", "مرحبا بالعالم كيف حالك؟ ١٢٣", "שָׁלוֹם עולם",
    "नमस्ते दुनिया क्षत्रिय १२३", "สวัสดีชาวโลก น้ำ", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "வணக்கம் உலகம்", "გამარჯობა", "Բարեւ", "ሰላም", "ជំរាបសួរ",
    "Xin chào thế giới, tiếng Việt", "Příliš žluťoučký kůň úpěl ďábelské ódy", "Zażółć gęślą jaźń", "İıŞşĞğ", "𝒽𝑒𝓁𝓁𝑜 𝔴𝔬𝔯𝔩𝔡", "𐍈𐌰𐌱", "𠀀𠀁𪜀",
]  # fmt: skip
EMOJI = [
    "😀", "😂", "🤣", "❤️", "❤", "👍", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🏴‍☠️", "🇫🇷", "🇯🇵", "🇨", "1️⃣", "#️⃣", "☺️", "✨", "🎉", "🤷🏿‍♀️", "🧑🏻‍🤝‍🧑🏿",
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\u200d", "\ufe0f", "🏽", "🫠", "🪿", "㊙️", "©️", "™",
]  # fmt: skip
SPACES = [
    " ", " ", " ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", "\x85", "\u00a0", "\u1680",
    "\u2000", "\u2003", "\u2009", "\u200a", "\u200b", "\u200c", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000",
    "\ufeff", "\u180e", "▁", "▁▁",
]  # fmt: skip
CODE = [
    "def f(x, *args, **kwargs):\n    return [i ** 2 for i in range(x) if i % 2 == 0]\n", "if (a && b || !c) { x += 1; } // done\n",
    "const y = async () => await fetch(`${url}/api?v=${n}`);\n", "#include <stdio.h>\nint main(void) { return 0; }\n", "<div class=\"a b\">&nbsp;</div>\n",
    "{\"key\": [1, 2.5e-3, null, true], \"s\": \"\\u4f60\\n\"}", "SELECT * FROM t WHERE id >= 10 ORDER BY name DESC;", "\tfor i := 0; i < n; i++ {\n\t\tsum += a[i]\n\t}\n",
    "fn main() -> Result<(), Box<dyn Error>> { Ok(()) }", "x = \"\"\"doc\n\n  string\"\"\"\n\n\n", "$\\sum_{i=0}^{n} x_i^2 \\le \\frac{1}{2}$", "https://example.com/a/b?q=1&r=%20#frag", "git commit -m 'fix: #123' && npm run test:unit",
    "/* ---- */ ======== //////// ........ !!!!???? ----->", "camelCaseWord snake_case_word SCREAMING_SNAKE kebab-case-word PascalCase2Word", "        \n    \n\t \n", "a\\b\\\\c\"d'e`f", "```python\nprint('hi')\n```",
]  # fmt: skip
NORMALIZED = [
    "ﬁﬂﬀ", "①②③", "㍿㈱", "Å", "Å", "Å", "ＡＢＣ１２３", "ﾊﾟﾋﾟﾌﾟ", "ｶﾞｷﾞ", "각", "각", "½¼", "x²³₁", "ⅣⅫ", "㎏㎜", "ſs", "ŉ", "…", "‥", "―", "～", "〜", "￥", "｢｣", "é", "é",
    "ệ", "ệ", "́́", "豈更", "ﷺ", "ﬓ", "ⓐ", "⁇", "️", "𝟘𝟙", "ゔゔ", "が", "が", "\u0344", "\u0958", "\u2126", "\u212a", "ǆ",
]  # fmt: skip
LOOK_ALIKES = [
    "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\n", "<|im_end|>\n", "<|eot_id|>", "<|begin_of_text|>", "<bos>", "<eos>",
    "<start_of_turn>model\n", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>", "[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_0]", "<|user|>", "<|end|>", "<think>", "</think>", "<tool_call>", "<0x0A>", "<0x00>", "<0xFF>",
    "<0xGG>", "[MASK]", "[CLS]", "<mask>", "< s >", "<|im_end", "im_start|>", "<|", "|>", "<", ">", "</", "<s", "<|plugin|>", "<|action_start|><|plugin|>", "<|reserved_special_token_0|>", "<|fim_prefix|>", "<|vision_start|>",
]  # fmt: skip


def random_character(rng: random.Random) -> str:
    """Any code point but a surrogate; low planes more often, since assigned characters live there."""
    limit = rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000])
    while True:
        point = rng.randrange(limit)
        if not 0xD800 <= point < 0xE000:
            return chr(point)


def pick(rng: random.Random, items, least: int, most: int, joint: str = "") -> str:
    return joint.join(rng.choice(items) for _ in range(rng.randint(least, most)))


def english(rng, special):
    words = [rng.choice(ENGLISH) for _ in range(rng.randint(1, 14))]
    words = [rng.choice([w, w, w, w.capitalize(), w.upper()]) for w in words]
    return rng.choice([" ", " ", " ", "  ", ", ", "-", ""]).join(words) + rng.choice(["", ".", "!", "?", "...", " ", "\n"])


def contractions(rng, special):
    ends = ["'s", "'S", "'ll", "'LL", "'ve", "'Re", "'d", "'m", "'t", "’s", "'", "'x", " 's", "''s"]
    return " ".join(rng.choice(ENGLISH) + rng.choice(ends) for _ in range(rng.randint(1, 6)))


def east_asian(rng, special):
    parts = []
    for _ in range(rng.randint(1, 5)):
        parts.append(pick(rng, rng.choice([CHINESE, CHINESE, CHINESE, JAPANESE, KOREAN]), 1, 16))
        parts.append(rng.choice(["", ",", "。", "、", "!", "《", "》", " ", "\n", "GPT-4", "2024年", "abc"]))
    return "".join(parts)


def scripts(rng, special):
    return pick(rng, OTHER_SCRIPTS, 1, 3, rng.choice([" ", "", "\n"]))


def emoji(rng, special):
    return pick(rng, EMOJI, 1, 8, rng.choice(["", " ", "a"]))


def whitespace(rng, special):
    parts = []
    for _ in range(rng.randint(1, 8)):
        parts.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3, 7, 16, 40]))
        parts.append(rng.choice(["", "", "a", "word", "你", ".", "1", "{", "//"]))
    return "".join(parts)


def code(rng, special):
    return pick(rng, CODE, 1, 3, rng.choice(["", "\n", "    "]))


def controls(rng, special):
    points = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, 0x202A, 0x202E, 0x2066, 0x2069, 0xFFF9, 0xFFFE, 0xFFFF, 0xE0001]
    return "".join(rng.choice([chr(rng.choice(points)), rng.choice("ab 1\0")]) for _ in range(rng.randint(1, 24)))


def combining(rng, special):
    marks = [chr(point) for point in [*range(0x300, 0x370), 0x5B0, 0x64B, 0x93C, 0x94D, 0xE34, 0x1161, 0x11A8, 0x20DD, 0x3099, 0xFE20]]
    return "".join(rng.choice(["", "a", "e", "o", " ", "k", "ㄱ", "か"]) + pick(rng, marks, 1, 4) for _ in range(rng.randint(1, 8)))


def normalized(rng, special):
    return pick(rng, NORMALIZED, 1, 8, rng.choice(["", " ", "a"]))


def long_words(rng, special):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(["a", "ab", "the", "ha", "=", "-", "1", "你", "é", "😀", "\u0301", "<s", ". "]) * rng.randint(20, 120)
    alphabet = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFabcdef0123456789+/=", "aeiou"][kind - 1]
    return pick(rng, alphabet, 40, 300)


def digits(rng, special):
    kinds = [
        lambda: str(rng.randrange(10 ** rng.randint(1, 30))), lambda: f"{rng.random() * 1e6:,.3f}", lambda: f"{rng.random():.17g}",
        lambda: f"{rng.randrange(3000)}-{rng.randrange(13):02}-{rng.randrange(32):02}T{rng.randrange(24):02}:{rng.randrange(60):02}Z", lambda: hex(rng.randrange(1 << 64)),
        lambda: f"${rng.randrange(10**6)}.{rng.randrange(100):02}", lambda: f"{rng.random():e}", lambda: pick(rng, "0123456789٠١٢٣۴५६๗๘𝟗Ⅷ²⁵½", 1, 12),
    ]  # fmt: skip
    return " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 5)))


def any_characters(rng, special):
    return "".join(random_character(rng) for _ in range(rng.randint(1, 24)))


def look_alikes(rng, special):
    parts = []
    for _ in range(rng.randint(1, 6)):
        token = rng.choice([*LOOK_ALIKES, *special, *special])
        cut = rng.randrange(len(token) + 1)
        changes = [token, token, token, token * 2, token[:cut], token[cut:], token[:cut] + " " + token[cut:], token.upper(), token.swapcase(), token[:cut] + rng.choice(["\u0301", "x", "\0", "ﬁ"]) + token[cut:]]
        parts.append(rng.choice(changes))
        parts.append(rng.choice(["", "", " ", "  ", "\n", "a", "hello ", " world", "你好", "\u0301", "▁", "."]))
    return "".join(parts)


KINDS = [
    english, english, contractions, east_asian, east_asian, scripts, emoji, whitespace, whitespace, code, code, controls, combining, normalized, long_words, digits,
    any_characters, look_alikes, look_alikes,
]  # fmt: skip


def make_strings(count: int = 10_000, seed: int = 20_240_403, special_tokens: tuple[str, ...] = ()) -> list[str]:
    rng = random.Random(seed)
    special = [token for token in special_tokens if token]
    strings = [*FIXED, *special, *(f" {token} a{token}b " for token in special[:50])][:count]
    while len(strings) < count:
        parts = [rng.choice(KINDS)(rng, special) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        strings.append(rng.choice(["", "", "", " ", "  ", "\n"]) + rng.choice(["", " ", "\n"]).join(parts) + rng.choice(["", "", "", " "]))
    return strings


if __name__ == "__main__":
    json.dump(make_strings(*(int(argument) for argument in sys.argv[1:])), sys.stdout)

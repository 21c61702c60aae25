"""A deterministic mixed corpus: many scripts, emoji, code, control characters, digits, white space."""
import random
import unicodedata

import tree

# First and last code point of samples over the Unicode planes. U+32FF is left out: the reference normalizes by Unicode 11.
BLOCKS = [(0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F),
          (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F), (0x10A0, 0x10FF),
          (0x1100, 0x11FF), (0x1200, 0x137F), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
          (0x2070, 0x20CF), (0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x3000, 0x30FF),
          (0x3100, 0x32FE), (0x3400, 0x3500), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF),
          (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFF00, 0xFFEF), (0x10000, 0x100FF), (0x10300, 0x1034F), (0x1D400, 0x1D7FF),
          (0x1F300, 0x1FAFF), (0x20000, 0x20100), (0xE0100, 0xE01EF)]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n  ", "\r", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0",
          "\u1680", "\u180e", "\u2003", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
          "\ufeff", " " * 17, "\t" * 5]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇯🇵", "❤️", "1️⃣", "🧑🏿‍🚀", "☕︎"]
CODE = ["def f(x):\n    return x**2 + 1  # squares\n", "if (a[i] != b->c) { ++n; }\n", "SELECT * FROM t WHERE x>=10;\r\n",
        "\tfor(int i=0;i<10;i++)\n\t\tprintf(\"%d\\n\", i);\n", "<div class=\"a\">&nbsp;</div>", "x = {'k': [1, 2.5e-3, None]}",
        "https://example.org/a?b=c&d=%20#e", "C:\\Users\\me\\file.txt", "#!/bin/sh\nset -eu\n", "λ x → x + ∑ᵢ xᵢ²"]
WORDS = ["I'm", "you'LL", "we'Ve", "it'ſ", "don't", "'tis", "O'Reilly", "rock'n'roll", "they'd've", "'S", "naïve", "cafe\u0301",
         "Å\u212b\u2126", "ﬁnal", "ǆ", "straße", "İstanbul", "x\u0301\u0323y", "각ᄀ\u1161\u11a8", "Ⅷ", "½", "²³", "٣٤٥", "१२३"]


def prose() -> str:
    """The beginning of the King James Bible where it has been fetched, else an English pangram."""
    path = tree.cache() / "bible.txt"
    return (path.read_text(encoding="utf-8")[:200_000] if path.exists()
            else "The quick brown fox jumps over the lazy dog, 25 times. " * 4000)


def piece(rng: random.Random, special_tokens: list[str], text: str) -> str:
    kind = rng.randrange(9)
    if kind == 0:
        low, high = rng.choice(BLOCKS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 12)))
    if kind == 1:
        return "".join(chr(c) for c in (rng.randint(0, 0x10FFFF) for _ in range(4))
                       if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn")
    if kind == 2:
        return "".join(rng.choice("0123456789") for _ in range(rng.choice([1, 2, 3, 4, 7, 40])))
    if kind == 3:
        return rng.choice(special_tokens + ["<|", "|>", "<|im_", "</s>"])
    if kind == 4:
        return "".join(chr(rng.randrange(32)) for _ in range(rng.randint(1, 4)))
    if kind == 5:
        start = rng.randrange(len(text) - 400)
        return text[start:start + rng.randint(1, 400)]
    return rng.choice((EMOJI, CODE, WORDS)[kind - 6])


def mixed(size: int, special_tokens: list[str], seed: int = 7) -> str:
    """About `size` bytes of UTF-8 text."""
    rng = random.Random(seed)
    text = prose()
    out, length = [], 0
    while length < size:
        part = piece(rng, special_tokens, text)
        if rng.random() < 0.6:
            part += "".join(rng.choice(SPACES) for _ in range(rng.choice([1, 1, 1, 2, 3])))
        out.append(part)
        length += len(part.encode())
    return "".join(out)

"""Makes the golden files of crates/tokenize/tests/data/: texts with the cleaned text and the ids of the reference.

The reference is OpenAI's tokenizer as PyPI has it, under Python 3.11 (other versions have other Unicode tables):

    pip install "ftfy==6.3.1" "regex==2026.11.15" "clip-anytorch==2.6.0"
    python tools/make_token_goldens.py                                    # from the repository's root; always the same files
    python tools/make_token_goldens.py --random 50000 --seed 7 --out DIR  # more texts, to look for differences

The second form writes DIR/clean.jsonl and DIR/tokens.jsonl; EDGECLIP_TOKEN_GOLDENS=DIR cargo test -p edgeclip-tokenize reads them.
"""

import argparse
import html
import html.entities
import importlib.util
import json
import os
import random
import sys
import types
import unicodedata

import ftfy
import ftfy.badness
import ftfy.chardata

if unicodedata.unidata_version != "14.0.0":
    sys.exit(f"needs Python 3.11 with Unicode 14.0.0, this one has {unicodedata.unidata_version}")


def simple_tokenizer():
    """The module clip.simple_tokenizer without the package around it, which would import torch."""
    package = os.path.dirname(importlib.util.find_spec("clip").origin)
    module = types.ModuleType("simple_tokenizer")
    module.__file__ = os.path.join(package, "simple_tokenizer.py")
    with open(module.__file__, encoding="utf-8") as file:
        exec(compile(file.read(), module.__file__, "exec"), module.__dict__)
    return module


reference = simple_tokenizer()

ADJECTIVES = "red small wooden old shiny blurry low-resolution hand-drawn happy 3d black-and-white two-tone fluffy giant".split()
THINGS = "dog cat bicycle snowman pizza fire truck,sailing boat,cup of tea,guitar,tree frog,people,motor scooter,clock".split(",")
PLACES = "on the beach,in the rain,at night,under a bridge,by the window,in Paris,next to a 2nd one,on a plate".split(",")
TEMPLATES = [
    "a photo of a {t}.", "A {a} {t} {p}", "itap of my {t}.", "a {a} rendering of the {t}.", "The {t} isn't {a}!", "I'll take the {t} {p}",
    "we've seen {n} {t}s; they're {a}", "{t}, {t} and {n} more", "\"{a} {t}\" -- {p}?", "{t} #{n} @ {p}", "A PHOTO OF A {t}", "{a}/{t}_{n}.jpg",
]

SENTENCES = [
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío", "à la carte, voilà — où êtes-vous ?", "À noite, vovô Kowalsky vê o ímã cair no pé",
    "Zażółć gęślą jaźń", "Příliš žluťoučký kůň úpěl ďábelské ódy", "Árvíztűrő tükörfúrógép", "Pijamalı hasta yağız şoföre çabucak güvendi",
    "Съешь же ещё этих мягких французских булок", "Жебракують філософи при ґанку церкви в Гадячі", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus", "いろはにほへと ちりぬるを", "一只猫坐在窗台上", "키스의 고유조건은 입술끼리 만나야 하고",
    "ฉันกินกระจกได้", "مرحبا بالعالم، كيف حالك؟", "שלום עולם", "नमस्ते दुनिया", "বাংলা ভাষা", "Tôi yêu tiếng nước tôi", "Ævar Þór sá ðæ",
    "“quoted” ‘single’ – dash — em… ellipsis", "™ ® © € £ ¥ ¢ § ¶ † ‡ • ‰", "½ ¼ ¾ × ÷ ± ² ³ ¹ º ª µ", "50 € − 20 °C ≠ ∞ ≤ ≥ √2 ∑ ∂ π",
    "👍 great 😀🎉 ✔ ✅ ☺", "👨‍👩‍👧‍👦 family 🏳️‍🌈 🇫🇷 🏴󠁧󠁢󠁷󠁬󠁳󠁿", "ﬁne ﬂuﬃest Ǆ Ĳ ŉ", "ＦＵＬＬ　ｗｉｄｔｈ １２３", "ﾊﾝｶｸ ｶﾞｷﾞｸﾞ", "naïve café ☕", "a\u00a0b\u00a0c",
    "──╔═╗║█▓▒░", "ΌΔΥΣΣΕΥΣ ΣΑΣ", "Iñtërnâtiônàlizætiøn", "смотрю 👀 на тебя", "한국어 テスト 中文",
]

# Written by hand, each for a rule of the reference.
HAND = [
    "", " ", "   \t\n ", "\n", "\r\n\r\n", "a", "A", "!", "'", "''", "'s", "'S", "it's", "IT'S", "they're we've I'm you'll he'd don't", "'tis 'twas", "o'ſ x'ſ",
    "x'ﬅ", "'ſt", "rock 'n' roll", "dogs'", "dog's's", "!!'s", "123 4567", "1.5", "3rd", "٣٤٥ १२३ ½ Ⅷ ⅷ ① 𝟘𝟙 ２ 〇一", "a1b2c3", "x²³", "日本語", "犬と猫",
    "<|startoftext|>", "<|endoftext|>", "a<|endoftext|>b", "<|STARTOFTEXT|> x <|EndOfText|>", "!<|endoftext|>", "<|endoftext|", "<|ſtartoftext|>",
    "<|endoftext|><|endoftext|>", "<start_of_text>", "&lt;|endoftext|&gt;", "ΑΣ", "ΑΣ Σ ΣΑ ΑΣΑ ΑΣ.", "ΑΣ\u0301", "ΑΣ\u0301Α", "Σ", "σς", "ὈΔΥΣΣΕΎΣ", "A\u00adΣ",
    "A:Σ", "A·Σ", "A.Σ", "A'Σ", "A’ΣB", "1Σ", "İstanbul İİ", "I\u0307", "ıI", "ſ", "Kelvin K", "Å", "Ω", "ẞ", "ǅ", "Ꮳꮳ", "ᲐბႠ", "\u0345", "α\u0345", "a\u0345b",
    "x \u0345 y", "\u1c89\ua7cb\ua7dc", "\U00010d50\U00010d65", "\U00016ea0", "\U0001e900\U0001e922", "e\u0301", "e\u0301\u0327", "e\u0327\u0301", "q\u0307\u0323",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "\u212b", "\u2126", "\u0958", "\ufb1d", "\u0f73", "\U0001d15e", "a\u0898\u0301", "a\U0001e08f\u0301", "a\U00010efd\u0301",
    "\U000113c2\U000113b8", "\u0301", "\u0344", "\u1fef", "\u037e", "\u2000\u2001", "\u3000", "\x00", "a\x00b", "a\x0bb", "a\x0cb", "a\x1cb\x1dc\x1ed\x1fe", "a\x85b", "a\u2028b\u2029c",
    "a\xa0b", "a\u1680b", "a\u180eb", "a\u200bb", "a\u200cb\u200dc", "a\u202eb", "\ufeffBOM", "x\ufeffy", "\ufff9a\ufffab\ufffb", "\ufffc", "a\u206ab", "a\x7fb", "\x80\x81\x82", "a\x93b\x94",
    "\x1b[31mred\x1b[0m", "\x1b[1;31;40mX", "\x1b[m", "\x1b[", "\x1b[31", "\x1b[31;", "\x1b[٣m", "\x1b[３m", "\x1b]0;t\x07", "\x1b\x1b[0m[0m", "\x1b[?25l", "\x1b[1\nm",
    "&amp;", "&AMP;", "&amp", "&ampx", "&amp;amp;", "&amp;amp;amp;", "&amp;amp;amp;amp;eacute;", "&lt;b&gt;", "<b>&amp;</b>", "a &lt b", "&eacute;", "&EACUTE;", "&Eacute", "&eacutex",
    "&notit;", "&notin;", "&not;in", "&NotEqualTilde;", "&nbsp;", "&nbsp", "a&nbsp;&nbsp;b", "&#39;", "&#039;", "&#x27;", "&#X27;", "&#39", "&#x27x", "&#", "&#;", "&#x;", "&#xg;", "&", "&&",
    "&;", "& amp;", "&a", "&ab", "&zzzz;", "&#0;", "&#00;", "&#128;", "&#129;", "&#150;", "&#x80;", "&#x9f;", "&#13;", "&#10;", "&#11;", "&#12;", "&#9;", "&#1;", "&#31;", "&#127;", "&#xfdd0;",
    "&#xfffe;", "&#x10ffff;", "&#x10fffe;", "&#x110000;", "&#xD800;", "&#xDFFF;", "&#99999999999999999999;", "&#x1F600;", "&#128512;", "&#59;", "&#38;amp;", "&#38;#38;amp;", "&#x26;lt;",
    "&CounterClockwiseContourIntegral;", "&CounterClockwiseContourIntegralx;", "&" + "a" * 40 + ";", "&amp" + "a" * 40, "&ClockwiseContourIntegral", "&NTILDE;&ntilde;&NTilde;", "&HELLIP;",
    "&ZOPF;", "&^ZOPF;", "&#x85;", "&#133;", "&Tab;x&NewLine;y", "&bne;", "&fjlig;", "&ThickSpace;", "&lt;&gt;&quot;&apos;", "5 &lt; 6\n&amp; <i>\n&amp;", "&amp;\n<\n&eacute;", "&eacute;\n&lt;\n&eacute;",
    "&ccedil\u00e9", "&not\u00e9;", "&rarr;&rArr;", "caf&#xe9;", "&Atilde;&copy;", "&Atilde;&amp;copy; &amp;eacute;", "&lt;3", "Q&A", "AT&T", "R&D;", "?a=1&copy=2&lt=3&region=4",
    "\u201chere\u2019s a test\u201d", "\u2018x\u2019 \u201ay\u201b \u201ez\u201f \u02bc \u2032", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ", "Ǳ ǲ ǳ Ǆ ǅ ǆ Ǉ Ǌ Ĳ ĳ ŉ æ œ", "ＬＯＵＤ　ＮＯＩＳＥＳ", "Ｕﾀｰﾝ", "￣ ￤ ￥ ￦ ￨ ﾠ ﾡ", "ｶﾞ ﾊﾟ", "＜ｂ＞ ＆ａｍｐ；", "＆amp；",
    "schÃ¶n", "âœ” No problems", "&macr;\\_(ã\x83\x84)_/&macr;", "Broken text&hellip; it&#x2019;s ﬂubberiﬁc!", "sÃ³", "voilÃ le travail", "Ã la mode", "Ã  la carte", "Ãquele", "Ã quele", "Ã s vezes", "Ã s",
    "l’humanitÃ©", "Ã perturber", "The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.", "â€œ like this â€�", "â€œ like this â€?", "aÃ?b", "Ã\x1a", "Ãœ", "Ãœber", "Å", "Å is a letter", "Â", "Â ", "aÂ b", "a. Â b", "10Â °C", "Â£20", "£20", "Â©2020",
    "nÃ£o", "Não", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "РџСЂРёРІРµС‚", "Ð´Ð°", "ГўВЂВ™s", "вЂ\u201c", "Î³ÎµÎ¹Î±", "â‚¬", "ðŸ‘\x8d", "ðŸ‘ cool", "đź‘Ť", "рџ‘Ќ", "π\x9f‘\x8d", "ÔøΩ", "√©", "‚Äôs", "‚Ä¶", "¬©", "├⌐", "Γö£├▒", "ÄĄ", "Ä…", "ā€œ", "β€™", "Ã\xa0", "Ã¡", "Ã\xad",
    "ÃƒÂ©", "ÃƒÆ’Ã‚Â©", "à¤¹à¤¿", "Ø§Ù„Ø³Ù„Ø§Ù…", "×©×œ×•×", "ã\x81\x82", "ã‚ã„ã†", "é»‘", "ï»¿BOM", "í\xa0½í¸\x80", "í ½í¸\x80", "Ã©À\x80", "Ã©À\n", "Ã©í\xa0½í¸\n", "Ã©\u00c0", "Ã©\xed", "Ã©\xed\n", "é\x80", "a\x80b\u20ac", "\x85 ellipsis", "caf\xe9\x92s", "¯\\_(ツ)_/¯",
    "(╯°□°)╯︵ ┻━┻", "ヽ༼ຈل͜ຈ༽ﾉ", "¡Hola!", "¿Qué?", "«guillemets»", "Ö²", "Ü°", "ü ö Ü", "œuf", "œ uf", "Œ", "5×²", "× ²", "ØÙ", "à²¬", "√±", "≈°", "╔°", "°°°", "aÁ€", "é®x", "É°", "µ¶", "ªº", "¦¤", "xα¬",
    "\ufffd", "a\ufffdb", "Ã\ufffd", "â\ufffd\ufffd", "ð\ufffd\ufffd\ufffd", "\ufffd\ufffd", "Ã©\ufffd", "Ã©\x1a", "Ã©日本", "日本Ã©語â€™s", "Ã© and ï¿½", "cafÃ© на русском", "naïve Ã©", "schÃ¶n 日本 Ã¼ber",
    "\u0378", "\U000e0001", "\U000e0061\U000e007f", "\U0010ffff", "\ue000", "\uf8ff", "\U0001f9ff\U0001fae8\U0001fadc", "👩🏽‍🚀", "🇺🇸🇬🇧", "1️⃣ #️⃣", "❤️ ❤", "☎️", "𝒜𝓑𝕔", "𠮷野家", "ǁǀ", "ʼn", "a" * 300, "ab" * 200,
    "word " * 200, "é" * 200, "👍" * 60, "日本" * 90, "." * 150, "1" * 100, "aA" * 100, "'s" * 50, "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis", "https://example.org/?q=1&amp;r=2#x",
    "</w>", "a</w>", "Ġ", "Ġa", "__init__.py", "C++ & C#", "e=mc²", "100%", "$5.00", "a-b_c", "{json: \"x\"}", "\\n", "\\u00e9", "%C3%A9", "=C3=A9", "a…b", "…", "– —", "\t tab\tseparated ", " lead", "trail ", "two  blanks", "a \u3000 b",
]

POST_14 = [0x1C89, 0xA7CB, 0xA7CC, 0xA7DA, 0xA7DC, 0x10D50, 0x10D6E, 0x1E08F, 0x1E030, 0x11F02, 0x113C2, 0x113B8, 0x16D67, 0x0897, 0x10EFC, 0x16EA0, 0x31350, 0x2EBF0, 0x1FAE8, 0x1E4EC]


def pools():
    cats = ftfy.badness.MOJIBAKE_CATEGORIES
    import re

    def expand(text):
        return [chr(c) for c in range(0x110000) if re.match(f"[{text}]", chr(c))]

    bad = sorted({c for text in cats.values() for c in expand(text)})
    clues = sorted({c for text in ftfy.chardata.UTF8_CLUES.values() for c in expand(text)})
    marks = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
    decomposable = [chr(c) for c in range(0x110000) if unicodedata.decomposition(chr(c)) and not unicodedata.decomposition(chr(c)).startswith("<")]
    cased = [chr(c) for c in range(0x110000) if chr(c).lower() != chr(c)]
    numbers = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c))[0] == "N"]
    spaces = [chr(c) for c in range(0x110000) if chr(c).isspace()]
    controls = [chr(c) for c in [*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x2030), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFE)]]
    widths = [chr(c) for c in ftfy.chardata.WIDTH_MAP] + [chr(c) for c in ftfy.chardata.LIGATURES] + list("‘’‚‛“”„‟ʼ")
    emoji = [chr(c) for c in [*range(0x1F300, 0x1F650), *range(0x1F900, 0x1FA00), *range(0x1F1E6, 0x1F200), *range(0x2600, 0x2700), *range(0x1F3FB, 0x1F400)]] + ["\u200d", "\ufe0f"]
    return types.SimpleNamespace(
        bad=bad, clues=clues, marks=marks, decomposable=decomposable, cased=cased, numbers=numbers, spaces=spaces,
        controls=controls, widths=widths, emoji=emoji, post14=[chr(c) for c in POST_14],
        ascii=[chr(c) for c in range(0x20, 0x7F)], letters=list("abcdefghijklmnopqrstuvwxyz  "),
    )


class Generator:
    """Random texts of every kind that the reference treats specially."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pools = pools()
        self.entities = sorted(html.entities.html5)
        self.upper = sorted(k[1:] for k in ftfy.chardata.HTML_ENTITIES)

    def some(self, pool, low=1, high=6):
        return "".join(self.random.choices(pool, k=self.random.randint(low, high)))

    def caption(self):
        r = self.random
        text = r.choice(TEMPLATES).format(a=r.choice(ADJECTIVES), t=r.choice(THINGS), p=r.choice(PLACES), n=r.randint(0, 2000))
        return r.choice([text, text, text, text.upper(), text.title(), text + " " + self.some(self.pools.emoji, 1, 3)])

    def sentence(self):
        words = self.random.choice(SENTENCES).split(" ")
        start = self.random.randrange(len(words))
        return " ".join(words[start : start + self.random.randint(1, 4)])

    def mojibake(self, text=None):
        r = self.random
        text = text if text is not None else self.sentence()
        for _ in range(r.choice([1, 1, 1, 1, 2, 2, 3])):
            data = text.encode("utf-8", "surrogatepass")
            if r.random() < 0.1:
                data = self.cesu8(text)
            if r.random() < 0.1:
                data = data.replace(b"\xa0", b" ")
            if r.random() < 0.05 and len(data) > 1:
                at = r.randrange(len(data))
                data = data[:at] + data[at + 1 :]
            codec = r.choice(ftfy.chardata.CHARMAP_ENCODINGS + ["sloppy-windows-1252"] * 6 + ["latin-1"] * 2)
            text = data.decode(codec)
            text = text.replace("\ufffd", "\x1a") if codec.startswith("sloppy") else text
            if r.random() < 0.08:
                text = "".join("\ufffd" if "\x80" <= c <= "\x9f" and r.random() < 0.7 else c for c in text)
            if r.random() < 0.04:
                text = "".join("?" if "\x80" <= c <= "\x9f" and r.random() < 0.5 else c for c in text)
            if r.random() < 0.06:
                text = "".join(c for c in text if not "\x80" <= c <= "\x9f")
        return text

    @staticmethod
    def cesu8(text):
        out = b""
        for c in text:
            code = ord(c)
            if code >= 0x10000:
                code -= 0x10000
                out += chr(0xD800 + (code >> 10)).encode("utf-8", "surrogatepass") + chr(0xDC00 + (code & 0x3FF)).encode("utf-8", "surrogatepass")
            elif c == " " and len(out) % 5 == 0:
                out += b"\xc0\x80"
            else:
                out += c.encode()
        return out

    def mixed(self):
        r = self.random
        parts = [r.choice([self.sentence, self.caption, self.mojibake, self.mojibake, self.entity])() for _ in range(r.randint(2, 3))]
        return r.choice([" ", "", "\n", " - ", "日本"]).join(parts)[:160]

    def entity(self):
        r = self.random
        kind = r.random()
        if kind < 0.45:
            name = r.choice(self.entities)
            body = r.choice([name, name, name.rstrip(";"), name.rstrip(";") + r.choice("xé1;="), name.upper(), name.lower(), name[:-2]])
        elif kind < 0.55:
            body = r.choice(self.upper)
        else:
            number = r.choice([r.randrange(0x300), r.randrange(0x3000), r.randrange(0x120000), r.choice([0x80, 0x85, 0x92, 0x9D, 0xD800, 0xDC00, 0xFFFE, 0xFDD0, 0x110000, 0, 9, 10, 11, 12, 13, 28, 59, 38, 60])])
            body = "#" + r.choice([f"{number}", f"x{number:x}", f"X{number:X}", f"0{number}"]) + r.choice([";", ";", "", "x", ";;", "."])
        text = "&" + body
        for _ in range(r.choice([0, 0, 0, 0, 1, 2, 3])):
            text = text.replace("&", "&amp;")
        return r.choice(["", self.some(self.pools.letters, 1, 4)]) + text + r.choice(["", " ", self.some(self.pools.letters, 1, 4), ";", "<"][: 4 + (r.random() < 0.2)])

    def unlikely(self):
        """Characters of ftfy's classes, which make or nearly make its patterns."""
        r = self.random
        pool = r.choice([self.pools.bad, self.pools.bad, self.pools.clues])
        return "".join(r.choice([self.some(pool, 1, 3), self.some(self.pools.letters, 1, 3), r.choice(" \n\xa0_1é日")]) for _ in range(r.randint(1, 4)))

    def encoded(self):
        """UTF-8 of random characters, whole or damaged, in the characters of one encoding."""
        r = self.random
        codec = r.choice(ftfy.chardata.CHARMAP_ENCODINGS)
        pool = r.choice([self.pools.bad, self.pools.emoji, self.pools.marks, self.pools.spaces, [chr(c) for c in range(0xA0, 0x250)], [chr(c) for c in range(0xD000, 0xD7A0, 7)]])
        data = bytearray(self.some(pool, 1, 5).encode())
        for _ in range(r.choice([0, 0, 0, 1, 2])):
            data.insert(r.randrange(len(data) + 1), r.choice([0x20, 0x1A, 0x3F, 0xA0, 0x80, 0xC0, 0xC3, 0xED, 0xF0, 0xE2, 0x0A, r.randrange(256)]))
        return self.some(self.pools.letters, 0, 3) + bytes(data).decode(codec) + r.choice(["", "\n", " ", self.some(self.pools.letters, 0, 4)])

    def marked(self):
        r = self.random
        parts = [self.some(self.pools.marks, 0, 4), self.some(self.pools.decomposable, 0, 2), self.some(self.pools.post14, 0, 1), r.choice("aeioqΑαᄀ가")]
        r.shuffle(parts)
        return "".join(parts) + r.choice(["", "\u1161", "\u11a8", "\u0345", "x"])

    def case(self):
        parts = [self.some(self.pools.cased, 0, 3), "Σ" * self.random.randint(0, 2), self.some(self.pools.marks, 0, 1), self.random.choice([":", "'", "’", ".", "\u00ad", "a", " ", "1", "\u0345"])]
        self.random.shuffle(parts)
        return "".join(parts)

    def scatter(self):
        """A bit of everything in one text."""
        r = self.random
        names = [n for n in vars(self.pools) if n != "letters"]
        parts = [self.some(getattr(self.pools, r.choice(names)), 1, 3) for _ in range(r.randint(1, 5))]
        parts.append(r.choice(["", "", "'s", "'LL ", "<|endoftext|>", "\x1b[0m", "&amp;", "&lt;", "don't", "42", "<"]))
        r.shuffle(parts)
        return "".join(parts)

    def anything(self):
        codes = [self.random.randrange(0x110000) if self.random.random() < 0.3 else self.random.randrange(0x3000) for _ in range(self.random.randint(1, 8))]
        return "".join(chr(c) for c in codes if not 0xD800 <= c <= 0xDFFF)

    def next(self):
        kinds = [
            (14, self.caption), (8, self.sentence), (16, self.mojibake), (10, self.mixed), (12, self.entity), (10, self.unlikely), (8, self.encoded),
            (5, self.marked), (4, self.case), (8, self.scatter), (5, self.anything),
        ]
        kind = self.random.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
        text = kind()
        return text.lower() if self.random.random() < 0.03 else text


def readable(text):
    """JSON in which what cannot be seen is escaped and all else is as it is."""
    return "".join(c if c.isprintable() and not unicodedata.combining(c) else json.dumps(c)[1:-1] for c in json.dumps(text, ensure_ascii=False)[1:-1])


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(row + "\n" for row in rows)
    print(f"{path}: {len(rows)} rows, {os.path.getsize(path)} bytes")


def cleaned(text):
    return reference.whitespace_clean(reference.basic_clean(text)).lower()


def token_rows(tokenizer, texts):
    return [f'{{"text":"{readable(t)}","ids":{json.dumps(tokenizer.encode(t), separators=(",", ":"))}}}' for t in texts]


def clean_rows(texts):
    return [f'{{"text":"{readable(t)}","fixed":"{readable(ftfy.fix_text(t))}","clean":"{readable(cleaned(t))}"}}' for t in texts]


def unique(texts):
    return list(dict.fromkeys(texts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=7000, help="how many generated texts")
    parser.add_argument("--seed", type=int, default=2021)
    parser.add_argument("--out", default="crates/tokenize/tests/data")
    args = parser.parse_args()
    tokenizer = reference.SimpleTokenizer()
    generator = Generator(args.seed)
    generated = [generator.next() for _ in range(args.random)]
    texts = unique(HAND + SENTENCES + generated)
    write(os.path.join(args.out, "tokens.jsonl"), token_rows(tokenizer, texts))
    hard = [t for t in generated if cleaned(t) != t.lower().strip()]
    write(os.path.join(args.out, "clean.jsonl"), clean_rows(unique(HAND + SENTENCES + (hard[:1600] if args.seed == 2021 else hard))))
    if args.seed != 2021:
        return

    # The same tokenizer with the first merges only, as a vocabulary of another size has it.
    small = reference.SimpleTokenizer()
    merges = list(small.bpe_ranks)[: 8192 - 512 - 2]
    tokens = list(small.encoder)[:512] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    small.encoder = {token: i for i, token in enumerate(tokens)}
    small.bpe_ranks = {merge: i for i, merge in enumerate(merges)}
    write(os.path.join(args.out, "tokens-8192.jsonl"), token_rows(small, unique(HAND + SENTENCES + generated[:150])))

    rng = random.Random(5)
    rows = []
    for _ in range(60):
        ids = rng.choices(range(len(tokenizer.encoder)), k=rng.randint(0, 8)) + rng.choices(range(512), k=rng.randint(0, 4))
        rows.append(f'{{"ids":{json.dumps(ids)},"text":"{readable(tokenizer.decode(ids))}"}}')
    write(os.path.join(args.out, "decode.jsonl"), rows)

    # Lower case of every code point that has another one.
    rows = [f"{c:x} {' '.join(f'{ord(l):x}' for l in chr(c).lower())}" for c in range(0x110000) if chr(c).lower() != chr(c)]
    write(os.path.join(args.out, "lower.txt"), rows)


if __name__ == "__main__":
    main()

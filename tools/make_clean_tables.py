"""Regenerates the tables of crates/tokenize/src/tables/ and the merges of crates/tokenize/data/.

They are facts about the reference (CPython 3.11, the `regex` module, ftfy 6.3.1, clip-anytorch's simple_tokenizer), taken from
the packages themselves, so that no one transcribes a character class by hand. Needs Python 3.11 (Unicode 14.0; the script
refuses another) and

    pip install "ftfy==6.3.1" "regex==2026.11.15" "clip-anytorch==2.6.0"

Run it from the repository's root: python tools/make_clean_tables.py. The output is deterministic.
"""

import gzip
import html
import html.entities
import importlib.util
import os
import re
import struct
import sys
import unicodedata

try:
    from re import _constants as sre
    from re import _parser as sre_parse
except ImportError:
    sys.exit("needs Python 3.11, for its Unicode 14.0 tables")

import regex
from ftfy import badness, chardata

if unicodedata.unidata_version != "14.0.0":
    sys.exit(f"needs Python 3.11 with Unicode 14.0.0, this one has {unicodedata.unidata_version}")

TABLES = "crates/tokenize/src/tables"
DATA = "crates/tokenize/data"
WIDTH = 128
ALL = range(0x110000)


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    print(f"{path}: {len(text.encode())} bytes")


def wrapped(items):
    """The items, separated by commas, on lines of at most WIDTH columns."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join(lines + [line])


def ranges(test):
    """The code points for which `test` holds, as inclusive ranges."""
    found = []
    for code in ALL:
        if test(code):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return found


def range_table(name, doc, test):
    body = wrapped(f"(0x{a:x}, 0x{b:x})" for a, b in ranges(test))
    return f"/// {doc}\n#[rustfmt::skip]\npub(crate) const {name}: &[(u32, u32)] = &[\n{body}\n];\n"


def rust_char(code):
    char = chr(code)
    if 0x21 <= code < 0x7F and char not in "'\\":
        return f"'{char}'"
    return f"'\\u{{{code:x}}}'"


def rust_str(text):
    return '"' + "".join(c if 0x20 <= ord(c) < 0x7F and c not in '"\\' else f"\\u{{{ord(c):x}}}" for c in text) + '"'


def unicode_tables():
    letter, number = regex.compile(r"\p{L}"), regex.compile(r"\p{N}")

    def final(text):
        return text.lower()[-1] == "ς"

    parts = [
        "//! Character properties of the reference, as inclusive ranges of code points. Made by tools/make_clean_tables.py.\n",
        range_table("LETTER", "`\\p{L}` of the `regex` module 2026.11.15 (Unicode 18).", lambda c: letter.match(chr(c))),
        range_table("NUMBER", "`\\p{N}` of the `regex` module 2026.11.15 (Unicode 18).", lambda c: number.match(chr(c))),
        range_table(
            "UNASSIGNED",
            "Code points that Python 3.11 (Unicode 14) does not know: it neither lower-cases nor normalises them.",
            lambda c: unicodedata.category(chr(c)) == "Cn",
        ),
        range_table("DECIMAL", "`\\d` of Python 3.11's `re`.", lambda c: chr(c).isdecimal()),
        range_table(
            "CASED",
            "What makes a capital sigma after it a final one, in Python 3.11's `str.lower`.",
            lambda c: final(chr(c) + "Σ"),
        ),
        range_table(
            "CASE_IGNORABLE",
            "What Python 3.11's `str.lower` looks through when it decides on a final sigma.",
            lambda c: final("A" + chr(c) + "Σ") and not final(chr(c) + "Σ"),
        ),
    ]
    write(f"{TABLES}/unicode.rs", "\n".join(parts))


# Classes of ftfy's badness expression that are rules and no lists; the crate computes them.
SPACE, WORD, NOT_LATIN, NOT_NEWLINE = "\\s", "\\w", "[^A-Za-z]", "."


def members(node):
    """One element of a parsed expression: a frozenset of code points, or the name of a computed class."""
    op, arg = node
    if op is sre.LITERAL:
        return frozenset([arg])
    if op is sre.ANY:
        return NOT_NEWLINE
    assert op is sre.IN, node
    if arg == [(sre.CATEGORY, sre.CATEGORY_WORD)]:
        return WORD
    if arg == [(sre.CATEGORY, sre.CATEGORY_SPACE)]:
        return SPACE
    if arg[0][0] is sre.NEGATE:
        assert arg[1:] == [(sre.RANGE, (65, 90)), (sre.RANGE, (97, 122))], arg
        return NOT_LATIN
    codes = set()
    for kind, value in arg:
        if kind is sre.LITERAL:
            codes.add(value)
        else:
            assert kind is sre.RANGE, node
            codes.update(range(value[0], value[1] + 1))
    return frozenset(codes)


def badness_patterns():
    """ftfy's badness expression as (only at the start?, [class, ..]): each alternative is a short sequence of classes."""
    parsed = sre_parse.parse(badness.BADNESS_RE.pattern, re.VERBOSE)
    assert len(parsed) == 1 and parsed[0][0] is sre.BRANCH
    for alternative in parsed[0][1][1]:
        nodes, anchored = list(alternative), False
        if nodes[0][0] is sre.AT:
            assert nodes[0][1] is sre.AT_BEGINNING
            nodes, anchored = nodes[1:], True
        sequences = [[]]
        for node in nodes:
            if node[0] is sre.MAX_REPEAT:  # \s? becomes two patterns, without it and with it
                low, high, inner = node[1]
                assert (low, high, len(inner)) == (0, 1, 1), node
                sequences += [s + [members(inner[0])] for s in sequences]
            else:
                sequences = [s + [members(node)] for s in sequences]
        for sequence in sequences:
            yield anchored, sequence


def mojibake_tables():
    patterns = list(badness_patterns())
    classes = []
    for _, sequence in patterns:
        for cls in sequence:
            if isinstance(cls, frozenset) and cls not in classes:
                classes.append(cls)
    named = {}
    for name in ["utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation", "utf8_continuation_strict"]:
        node = sre_parse.parse("[" + chardata.UTF8_CLUES[name] + "]")
        named[name] = members(node[0])
        classes.append(named[name])
    firsts = [named[f"utf8_first_of_{n}"] for n in (2, 3, 4)]
    # The detector's loop has one way to go at each step, which lets the crate match it without backtracking.
    assert not (firsts[0] & firsts[1] or firsts[0] & firsts[2] or firsts[1] & firsts[2])
    computed = [SPACE, WORD, NOT_LATIN, NOT_NEWLINE]
    assert len(classes) + len(computed) <= 128, len(classes)
    bit = {cls: i for i, cls in enumerate(classes)}
    bit.update({name: len(classes) + i for i, name in enumerate(computed)})

    masks = {}
    for cls in classes:
        for code in cls:
            masks[code] = masks.get(code, 0) | 1 << bit[cls]
    out = ["//! Character classes and patterns of ftfy 6.3.1's mojibake detection, and the single-byte encodings it tries."]
    out.append("//! Made by tools/make_clean_tables.py.\n")
    for name, cls in [
        ("FIRST_OF_2", named["utf8_first_of_2"]),
        ("FIRST_OF_3", named["utf8_first_of_3"]),
        ("FIRST_OF_4", named["utf8_first_of_4"]),
        ("CONTINUATION", named["utf8_continuation"]),
        ("CONTINUATION_STRICT", named["utf8_continuation_strict"]),
        ("SPACE", SPACE),
        ("WORD", WORD),
        ("NOT_LATIN", NOT_LATIN),
        ("NOT_NEWLINE", NOT_NEWLINE),
    ]:
        # The last class that equals a named one wins in `bit`, and both have the same members.
        out.append(f"/// The bit of class {name} in a mask.\npub(crate) const {name}: u128 = 1 << {bit[cls]};")
    out.append("\n/// The listed classes of a character, as a mask; sorted by character.")
    out.append("#[rustfmt::skip]\npub(crate) const CLASSES: &[(char, u128)] = &[")
    out.append(wrapped(f"({rust_char(code)}, 0x{masks[code]:x})" for code in sorted(masks)))
    out.append("];\n")
    out.append("/// The unlikely sequences of characters: the class of each, and whether it counts at the text's start only.")
    out.append("#[rustfmt::skip]\npub(crate) const UNLIKELY: &[(bool, &[u8])] = &[")
    out.append(wrapped(f"({str(a).lower()}, &[{', '.join(str(bit[c]) for c in s)}])" for a, s in patterns))
    out.append("];\n")

    # Bytes 0x80 to 0xff of every encoding but Latin-1 (which is the identity), in the order in which ftfy tries them.
    rows = []
    assert chardata.CHARMAP_ENCODINGS[0] == "latin-1"
    for encoding in chardata.CHARMAP_ENCODINGS[1:]:
        text = bytes(range(0x80, 0x100)).decode(encoding)
        assert len(set(text)) == 128 and all(ord(c) >= 0x80 for c in text)
        for byte in range(0x80):
            expected = "\ufffd" if byte == 0x1A and encoding.startswith("sloppy") else chr(byte)
            assert bytes([byte]).decode(encoding) == expected and expected.encode(encoding) == bytes([byte])
        lines = "".join(f"\n        {rust_str(text[i:i + 16])[:-1]}\\" for i in range(0, 128, 16)).replace('\n        "', "\n        ")
        rows.append(f'    ({rust_str(encoding)}, "\\{lines}\n    "),')
    out.append("/// Name and characters of bytes 0x80 to 0xff of ftfy's single-byte encodings after Latin-1, in ftfy's order.")
    out.append("#[rustfmt::skip]\npub(crate) const ENCODINGS: &[(&str, &str)] = &[")
    out.extend(rows)
    out.append("];\n")

    out.append("/// Full-width and half-width forms and what ftfy makes of them; sorted by character.")
    out.append("#[rustfmt::skip]\npub(crate) const WIDTHS: &[(char, &str)] = &[")
    out.append(wrapped(f"({rust_char(c)}, {rust_str(chardata.WIDTH_MAP[c])})" for c in sorted(chardata.WIDTH_MAP)))
    out.append("];\n")
    out.append("/// Latin ligatures and digraphs and their letters; sorted by character.")
    out.append("#[rustfmt::skip]\npub(crate) const LIGATURES: &[(char, &str)] = &[")
    out.append(wrapped(f"({rust_char(c)}, {rust_str(chardata.LIGATURES[c])})" for c in sorted(chardata.LIGATURES)))
    out.append("];\n")
    out.append("/// Numeric character references that `html.unescape` maps to something else than their number.")
    out.append("#[rustfmt::skip]\npub(crate) const REFERENCES: &[(u32, char)] = &[")
    out.append(wrapped(f"(0x{n:x}, {rust_char(ord(c))})" for n, c in sorted(html._invalid_charrefs.items())))
    out.append("];\n")
    out.append("/// Numeric character references that `html.unescape` drops, as inclusive ranges.")
    out.append("#[rustfmt::skip]\npub(crate) const DROPPED_REFERENCES: &[(u32, u32)] = &[")
    out.append(wrapped(f"(0x{a:x}, 0x{b:x})" for a, b in ranges(lambda c: c in html._invalid_codepoints)))
    out.append("];")
    write(f"{TABLES}/mojibake.rs", "\n".join(out) + "\n")


def html_table():
    """One entity a line, its name and its code points in hexadecimal; ftfy's upper-case additions begin with a `^`."""
    extra = {n[1:]: v for n, v in chardata.HTML_ENTITIES.items() if n[1:] not in html.entities.html5}
    rows = sorted(html.entities.html5.items()) + sorted(("^" + name, value) for name, value in extra.items())
    lines = [" ".join([name] + [f"{ord(c):x}" for c in value]) for name, value in rows]
    write(f"{TABLES}/entities.txt", "\n".join(lines) + "\n")


def merges():
    """CLIP's merges, each as the ids of its two tokens (u16, little-endian): 196 kB instead of 525."""
    from clip.simple_tokenizer import bytes_to_unicode

    package = os.path.dirname(importlib.util.find_spec("clip").origin)
    lines = gzip.open(os.path.join(package, "bpe_simple_vocab_16e6.txt.gz")).read().decode().split("\n")
    alphabet = list(bytes_to_unicode().values())
    tokens = alphabet + [symbol + "</w>" for symbol in alphabet]
    ids = {token: i for i, token in enumerate(tokens)}
    pairs = []
    for line in lines[1 : 49152 - 256 - 2 + 1]:
        left, right = line.split()
        pairs.append(struct.pack("<HH", ids[left], ids[right]))
        ids[left + right] = len(ids)
    assert len(ids) == 512 + len(pairs), "two merges make one token"
    with open(f"{DATA}/clip-merges.bin", "wb") as file:
        file.write(b"".join(pairs))


if __name__ == "__main__":
    unicode_tables()
    mojibake_tables()
    html_table()
    merges()

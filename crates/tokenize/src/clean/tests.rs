//! Each step against its reference, and the fast path against the full one.
//!
//! The examples of the single steps are from the documentation of ftfy and of Python, or follow from the rule that they are about;
//! the golden files (tools/make_token_goldens.py) hold what the reference itself makes of them and of thousands of other texts.

use super::*;
use std::fs::read_to_string;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Rows of the golden file: text, `ftfy.fix_text` of it, and the whole cleaning.
fn golden() -> Vec<[String; 3]> {
    let text = read_to_string(format!("{DATA}/clean.jsonl")).expect("the golden file is there");
    let more = std::env::var_os("EDGECLIP_TOKEN_GOLDENS").map(|folder| std::path::PathBuf::from(folder).join("clean.jsonl"));
    let more = more.and_then(|path| read_to_string(path).ok()).unwrap_or_default();
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a golden row is JSON");
        ["text", "fixed", "clean"].map(|key| row[key].as_str().expect("a golden row has three texts").to_owned())
    };
    text.lines().chain(more.lines()).map(row).collect()
}

#[test]
fn fix_text_is_ftfys() {
    let rows = golden();
    let differing: Vec<String> = rows
        .iter()
        .map(|[text, expected, _]| (text, fix::fix_text(text), expected))
        .filter(|(_, got, expected)| got != *expected)
        .map(|(text, got, expected)| format!("{text:?}\n  got      {got:?}\n  expected {expected:?}"))
        .collect();
    assert!(
        differing.is_empty(),
        "{} of {} differ:\n{}",
        differing.len(),
        rows.len(),
        differing[..differing.len().min(20)].join("\n")
    );
}

/// The fast path changes nothing: on every golden text that takes it, and on every text of up to three characters of a set that
/// has one of each kind, the full cleaning gives the same.
#[test]
fn plain_text_needs_no_more_than_the_fast_path() {
    let mut taken = 0;
    let kinds = [' ', '\t', '\n', '\r', '\x0c', 'a', 'Z', '0', '~', '!', ';', '#', '<', '?', '\'', '"', '&', '\x1f', '\x7f', 'é'];
    let short = (0..kinds.len().pow(3)).map(|n| {
        let digits = [n % kinds.len(), n / kinds.len() % kinds.len(), n / kinds.len().pow(2)];
        digits.iter().map(|&digit| kinds[digit]).collect::<String>()
    });
    for text in golden().into_iter().map(|[text, _, _]| text).chain(short) {
        if is_plain(&text) {
            taken += 1;
            assert_eq!(plain(&text), full(&text), "{text:?}");
        }
    }
    // 16 of the 20 kinds are plain, so that 16 cubed of the short texts are.
    assert!(taken >= 16usize.pow(3), "{taken}");
    for byte in 0..=255u8 {
        let text = format!("a{}b", char::from(byte));
        if is_plain(&text) {
            assert_eq!(plain(&text), full(&text), "{text:?}");
        }
    }
}

#[test]
fn entities_are_decoded_as_ftfy_does() {
    for (text, expected) in [
        ("&lt;tag&gt;", "<tag>"),
        ("&Jscr;ohn &HilbertSpace;ancock", "𝒥ohn ℋancock"),
        ("P&EACUTE;REZ", "PÉREZ"),
        ("BUNDESSTRA&SZLIG;E", "BUNDESSTRASSE"),
        ("&ntilde; &Ntilde; &NTILDE; &nTILDE;", "ñ Ñ Ñ &nTILDE;"),
        ("&amp &eacute", "&amp &eacute"),
        ("&#233; &#xe9;", "é é"),
        ("&#59;", "&#59;"),
        ("&#12abc;", "&#12abc;"),
    ] {
        assert_eq!(html::unescape_complete(text), expected, "{text}");
    }
}

/// From the line with the first `<` on, entities are those of a page and stay.
#[test]
fn entities_of_html_are_left_alone() {
    assert_eq!(fix::fix_text("&eacute;\n&lt;\n&eacute;"), "é\n<\né");
    assert_eq!(fix::fix_text("&eacute;\n<\n&eacute;"), "é\n<\n&eacute;");
    assert_eq!(fix::fix_text("<b>&amp;</b>"), "<b>&amp;</b>");
}

#[test]
fn entities_are_unescaped_as_python_does() {
    for (text, expected) in [
        ("&amp &ampx &notit; &notin;", "& &x ¬it; ∉"),
        ("&zzz; &; & &#; &#x; &#xg;", "&zzz; &; & &#; &#x; &#xg;"),
        ("&#0; &#xD800; &#x110000; &#99999999999999999999;", "\u{fffd} \u{fffd} \u{fffd} \u{fffd}"),
        ("&#128; &#x92; &#129;", "€ ’ \u{81}"),
        ("a&#1;b&#x7f;c&#xfffe;d", "abcd"),
        ("&#65x &#x41g", "Ax Ag"),
        ("&bne;", "=\u{20e5}"),
        // A name that only ftfy knows, and the mark of such names in the table.
        ("&NTILDE; &^NTILDE;", "&NTILDE; &^NTILDE;"),
    ] {
        assert_eq!(html::unescape(text), expected, "{text}");
    }
    // Python's int() refuses more than 4,300 digits; this is a declared difference.
    assert_eq!(html::unescape(&format!("&#{};", "9".repeat(5000))), "\u{fffd}");
}

#[test]
fn mojibake_is_decoded() {
    for (text, expected) in [
        ("schÃ¶n", "schön"),
        ("âœ” No problems", "✔ No problems"),
        ("voilÃ le travail", "voilà le travail"),
        ("Ã la mode", "à la mode"),
        ("Ãquele", "Ãquele"),
        ("â€œ like this â€\u{fffd}", "“ like this \u{fffd}"),
        ("РџСЂРёРІРµС‚", "Привет"),
        ("doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t", "doesn’t"),
        ("Å is a letter", "Å is a letter"),
    ] {
        assert_eq!(encoding::fix_encoding(text), expected, "{text}");
    }
}

/// CESU-8 and Java's NUL, the two variants of UTF-8 that ftfy also decodes, and its slip at a line's end.
#[test]
fn variants_of_utf8_are_decoded() {
    let decode = |bytes: &[u8]| codec::decode_utf8_variants(bytes);
    assert_eq!(decode(b"\xed\xa0\xbd\xed\xb8\x80!"), Some("😀!".into()));
    assert_eq!(decode(b"here comes a null! \xc0\x80"), Some("here comes a null! \0".into()));
    assert_eq!(decode("한é".as_bytes()), Some("한é".into()));
    assert_eq!(decode(b"a\xc0\n"), Some("a\0".into()));
    for broken in
        [&b"\xed\xa0\xbd"[..], b"\xed\xa0\xbd\xed\xa0\xbd", b"\xc0", b"\xc0a", b"\xc0\nx", b"\xe9", b"\xed\xb8\x80\xed\xa0\xbd"]
    {
        assert_eq!(decode(broken), None, "{broken:?}");
    }
}

/// Every encoding is the inverse of itself, and none of the sloppy ones takes U+001A, which stands for U+FFFD there.
#[test]
fn encodings_are_one_to_one() {
    assert_eq!(codec::CODECS.len(), 10);
    for codec in codec::CODECS.iter() {
        let upper: Vec<char> = (0x80..=0xffu8).map(|byte| codec.decoded(byte)).collect();
        assert_eq!(codec.encode(&upper), Some((0x80..=0xff).collect()));
        assert_eq!(codec.encode(&['\u{1a}']), (!codec.sloppy).then(|| vec![0x1a]));
        assert_eq!(codec.encode(&['\u{fffd}']), codec.sloppy.then(|| vec![0x1a]));
        assert_eq!(codec.encode(&['日']), None);
    }
}

#[test]
fn c1_controls_are_read_as_windows_1252() {
    assert_eq!(encoding::fix_c1_controls("caf\u{e9}\u{92}s \u{85} \u{81}日"), "caf\u{e9}’s … \u{81}日");
}

#[test]
fn ligatures_and_widths_are_undone() {
    assert_eq!(fix::fix_text("ﬂuﬃeﬆ ﬅ Ǆ Ĳ æ"), "fluffiest ſt DŽ IJ æ");
    assert_eq!(fix::fix_text("ＬＯＵＤ　ＮＯＩＳＥＳ"), "LOUD NOISES");
    assert_eq!(fix::fix_text("Ｕﾀｰﾝ"), "Uターン");
    assert_eq!(fix::fix_text("￣"), " \u{304}");
}

#[test]
fn quotes_are_uncurled() {
    assert_eq!(fix::fix_text("\u{201c}here\u{2019}s a test\u{201d} \u{2bc}\u{201b}\u{201e}\u{201a}"), "\"here's a test\" ''\"'");
}

#[test]
fn line_breaks_become_line_feeds() {
    assert_eq!(fix::fix_text("a\r\nb\rc\u{2028}d\u{2029}e\n\rf"), "a\nb\nc\nd\ne\n\nf");
}

#[test]
fn terminal_escapes_are_removed() {
    assert_eq!(fix::fix_text("\u{1b}[36;44mI'm blue\u{1b}[0m \u{1b}[m\u{1b}[٣;３Hx"), "I'm blue x");
    // What is no whole sequence loses its escape character only, as a control, in the same round: nothing new joins up.
    assert_eq!(fix::fix_text("\u{1b}[31 \u{1b}[?25l \u{1b}\u{1b}[0m[1m"), "[31 [?25l [1m");
}

#[test]
fn control_characters_are_removed() {
    let controls = "\0\x08\x0b\x0e\x1f\x7f\u{206a}\u{206f}\u{feff}\u{fff9}\u{fffc}";
    assert_eq!(fix::fix_text(&format!("a{controls}b")), "ab");
    assert_eq!(fix::fix_text("a\t\x0c\u{200d}\u{202e}\u{2060}b"), "a\t\x0c\u{200d}\u{202e}\u{2060}b");
}

#[test]
fn text_is_composed() {
    assert_eq!(fix::fix_text("e\u{301} e\u{327}\u{301} \u{1112}\u{1161}\u{11ab} \u{212b} \u{958}"), "é ȩ́ 한 Å \u{915}\u{93c}");
}

/// U+0897 is a combining mark (class 230) since Unicode 16 and unknown to Python 3.11, which therefore neither reorders nor composes
/// across it.
#[test]
fn what_unicode_14_does_not_know_is_left_alone() {
    assert_eq!(case::nfc("e\u{897}\u{327}\u{301}"), "e\u{897}\u{327}\u{301}");
    assert_eq!(case::nfc("e\u{301}\u{897}\u{327}"), "é\u{897}\u{327}");
    // Capital letters of Unicode 15 and later.
    let new = "\u{1c89}\u{a7cb}\u{a7da}\u{10d50}\u{16ea0}";
    assert_eq!(case::lower(new), new);
}

#[test]
fn lower_case_is_pythons_for_every_character() {
    let text = read_to_string(format!("{DATA}/lower.txt")).expect("the golden file is there");
    let code = |hex: &str| char::from_u32(u32::from_str_radix(hex, 16).expect("a number")).expect("a code point");
    let expected: std::collections::HashMap<char, String> = text
        .lines()
        .map(|line| {
            let mut codes = line.split(' ').map(code);
            (codes.next().expect("a character"), codes.collect())
        })
        .collect();
    for c in '\0'..=char::MAX {
        let unchanged = c.to_string();
        assert_eq!(&case::lower(&unchanged), expected.get(&c).unwrap_or(&unchanged), "U+{:04X}", c as u32);
    }
}

#[test]
fn final_sigma_is_pythons() {
    for (text, expected) in [
        ("ΣΑΣ", "σας"),
        ("ΑΣ Σ", "ας σ"),
        ("ΑΣ.", "ας."),
        ("ΑΣ.Α", "ασ.α"),
        ("ΑΣ\u{301}", "ας\u{301}"),
        ("1Σ", "1σ"),
        ("A\u{ad}ΣΣ", "a\u{ad}σς"),
    ] {
        assert_eq!(case::lower(text), expected, "{text}");
    }
}

#[test]
fn white_space_is_pythons() {
    // The separators U+001C to U+001F would be stripped, but not collapsed; ftfy removes them before either.
    assert_eq!("\u{1c}a\u{1f}".trim_matches(is_space), "a");
    assert_eq!(collapse_spaces("a\u{1c}b"), "a\u{1c}b");
    assert_eq!(clip("\u{1c}a\u{1d}b\u{a0}\u{2028}\u{3000}c\u{200b}d\u{180e}e "), "ab c\u{200b}d\u{180e}e");
}

/// A thousand levels of escaping take 64 rounds and no more, each of them linear; the rest stays escaped. Python takes all levels.
#[test]
fn rounds_are_bounded() {
    let nested = |levels: usize| format!("&{}lt;", "amp;".repeat(levels));
    assert_eq!(fix::fix_text(&nested(60)), "<");
    assert_eq!(fix::fix_text(&nested(1000)), nested(1000 - MAX_ROUNDS));
}

/// A segment is at most a million characters, whatever its bytes.
#[test]
fn a_long_line_is_fixed_in_segments() {
    let line = format!("{}Ã¶", "日".repeat(999_999));
    // The boundary falls between the two characters of the mojibake, so that neither part is suspect.
    assert_eq!(fix::fix_text(&line), line);
    assert_eq!(fix::fix_text(&line[3..]), format!("{}ö", "日".repeat(999_998)));
}

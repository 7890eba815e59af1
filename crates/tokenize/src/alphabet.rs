//! The byte alphabet of GPT-2 and CLIP vocabularies: each byte is written as one printable character, so that a token is text
//! without blanks or controls (`bytes_to_unicode` of the reference).

/// What marks a token that ends a word.
pub(crate) const END_OF_WORD: &str = "</w>";

/// The characters of the bytes, and the bytes of the characters.
pub(crate) struct Alphabet {
    chars: [char; 256],
    /// By code point; all characters of the alphabet are below its length.
    bytes: Vec<Option<u8>>,
}

impl Alphabet {
    /// Each byte is itself where Latin-1 prints it, else the next free character from U+0100 on.
    pub(crate) fn new() -> Self {
        let mut chars = ['\0'; 256];
        let mut bytes = vec![None; 0x200];
        let mut free = '\u{100}'..'\u{200}';
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let c = if printable { char::from(byte) } else { free.next().unwrap_or_default() };
            chars[usize::from(byte)] = c;
            bytes[c as usize] = Some(byte);
        }
        Self { chars, bytes }
    }

    /// The character of a byte.
    pub(crate) fn char(&self, byte: u8) -> char {
        self.chars[usize::from(byte)]
    }

    /// The byte of a character, if it is one of the alphabet's.
    pub(crate) fn byte(&self, c: char) -> Option<u8> {
        self.bytes.get(c as usize).copied().flatten()
    }
}

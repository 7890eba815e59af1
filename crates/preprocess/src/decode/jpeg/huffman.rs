//! Huffman codes (T.81 annex C and F.2.2), and the bits that they are made of.

/// Codes of up to this many bits are found with one look, and so are values behind them that end within.
const LOOK: u32 = 10;

/// Symbols that are found with one look each and need no further bits.
pub(super) const LOOKS: usize = 56 / LOOK as usize;

/// What a table's symbols are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Sizes of differences.
    Dc,
    /// Runs of zeros and sizes of coefficients.
    Ac,
}

/// What the next bits begin with: from the low end four bits with the length of code and value, four with that of the code (0: longer than
/// [`LOOK`]), eight with the symbol, sixteen with the value (0: none, or it does not end within).
#[derive(Clone, Copy, Default)]
pub(super) struct Look(u32);

impl Look {
    fn new(code: u32, symbol: u8, value: Option<(u32, i32)>) -> Look {
        let (size, value) = value.unwrap_or((0, 0));
        Look((code + size) | code << 4 | u32::from(symbol) << 8 | (value as u32) << 16)
    }

    pub(super) fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// Of an [`Kind::Ac`] symbol.
    pub(super) fn run(self) -> usize {
        (self.0 >> 12 & 15) as usize
    }

    /// The code of a block's end, where it is short.
    pub(super) fn is_end(self) -> bool {
        self.0 & 0xff != 0 && self.0 >> 8 == 0
    }
}

/// A Huffman table: symbols by code.
pub(super) struct Huffman {
    look: Box<[Look; 1 << LOOK]>,
    /// By length: the first code that is too large for it, left-aligned in 16 bits.
    limit: [u32; 18],
    /// By length: what to add to a code for its place among the symbols.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length and their symbols; `None` if the lengths need more codes than there are.
    pub(super) fn new(kind: Kind, counts: &[u8; 16], symbols: &[u8]) -> Option<Huffman> {
        let mut table =
            Huffman { look: Box::new([Look::default(); 1 << LOOK]), limit: [0; 18], offset: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for len in 1..=16u32 {
            table.offset[len as usize] = place as i32 - code as i32;
            for _ in 0..counts[len as usize - 1] {
                if code >= 1 << len {
                    return None;
                }
                if len <= LOOK {
                    let symbol = symbols[place];
                    let size = u32::from(if kind == Kind::Ac { symbol & 15 } else { symbol.min(16) });
                    let rest = LOOK - len;
                    let looks = &mut table.look[(code << rest) as usize..][..1 << rest];
                    for (behind, look) in looks.iter_mut().enumerate() {
                        let value = || (size, extended(behind as u32 >> (rest - size), size));
                        *look = Look::new(len, symbol, (1..=rest).contains(&size).then(value));
                    }
                }
                code += 1;
                place += 1;
            }
            table.limit[len as usize] = code << (16 - len);
            code <<= 1;
        }
        table.limit[17] = u32::MAX;
        Some(table)
    }
}

/// A difference or coefficient of `size` bits, 1 to 16, with its sign (T.81 F.2.2.1).
fn extended(bits: u32, size: u32) -> i32 {
    let value = bits as i32;
    if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
}

/// Bits of the entropy-coded data, from the high bit on; zeros where a marker or the end of the file stops them.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next `count` bits; behind them more of the data, or zeros.
    buffer: u64,
    count: u32,
    /// Zeros at the end of the buffer that are not in the file.
    made_up: u32,
    ended: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, buffer: 0, count: 0, made_up: 0, ended: false }
    }

    /// How much of the data was read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether the end of the file was seen.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// At least 56 bits in the buffer.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if let Some(bytes) = self.data.get(self.at..self.at + 8).and_then(|bytes| bytes.as_array()) {
            let next = u64::from_be_bytes(*bytes);
            // No byte of all ones, which needs a look at the one behind it: in the complement, no byte of zero.
            if (!next).wrapping_sub(0x0101_0101_0101_0101) & next & 0x8080_8080_8080_8080 == 0 {
                self.buffer |= next >> self.count;
                self.at += (63 - self.count as usize) / 8;
                self.count |= 56;
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[cold]
    #[inline(never)]
    fn fill_by_bytes(&mut self) {
        // Never all 64, which the other could not shift by.
        while self.count < 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), Some(_)) => {
                    self.made_up += 8;
                    0
                }
                (Some(0xff) | None, _) => {
                    self.ended = true;
                    self.made_up += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// What the next bits are; there are at least [`LOOK`].
    #[inline(always)]
    pub(super) fn look(&self, table: &Huffman) -> Look {
        table.look[(self.buffer >> (64 - LOOK)) as usize]
    }

    /// Moves behind what a look has found.
    #[inline(always)]
    pub(super) fn skip(&mut self, look: Look) {
        self.buffer <<= look.0 & 15;
        self.count -= look.0 & 15;
    }

    /// The next `n` bits, 0 to 16; the caller has filled.
    #[inline(always)]
    pub(super) fn take(&mut self, n: u32) -> u32 {
        // In two steps, because a shift by 64 is none.
        let value = (self.buffer >> 1 >> (63 - n)) as u32;
        self.buffer <<= n;
        self.count -= n;
        value
    }

    pub(super) fn bit(&mut self) -> bool {
        self.fill();
        self.take(1) == 1
    }

    /// The next symbol; 0 for a code that is none, as libjpeg has it. At least 40 bits are left in the buffer.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> u8 {
        self.fill();
        let look = self.look(table).0;
        let len = look >> 4 & 15;
        if len > 0 {
            self.take(len);
            return (look >> 8) as u8;
        }
        let next = (self.buffer >> 48) as u32;
        let mut len = LOOK as usize + 1;
        while next >= table.limit[len] {
            len += 1;
        }
        if len > 16 {
            self.take(16);
            return 0;
        }
        let code = self.take(len as u32) as i32;
        table.symbols.get((code + table.offset[len]) as usize).copied().unwrap_or(0)
    }

    /// A difference or coefficient of `size` bits, 0 to 16; the caller has filled.
    #[inline(always)]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 { 0 } else { extended(self.take(size), size) }
    }

    /// Whether bits were used that are not in the file.
    #[inline(always)]
    pub(super) fn starved(&self) -> bool {
        self.count < self.made_up
    }

    /// Drops the rest of the interval and moves behind the restart marker, if that comes next.
    pub(super) fn restart(&mut self) {
        (self.buffer, self.count, self.made_up) = (0, 0, 0);
        let mut at = self.at;
        while let Some(pair) = self.data.get(at..at + 2) {
            match pair {
                [0xff, 0xd0..=0xd7] => {
                    self.at = at + 2;
                    return;
                }
                [0xff, 1..=0xfe] => break,
                _ => at += 1,
            }
        }
        self.at = at.min(self.data.len());
    }
}

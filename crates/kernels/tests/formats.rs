//! The block formats against PyPI's `gguf`: the same bytes when quantizing, the same bits when dequantizing.
//!
//! tools/make_format_goldens.py made the data.

use edgeclip_kernels::Format;

const GOLDEN: &[u8] = include_bytes!("data/formats.bin");
/// In the order of the file.
const FORMATS: [Format; 4] = [Format::F16, Format::BF16, Format::Q8_0, Format::Q4_0];
const BLOCK: usize = 32;

struct Golden {
    rows: Vec<f32>,
    /// Bytes and values of each format.
    stored: Vec<(Format, &'static [u8], Vec<f32>)>,
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn golden() -> Golden {
    // The rows, and for each format the blocks and their values.
    let block_bytes = 4 * BLOCK + FORMATS.iter().map(|f| f.row_bytes(BLOCK).unwrap() + 4 * BLOCK).sum::<usize>();
    assert_eq!(GOLDEN.len() % block_bytes, 0);
    let blocks = GOLDEN.len() / block_bytes;
    assert!(blocks > 200, "{blocks} blocks");
    let (rows, mut rest) = GOLDEN.split_at(4 * BLOCK * blocks);
    let mut stored = Vec::new();
    for format in FORMATS {
        let (bytes, after) = rest.split_at(format.row_bytes(BLOCK).unwrap() * blocks);
        let (values, after) = after.split_at(4 * BLOCK * blocks);
        stored.push((format, bytes, floats(values)));
        rest = after;
    }
    assert!(rest.is_empty());
    Golden { rows: floats(rows), stored }
}

#[test]
fn quantizing_gives_the_same_bytes() {
    let Golden { rows, stored } = golden();
    for (format, expected, _) in stored {
        let mut bytes = vec![0xA5; expected.len()];
        format.quantize(&rows, &mut bytes);
        let block_bytes = format.row_bytes(BLOCK).unwrap();
        for (i, (found, expected)) in bytes.chunks(block_bytes).zip(expected.chunks(block_bytes)).enumerate() {
            assert_eq!(found, expected, "{format}, block {i}: {:?}", &rows[i * BLOCK..][..BLOCK]);
        }
    }
}

#[test]
fn dequantizing_gives_the_same_bits() {
    for (format, bytes, expected) in golden().stored {
        let mut values = vec![f32::NAN; expected.len()];
        format.dequantize(bytes, &mut values);
        for (i, (found, expected)) in values.iter().zip(&expected).enumerate() {
            assert_eq!(found.to_bits(), expected.to_bits(), "{format}, value {i}: {found} and {expected}");
        }
    }
}

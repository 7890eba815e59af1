//! The block formats against PyPI's `gguf`: the same bytes when quantizing, the same bits when dequantizing; and the search against both.
//!
//! tools/make_format_goldens.py made the data.

use edgeclip_kernels::Format;

const GOLDEN: &[u8] = include_bytes!("data/formats.bin");
/// In the order of the file: those that `gguf` quantizes, and those that it reads blocks of.
const QUANTIZED: [Format; 7] = [Format::F16, Format::BF16, Format::Q8_0, Format::Q5_1, Format::Q5_0, Format::Q4_1, Format::Q4_0];
const BLOCKS: [Format; 7] = [Format::Q8_0, Format::Q6K, Format::Q5_1, Format::Q5_0, Format::Q4_1, Format::Q4K, Format::Q4_0];
/// Made-up blocks of each.
const BLOCK_COUNT: usize = 48;
const ROW: usize = 32;

/// What a format stored, and the values of that.
struct Stored {
    format: Format,
    bytes: &'static [u8],
    values: Vec<f32>,
}

struct Golden {
    rows: Vec<f32>,
    /// The rows in each format.
    quantized: Vec<Stored>,
    /// Made-up blocks of each format.
    blocks: Vec<Stored>,
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn golden() -> Golden {
    let of_blocks: usize = BLOCKS.iter().map(|f| BLOCK_COUNT * (f.block_bytes() + 4 * f.block_len())).sum();
    let of_row = 4 * ROW + QUANTIZED.iter().map(|f| f.row_bytes(ROW).unwrap() + 4 * ROW).sum::<usize>();
    assert_eq!((GOLDEN.len() - of_blocks) % of_row, 0);
    let rows = (GOLDEN.len() - of_blocks) / of_row;
    assert!(rows > 200, "{rows} rows");
    let (values, mut rest) = GOLDEN.split_at(4 * ROW * rows);
    let mut take = |len| rest.split_off(..len).unwrap();
    let mut stored = |format: Format, elements| Stored {
        format,
        bytes: take(format.row_bytes(elements).unwrap()),
        values: floats(take(4 * elements)),
    };
    Golden {
        rows: floats(values),
        quantized: QUANTIZED.map(|format| stored(format, ROW * rows)).into(),
        blocks: BLOCKS.map(|format| stored(format, BLOCK_COUNT * format.block_len())).into(),
    }
}

#[test]
fn quantizing_gives_the_same_bytes() {
    let Golden { rows, quantized, .. } = golden();
    for Stored { format, bytes: expected, .. } in quantized {
        let mut bytes = vec![0xA5; expected.len()];
        format.quantize(&rows, &mut bytes);
        let row_bytes = format.row_bytes(ROW).unwrap();
        for (i, (found, expected)) in bytes.chunks(row_bytes).zip(expected.chunks(row_bytes)).enumerate() {
            assert_eq!(found, expected, "{format}, row {i}: {:?}", &rows[i * ROW..][..ROW]);
        }
    }
}

#[test]
fn dequantizing_gives_the_same_bits() {
    let Golden { quantized, blocks, .. } = golden();
    for Stored { format, bytes, values: expected } in quantized.into_iter().chain(blocks) {
        let mut values = vec![f32::NAN; expected.len()];
        format.dequantize(bytes, &mut values);
        for (i, (found, expected)) in values.iter().zip(&expected).enumerate() {
            assert_eq!(found.to_bits(), expected.to_bits(), "{format}, value {i}: {found} and {expected}");
        }
    }
}

/// Squared error of each block.
fn errors(format: Format, values: &[f32], quantize: fn(Format, &[f32], &mut [u8])) -> Vec<f64> {
    let mut bytes = vec![0xA5; format.row_bytes(values.len()).unwrap()];
    quantize(format, values, &mut bytes);
    let mut back = vec![f32::NAN; values.len()];
    format.dequantize(&bytes, &mut back);
    let error = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    let len = format.block_len();
    values.chunks(len).zip(back.chunks(len)).map(|(x, y)| x.iter().zip(y).map(error).sum()).collect()
}

#[test]
fn no_block_is_worse_for_the_search() {
    let mut rows = golden().rows;
    rows.truncate(rows.len() / 256 * 256);
    for format in Format::ALL {
        let (simple, searched) = (errors(format, &rows, Format::quantize), errors(format, &rows, Format::quantize_searched));
        for (i, (simple, searched)) in simple.iter().zip(&searched).enumerate() {
            assert!(searched <= simple, "{format}, block {i}: {searched} after the search, {simple} by the simple rule");
        }
    }
}

/// Sixteen levels in every 16 values, a power of two apart, come back as they were.
#[test]
fn levels_are_found_again() {
    for format in Format::ALL {
        for exponent in [-6, 0, 3] {
            let step = 2f32.powi(exponent);
            let values: Vec<f32> = (0..512).map(|i| ((i * 7 % 16) as f32 - 8.0) * step).collect();
            let error = errors(format, &values, Format::quantize_searched).iter().sum::<f64>() / 512.0;
            let off = match format {
                // Half a step of its own, and the f16 scale's rounding.
                Format::Q8_0 => 8.0 / 127.0 * 0.51,
                // Scale and minimum are 63 times an f16: rounded by 2^-11, on up to 15 and 8 steps.
                Format::Q4K => 23.0 / 2048.0,
                _ => 0.0,
            };
            assert!(error.sqrt() <= f64::from(step) * off, "{format}, steps of {step}: {error}");
        }
    }
}

//! NumPy's `.npy`, version 1.0, little-endian f32 in C order.
//!
//! The format is numpy's `numpy/lib/format.py`: a magic string, a version, the length of a header, the header (a Python literal, padded
//! with blanks so that the data start at a multiple of 64, and ended by a line feed), the data.

use std::io::{self, Write};

/// Writes an array of this shape. Its product is the number of values.
pub(crate) fn write(out: &mut impl Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    debug_assert_eq!(shape.iter().product::<usize>(), values.len());
    let mut dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    // A tuple of one keeps its comma, one of several has none at the end: as Python prints them.
    dims.truncate(dims.len() - if shape.len() > 1 { 2 } else { 1 });
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    const BEFORE: usize = 10;
    let padded = (BEFORE + header.len() + 1).next_multiple_of(64) - BEFORE;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    // Far below 65,536: four numbers at most.
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for value in values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    /// `numpy.save` of numpy 2.4, `numpy.tile([1, -2, 0.5], (2, 1))` as f4.
    #[test]
    fn the_bytes_are_numpys() {
        let mut bytes = Vec::new();
        super::write(&mut bytes, &[2, 3], &[1.0, -2.0, 0.5, 1.0, -2.0, 0.5]).unwrap();
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        expected.extend([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f].repeat(2));
        assert_eq!(bytes, expected);
        bytes.clear();
        super::write(&mut bytes, &[1], &[0.0]).unwrap();
        assert!(bytes.windows(13).any(|w| w == b"'shape': (1,)"));
        assert_eq!(bytes.len() % 64, 4);
    }
}

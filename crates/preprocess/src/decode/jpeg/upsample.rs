//! Components to pixels: libjpeg's "fancy" upsampling (a triangle filter, `jdsample.c`) where a component has half
//! the columns, half the rows or both, plain repetition elsewhere, and its colour conversion (`jdcolor.c`).

use super::{ColourSpace, Component, Frame};
use crate::Error;
use crate::decode::{Format, unsupported};
use crate::picture::Samples;

/// The picture's samples, in Pillow's mode.
pub(super) fn pixels(frame: &Frame, space: ColourSpace) -> Result<Samples, Error> {
    let channels = frame.components.len();
    for component in &frame.components {
        if !(frame.h_max.is_multiple_of(component.h) && frame.v_max.is_multiple_of(component.v)) {
            return Err(unsupported(Format::Jpeg, "a fractional sampling ratio"));
        }
    }
    let chroma = Chroma::new();
    let mut out = vec![0; frame.width * frame.height * channels];
    // Upsampled rows, with room for the padding of the last sample.
    let mut rows = vec![vec![0u8; frame.width + 4]; channels];
    for (y, pixels) in out.chunks_exact_mut(frame.width * channels).enumerate() {
        for (component, row) in frame.components.iter().zip(&mut rows) {
            upsampled(component, frame.h_max / component.h, frame.v_max / component.v, y, row);
        }
        match rows.as_slice() {
            [grey] => pixels.copy_from_slice(&grey[..frame.width]),
            [a, b, c] => {
                for (x, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    *pixel = [a[x], b[x], c[x]];
                    if space == ColourSpace::YCbCr {
                        *pixel = chroma.rgb(*pixel);
                    }
                }
            }
            [a, b, c, d] => {
                for (x, pixel) in pixels.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    // libjpeg makes ink of YCC by way of RGB, and Pillow inverts all ink, since Adobe stores it inverted.
                    let [r, g, b] = match space {
                        ColourSpace::Ycck => chroma.rgb([a[x], b[x], c[x]]),
                        _ => [a[x], b[x], c[x]].map(|v| 255 - v),
                    };
                    *pixel = [r, g, b, 255 - d[x]];
                }
            }
            _ => unreachable!("1, 3 or 4 components"),
        }
    }
    Ok(match channels {
        1 => Samples::L(out),
        3 => Samples::Rgb(out),
        _ => Samples::Cmyk(out),
    })
}

/// Row `y` of the picture of a component that has a sample for every `h` columns and `v` rows.
fn upsampled(component: &Component, h: usize, v: usize, y: usize, out: &mut [u8]) {
    let row = |y: usize| &component.plane[y * component.blocks_wide * 8..][..component.width];
    let this = row(y / v);
    // The nearest row on the other side of this half; at the borders the row itself.
    let other = || if y.is_multiple_of(2) { row((y / 2).saturating_sub(1)) } else { row((y / 2 + 1).min(component.height - 1)) };
    match (h, v) {
        (1, 1) => out[..this.len()].copy_from_slice(this),
        (1, 2) => {
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            for ((out, &a), &b) in out.iter_mut().zip(this).zip(other()) {
                *out = ((u32::from(a) * 3 + u32::from(b) + bias) >> 2) as u8;
            }
        }
        // Too narrow for a filter: libjpeg repeats.
        (2, 1) if this.len() > 2 => double(this.len(), |i| u32::from(this[i]), (1, 2), 2, out),
        (2, 2) if this.len() > 2 => {
            let other = other();
            double(this.len(), |i| u32::from(this[i]) * 3 + u32::from(other[i]), (8, 7), 4, out);
        }
        _ => {
            for (out, &value) in out.chunks_mut(h).zip(this) {
                out.fill(value);
            }
        }
    }
}

/// Twice the columns: three quarters of the nearer value and one of the farther, the ends repeated. `bias` is what is
/// added before the shift in even and odd columns; `shift` also takes off the weight that the values bring with them.
fn double(len: usize, value: impl Fn(usize) -> u32, bias: (u32, u32), shift: u32, out: &mut [u8]) {
    let mut put = |i: usize, sum: u32| {
        if let Some(out) = out.get_mut(i) {
            *out = (sum >> shift) as u8;
        }
    };
    let (mut before, mut this) = (value(0), value(0));
    for i in 0..len {
        let after = if i + 1 < len { value(i + 1) } else { this };
        put(2 * i, this * 3 + before + bias.0);
        put(2 * i + 1, this * 3 + after + bias.1);
        (before, this) = (this, after);
    }
}

/// libjpeg's tables from YCbCr to RGB (ITU-R BT.601, full range, 16 fractional bits).
struct Chroma {
    cr_red: [i32; 256],
    cb_blue: [i32; 256],
    cr_green: [i32; 256],
    cb_green: [i32; 256],
}

impl Chroma {
    fn new() -> Chroma {
        const HALF: i32 = 1 << 15;
        let table = |f: &dyn Fn(i32) -> i32| std::array::from_fn(|i| f(i as i32 - 128));
        Chroma {
            // 1.402, 1.772, 0.71414 and 0.34414 times 65,536, rounded.
            cr_red: table(&|x| (91_881 * x + HALF) >> 16),
            cb_blue: table(&|x| (116_130 * x + HALF) >> 16),
            cr_green: table(&|x| -46_802 * x),
            // The half that rounds the sum of both green terms is kept here.
            cb_green: table(&|x| -22_554 * x + HALF),
        }
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (i32::from(y), usize::from(cb), usize::from(cr));
        let clamp = |x: i32| x.clamp(0, 255) as u8;
        [clamp(y + self.cr_red[cr]), clamp(y + ((self.cb_green[cb] + self.cr_green[cr]) >> 16)), clamp(y + self.cb_blue[cb])]
    }
}

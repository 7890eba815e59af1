//! What the instruction sets of x86 have in common: the plain loops of [`super::scalar`] compiled with their features.

/// The functions over rows for a set of features, as safe function pointers: `x86_rows!("avx2,fma")` defines `finish`, `quantize_row`,
/// `layer_norm`, `soft_max` and `activate` in the calling module.
///
/// The table that holds them must only be reachable on a machine that has the features.
macro_rules! x86_rows {
    ($features:literal) => {
        mod rows {
            use crate::isa::{Activation, NormArgs, scalar, tile::Finish};

            #[target_feature(enable = $features)]
            fn finish_(finish: &Finish<'_>, tile: &mut [f32]) {
                scalar::finish(finish, tile);
            }

            #[target_feature(enable = $features)]
            fn quantize_row_(x: &[f32], q: &mut [i8]) -> (f32, f32) {
                scalar::quantize_row(x, q)
            }

            #[target_feature(enable = $features)]
            fn layer_norm_(x: &[f32], p: NormArgs<'_>, out: &mut [f32]) {
                scalar::layer_norm(x, p, out);
            }

            #[target_feature(enable = $features)]
            fn soft_max_(scores: &mut [f32], seen: usize, scale: f32) -> f32 {
                scalar::soft_max(scores, seen, scale)
            }

            #[target_feature(enable = $features)]
            fn activate_(activation: Activation, x: &mut [f32]) {
                scalar::activate(activation, x);
            }

            pub(super) fn finish(finish: &Finish<'_>, tile: &mut [f32]) {
                // SAFETY: the table is only reachable on a machine with these features.
                unsafe { finish_(finish, tile) }
            }

            pub(super) fn quantize_row(x: &[f32], q: &mut [i8]) -> (f32, f32) {
                // SAFETY: as above.
                unsafe { quantize_row_(x, q) }
            }

            pub(super) fn layer_norm(x: &[f32], p: NormArgs<'_>, out: &mut [f32]) {
                // SAFETY: as above.
                unsafe { layer_norm_(x, p, out) }
            }

            pub(super) fn soft_max(scores: &mut [f32], seen: usize, scale: f32) -> f32 {
                // SAFETY: as above.
                unsafe { soft_max_(scores, seen, scale) }
            }

            pub(super) fn activate(activation: Activation, x: &mut [f32]) {
                // SAFETY: as above.
                unsafe { activate_(activation, x) }
            }
        }
    };
}

pub(super) use x86_rows;

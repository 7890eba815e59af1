//! What the instruction sets of x86 have in common: the kernels over rows, compiled with their features.

use std::arch::asm;

/// The functions of [`super::rows`] for vectors of the type `$lanes`, as safe function pointers in a module `rows`.
///
/// The table that holds them must only be reachable on a machine that has the features.
macro_rules! x86_rows {
    ($features:literal, $lanes:ty) => {
        mod rows {
            use crate::Norm;
            use crate::isa::{lanes::LANES, rows, tile::Finish};

            type V = $lanes;

            crate::isa::x86::x86_rows! { $features =>
                finish(finish: &Finish<'_>, tile: &[f32]);
                quantize_row(x: &[f32], q: &mut [i8]) -> (f32, f32);
                layer_norm(x: &[f32], p: Norm<'_>, out: &mut [f32]);
                soft_max(scores: &mut [f32], seen: usize, scale: f32) -> f32;
                transpose(block: &[&[f32]; LANES], out: &mut [f32], stride: usize);
                sum_products(a: &[f32], b: &[f32], sums: &mut [f32]);
                divide(x: &[f32], by: f32, out: &mut [f32]);
            }
        }
    };
    ($features:literal => $($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(pub(super) fn $name($($argument: $type),*) $(-> $result)? {
            #[target_feature(enable = $features)]
            fn inner($($argument: $type),*) $(-> $result)? {
                rows::$name::<V>($($argument),*)
            }
            // SAFETY: the table of these functions is only reachable on a machine with the features.
            unsafe { inner($($argument),*) }
        })*
    };
}

pub(super) use x86_rows;

/// The same pointer, of whose memory the compiler knows nothing any more: sums that lie there stay there between groups, where the compiler
/// would rather keep them in registers that it does not have.
#[inline(always)]
pub(super) fn opaque(mut pointer: *mut f32) -> *mut f32 {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg) pointer, options(nostack, preserves_flags)) };
    pointer
}

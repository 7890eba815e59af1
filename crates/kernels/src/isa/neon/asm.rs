//! Instructions whose intrinsics are not stable yet, under the names that these have in `core::arch::aarch64`, for the day they are; and two hints.

use std::arch::{aarch64::*, asm};

/// `sdot`: to each of four lanes, the dot product of its four bytes of `b` and lane `LANE` of `c`, four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn vdotq_lane_s32<const LANE: i32>(a: int32x4_t, b: int8x16_t, c: int8x8_t) -> int32x4_t {
    const { assert!(LANE == 0 || LANE == 1) };
    let mut sum = a;
    // SAFETY: of registers only, on a machine with the feature that this function asks for.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {b:v}.16b, {c:v}.4b[{lane}]",
            sum = inout(vreg) sum, b = in(vreg) b, c = in(vreg) c, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// `smmla`: to the 2 x 2 matrix `a`, the product of `b`, two rows of eight bytes, and `c`, two columns of eight.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn vmmlaq_s32(a: int32x4_t, b: int8x16_t, c: int8x16_t) -> int32x4_t {
    let mut sum = a;
    // SAFETY: of registers only, on a machine with the feature that this function asks for.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {b:v}.16b, {c:v}.16b",
            sum = inout(vreg) sum, b = in(vreg) b, c = in(vreg) c,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Loads four integers from memory, and once more where they are asked for again: a load leaves the units alone that multiply, a copy does not.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_anew(from: &[i32; 4]) -> int32x4_t {
    let value;
    // SAFETY: four integers are there. It is not `pure`, so that the compiler does not keep what it has.
    unsafe { asm!("ldr {:q}, [{}]", out(vreg) value, in(reg) from, options(readonly, nostack, preserves_flags)) };
    value
}

/// Asks for cache lines from `first` on, which may be anything; where those behind them begin.
#[inline(always)]
pub(super) fn prefetch(mut first: *const u8, lines: usize) -> *const u8 {
    for _ in 0..lines {
        // SAFETY: a hint, which faults at no address.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) first, options(readonly, nostack, preserves_flags)) };
        first = first.wrapping_add(64);
    }
    first
}

/// The same for a line that will be written.
#[inline(always)]
pub(crate) fn prefetch_to_write(pointer: *const u8) {
    // SAFETY: a hint, which faults at no address.
    unsafe { asm!("prfm pstl1keep, [{}]", in(reg) pointer, options(readonly, nostack, preserves_flags)) };
}

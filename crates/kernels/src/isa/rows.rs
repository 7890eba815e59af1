//! The kernels over rows, written once for [`Lanes`]: norm, soft-max, activations, quantization, and the end of a tile.
//!
//! What is done to each vector is a type and not a closure: only functions can be told to be inlined, and what stays a call of its own is not
//! compiled for the caller's instructions.

use std::f32::consts::FRAC_1_SQRT_2;

use super::{
    Activation,
    lanes::{LANES, Lanes},
    tile::Finish,
};
use crate::{
    Epilogue, Norm,
    math::{erf, exp},
};

/// What becomes of each value.
trait Map<V: Lanes>: Copy {
    fn of(self, x: V) -> V;
}

/// How values are joined to one.
trait Join<V: Lanes>: Copy {
    const START: f32;

    fn join(self, so_far: V, x: V) -> V;

    /// Joins what was joined.
    #[inline(always)]
    fn end(self, a: V, b: V) -> V {
        a.add(b)
    }
}

/// How many vectors a sum is spread over, so that an addition need not wait for the one before it.
const VECTORS: usize = 4;

/// `join` over `x`: vector `i` of sixteen values goes to `i % 4` of four, in rising order, and those are joined in pairs by `end`.
#[inline(always)]
fn reduce<V: Lanes, J: Join<V>>(x: &[f32], join: J) -> V {
    let mut four = [V::splat(J::START); VECTORS];
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (whole, last) = chunks.as_chunks::<VECTORS>();
    for chunks in whole {
        for i in 0..VECTORS {
            four[i] = join.join(four[i], V::load(&chunks[i]));
        }
    }
    for (i, chunk) in last.iter().enumerate() {
        four[i] = join.join(four[i], V::load(chunk));
    }
    if !rest.is_empty() {
        // Lanes past the end keep what they have.
        let so_far = four[last.len()];
        let mut all = [0f32; LANES];
        so_far.store(&mut all);
        join.join(so_far, V::load_part(rest)).store_part(&mut all[..rest.len()]);
        four[last.len()] = V::load(&all);
    }
    join.end(join.end(four[0], four[1]), join.end(four[2], four[3]))
}

/// The sum of what `join` adds up.
#[inline(always)]
fn total<V: Lanes, J: Join<V>>(x: &[f32], join: J) -> f32 {
    reduce::<V, J>(x, join).sum()
}

/// `map` of every value of `x`, in `out`.
#[inline(always)]
fn map<V: Lanes, M: Map<V>>(x: &[f32], out: &mut [f32], map: M) {
    let ((x, x_rest), (out, out_rest)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for (x, out) in x.iter().zip(out) {
        map.of(V::load(x)).store(out);
    }
    if !x_rest.is_empty() {
        map.of(V::load_part(x_rest)).store_part(out_rest);
    }
}

/// `map` of every value of `x`, in place.
#[inline(always)]
fn update<V: Lanes, M: Map<V>>(x: &mut [f32], map: M) {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        map.of(V::load(x)).store(x);
    }
    if !rest.is_empty() {
        map.of(V::load_part(rest)).store_part(rest);
    }
}

macro_rules! map {
    ($name:ident $(($field:ty))?, |$self:ident, $x:ident| $body:expr) => {
        #[derive(Clone, Copy)]
        struct $name$(($field))?;

        impl<V: Lanes> Map<V> for $name {
            #[inline(always)]
            fn of($self, $x: V) -> V {
                $body
            }
        }
    };
}

macro_rules! join {
    ($name:ident $(($field:ty))?, $start:expr, |$self:ident, $so_far:ident, $x:ident| $body:expr) => {
        #[derive(Clone, Copy)]
        struct $name$(($field))?;

        impl<V: Lanes> Join<V> for $name {
            const START: f32 = $start;

            #[inline(always)]
            fn join($self, $so_far: V, $x: V) -> V {
                $body
            }
        }
    };
}

join!(Sum, 0.0, |self, sum, x| sum.add(x));
join!(SquaresFrom(f32), 0.0, |self, sum, x| {
    let from = x.sub(V::splat(self.0));
    sum.add(from.mul(from))
});

/// The largest of all.
#[derive(Clone, Copy)]
struct Most;

impl<V: Lanes> Join<V> for Most {
    const START: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn join(self, most: V, x: V) -> V {
        x.max(most)
    }

    #[inline(always)]
    fn end(self, a: V, b: V) -> V {
        a.max(b)
    }
}

map!(Same, |self, x| x);
map!(DividedBy(f32), |self, x| x.div(V::splat(self.0)));
map!(ExpFrom((f32, f32)), |self, x| {
    let (top, scale) = self.0;
    exp(x.sub(V::splat(top)).mul(V::splat(scale)))
});
map!(QuickGelu, |self, x| x.div(V::splat(1.0).add(exp(x.mul(V::splat(-1.702))))));
map!(Gelu, |self, x| V::splat(0.5).mul(x).mul(V::splat(1.0).add(erf(x.mul(V::splat(FRAC_1_SQRT_2))))));
map!(GeluTanh, |self, x| {
    const ROOT: f32 = 0.797_884_6; // sqrt(2 / pi)
    // 0.5 (1 + tanh u) is sigmoid(2 u).
    let u = V::splat(ROOT).mul(V::splat(0.044_715).mul(x).mul(x).fma(x, x));
    x.div(V::splat(1.0).add(exp(V::splat(-2.0).mul(u))))
});
map!(Level((f32, f32)), |self, x| x.fma(V::splat(self.0.0), V::splat(self.0.1)));

#[inline(always)]
pub(super) fn quantize_row<V: Lanes>(x: &[f32], q: &mut [i8]) -> (f32, f32) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    // The range contains zero, so that the zero point is a level and a constant row keeps its value.
    let (mut low, mut high, mut broken) = (V::splat(0.0), V::splat(0.0), V::splat(0.0));
    for chunk in chunks {
        let v = V::load(chunk);
        (low, high) = (v.min(low), v.max(high));
        // Zero times what is not finite is not a number, and so is what it is added to.
        broken = v.fma(V::splat(0.0), broken);
    }
    if !rest.is_empty() {
        let v = V::load_part(rest);
        (low, high, broken) = (v.min(low), v.max(high), v.fma(V::splat(0.0), broken));
    }
    let (low, high) = (-V::splat(0.0).sub(low).most(), high.most());
    let broken = broken.sum().is_nan();
    let scale = (high - low) / 255.0;
    if broken || !scale.is_finite() {
        // A broken row must stay visibly broken all the way to the embedding.
        q.fill(0);
        return (f32::NAN, 0.0);
    }
    if scale < f32::MIN_POSITIVE {
        q.fill(0);
        return (0.0, 0.0);
    }
    let inverse = 1.0 / scale;
    let zero = (-128.0 - low * inverse).round_ties_even();
    let level = Level((inverse, zero));
    let (q, q_rest) = q.as_chunks_mut::<LANES>();
    for (x, q) in chunks.iter().zip(q) {
        level.of(V::load(x)).store_levels(q);
    }
    if !rest.is_empty() {
        let mut all = [0i8; LANES];
        level.of(V::load_part(rest)).store_levels(&mut all);
        q_rest.copy_from_slice(&all[..q_rest.len()]);
    }
    (scale, zero)
}

#[inline(always)]
pub(super) fn layer_norm<V: Lanes>(x: &[f32], p: Norm<'_>, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = total::<V, _>(x, Sum) / n;
    let variance = total::<V, _>(x, SquaresFrom(mean)) / n;
    let (mean, rstd) = (V::splat(mean), V::splat(1.0 / (variance + p.eps).sqrt()));
    let ((x, x_rest), (out, out_rest)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    let ((gain, gain_rest), (shift, shift_rest)) = (p.gain.as_chunks::<LANES>(), p.shift.as_chunks::<LANES>());
    for (((x, gain), shift), out) in x.iter().zip(gain).zip(shift).zip(out) {
        V::load(x).sub(mean).mul(rstd).fma(V::load(gain), V::load(shift)).store(out);
    }
    if !x_rest.is_empty() {
        let y = V::load_part(x_rest).sub(mean).mul(rstd).fma(V::load_part(gain_rest), V::load_part(shift_rest));
        y.store_part(out_rest);
    }
}

/// Soft-max of the first `seen` of `scores` times `scale`, which is positive, not yet divided by its sum, which is returned. The scores after them
/// become zero. There are whole vectors.
#[inline(always)]
pub(super) fn soft_max<V: Lanes>(scores: &mut [f32], seen: usize, scale: f32) -> f32 {
    scores[seen..].fill(f32::NEG_INFINITY);
    let top = reduce::<V, _>(scores, Most).most();
    update::<V, _>(scores, ExpFrom((top, scale)));
    scores[seen..].fill(0.0);
    total::<V, _>(scores, Sum)
}

/// Sixteen rows of the same length as columns: `out[i * stride + row]`.
#[inline(always)]
pub(super) fn transpose<V: Lanes>(rows: &[&[f32]; LANES], out: &mut [f32], stride: usize) {
    let len = rows[0].len();
    let mut first = 0;
    while first < len {
        let part = first..len.min(first + LANES);
        let mut block = [V::splat(0.0); LANES];
        for i in 0..LANES {
            let row = &rows[i][part.clone()];
            block[i] = match row.first_chunk() {
                Some(row) => V::load(row),
                None => V::load_part(row),
            };
        }
        let block = V::transpose(block);
        for i in 0..part.len() {
            block[i].store(out[(first + i) * stride..].first_chunk_mut().expect("a row of sixteen"));
        }
        first += LANES;
    }
}

/// Rows `a` and `b` of whole vectors: `sums[c] = fma(a[row][c], b[row][c], sums[c])`, row after row.
#[inline(always)]
pub(super) fn sum_products<V: Lanes>(a: &[f32], b: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    let sums = sums.as_chunks_mut::<LANES>().0;
    for (a, b) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
        let (a, b) = (a.as_chunks::<LANES>().0, b.as_chunks::<LANES>().0);
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            V::load(a).fma(V::load(b), V::load(sum)).store(sum);
        }
    }
}

#[inline(always)]
pub(super) fn divide<V: Lanes>(x: &[f32], by: f32, out: &mut [f32]) {
    map::<V, _>(x, out, DividedBy(by));
}

#[inline(always)]
pub(super) fn finish<V: Lanes>(finish: &Finish<'_>, tile: &[f32]) {
    match finish.epilogue {
        Epilogue::Store => finish_with::<V, _, false>(finish, tile, Same),
        Epilogue::Add => finish_with::<V, _, true>(finish, tile, Same),
        Epilogue::Activate(Activation::QuickGelu) => finish_with::<V, _, false>(finish, tile, QuickGelu),
        Epilogue::Activate(Activation::Gelu) => finish_with::<V, _, false>(finish, tile, Gelu),
        Epilogue::Activate(Activation::GeluTanh) => finish_with::<V, _, false>(finish, tile, GeluTanh),
    }
}

#[inline(always)]
fn finish_with<V: Lanes, M: Map<V>, const ADD: bool>(finish: &Finish<'_>, tile: &[f32], activation: M) {
    let bias = finish.bias.as_chunks::<LANES>().0;
    for (r, row) in tile.chunks_exact(finish.bias.len()).enumerate() {
        let at = finish.first + r * finish.stride;
        // SAFETY: the caller of the tile has this part of the output to itself, and each row is let go of before the next.
        let out = unsafe { finish.out.part(at..at + finish.filled) };
        let (out, rest) = out.as_chunks_mut::<LANES>();
        let mut values = row.as_chunks::<LANES>().0.iter().zip(bias);
        // `out` first: the one that ends first must not take a value from the other.
        for (out, (y, bias)) in out.iter_mut().zip(&mut values) {
            let y = activation.of(V::load(y).add(V::load(bias)));
            if ADD {
                V::load(out).add(y).store(out);
            } else {
                y.store(out);
            }
        }
        if let (false, Some((y, bias))) = (rest.is_empty(), values.next()) {
            let y = activation.of(V::load(y).add(V::load(bias)));
            if ADD {
                V::load_part(rest).add(y).store_part(rest);
            } else {
                y.store_part(rest);
            }
        }
    }
}

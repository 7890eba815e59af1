//! Attention on every instruction set, bit for bit, and against f64.

use super::*;

/// Rows of queries, keys and values lie in buffers of their own, with something in between.
struct Case {
    shape: Shape,
    queries: Vec<f32>,
    tokens: Vec<f32>,
    rows: Vec<u32>,
    sequences: Vec<Sequence>,
}

const GAP: usize = 3;

impl Case {
    /// A sequence of `tokens` in another order than they lie in, the first third of which asks nothing, and one that shares its first half and goes
    /// on with three tokens of its own.
    fn new(size: usize, heads: usize, causal: bool, tokens: usize, random: &mut Random) -> Self {
        let (width, own, shared, first) = (size * heads, 3, tokens / 2, tokens / 3);
        let mut rows: Vec<u32> = (0..tokens as u32).rev().collect();
        rows.extend_from_within(..shared);
        rows.extend((tokens..tokens + own).map(|row| row as u32));
        let mut floats = |n: usize| random.floats(n).iter().map(|v| v * 3.0).collect();
        let long = tokens - first;
        Self {
            shape: Shape { width, heads, causal },
            queries: floats((long + own) * (width + GAP)),
            tokens: floats((tokens + own) * (2 * width + GAP)),
            sequences: vec![
                Sequence { queries: 0..long, keys: 0..tokens, first },
                Sequence { queries: long..long + own, keys: tokens..rows.len(), first: shared },
            ],
            rows,
        }
    }

    fn qkv(&self) -> Qkv<'_> {
        let width = self.shape.width;
        let token = |offset| Strided { values: &self.tokens, stride: 2 * width + GAP, offset };
        let query = Strided { values: &self.queries, stride: width + GAP, offset: GAP };
        Qkv { query, key: token(0), value: token(width + GAP) }
    }

    fn run(&self, kernels: &Kernels, threads: Threads) -> Vec<f32> {
        let queries = self.sequences.last().unwrap().queries.end;
        let mut out = vec![f32::NAN; queries * self.shape.width];
        attention(kernels, self.shape, self.qkv(), &self.rows, &self.sequences, &mut out, threads);
        out
    }

    fn truth(&self) -> Vec<f64> {
        let (Shape { width, heads, causal }, qkv) = (self.shape, self.qkv());
        let size = width / heads;
        let head = |part: Strided<'_>, row: usize, head: usize| -> Vec<f64> {
            let first = row * part.stride + part.offset + head * size;
            part.values[first..first + size].iter().map(|&v| f64::from(v)).collect()
        };
        let mut out = Vec::new();
        for sequence in &self.sequences {
            let rows = &self.rows[sequence.keys.clone()];
            for (i, query) in sequence.queries.clone().enumerate() {
                let seen = if causal { sequence.first + i + 1 } else { rows.len() };
                for h in 0..heads {
                    let q = head(qkv.query, query, h);
                    let (mut total, mut sums) = (0.0, vec![0.0; size]);
                    for &row in &rows[..seen] {
                        let dot: f64 = q.iter().zip(head(qkv.key, row as usize, h)).map(|(q, k)| q * k).sum();
                        let weight = (dot / (size as f64).sqrt()).exp();
                        total += weight;
                        sums.iter_mut().zip(head(qkv.value, row as usize, h)).for_each(|(sum, v)| *sum += weight * v);
                    }
                    out.extend(sums.iter().map(|sum| sum / total));
                }
            }
        }
        out
    }
}

#[test]
fn attention_is_the_same_on_every_instruction_set_and_near_f64() {
    let mut random = Random(9);
    for (size, heads) in [(5, 4), (16, 2), (40, 3), (64, 2), (80, 1)] {
        for tokens in (1..=40).chain([50, 77, 257]) {
            for causal in [false, true] {
                let case = Case::new(size, heads, causal, tokens, &mut random);
                let expected = case.run(scalar(), Threads::One);
                for (y, truth) in expected.iter().zip(case.truth()) {
                    // Logits of up to 9 * sqrt(size), 81, off by some 2^-22 of that, which the soft-max turns into as much relative error of
                    // weights on values up to 3.
                    assert!((f64::from(*y) - truth).abs() < 1e-4, "{size} {tokens} {causal}: {y} {truth}");
                }
                for kernels in others() {
                    assert!(bits(&case.run(kernels, Threads::One)) == bits(&expected), "{kernels:?} {size} {tokens} {causal}");
                }
            }
        }
    }
}

#[test]
fn threads_do_not_matter_to_attention() {
    let mut random = Random(10);
    for causal in [false, true] {
        let case = Case::new(40, 3, causal, 50, &mut random);
        for kernels in others().into_iter().chain([scalar()]) {
            let expected = bits(&case.run(kernels, Threads::One));
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| bits(&case.run(kernels, Threads::All))), expected, "{kernels:?} {threads}");
            }
        }
    }
}

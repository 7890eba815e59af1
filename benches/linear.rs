//! Linears and attention at the shapes of ViT-B/32, B/16, L/14 and the text encoders beside them, on one thread: `cargo bench -p
//! edgeclip-kernels`. Throughput is in multiply-adds; behind each group stands the share of the peak that the same run measured.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use edgeclip_kernels::{
    Activations, Epilogue, Format, Groups, Isa, Kernels, Linear, Rows, Threads,
    attention::{Qkv, Sequence, Shape, Strided, attention},
};

#[allow(dead_code)]
#[path = "../crates/kernels/examples/peak.rs"]
mod peak;

/// Rows of activations and the width of a block, of the pictures of B/32, B/16 and L/14, and of a full and a short text beside B and L.
const BLOCKS: [(usize, usize); 7] = [(50, 768), (197, 768), (257, 1024), (77, 512), (9, 512), (77, 768), (9, 768)];

/// Tokens, heads of 64, causal.
const HEADS: [(usize, usize, bool); 4] = [(50, 12, false), (257, 16, false), (77, 8, true), (9, 8, true)];

/// Multiply-adds in a second that one thread reaches at most: of floats, and of bytes.
fn peaks() -> (f64, f64) {
    let best = |kind: &[&str]| {
        let loops = peak::loops().into_iter().filter(|test| kind.iter().any(|kind| test.name.starts_with(kind)));
        loops.map(|test| peak::multiply_adds(&test, 1)).fold(f64::NAN, f64::max)
    };
    (best(&["f32"]), best(&["vpdpbusd", "bytes", "sdot", "smmla"]))
}

/// A group whose best times are kept beside criterion's statistics.
struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    title: String,
    macs: usize,
    lines: Vec<String>,
}

impl<'a> Group<'a> {
    fn new(criterion: &'a mut Criterion, title: String, macs: usize) -> Self {
        let mut group = criterion.benchmark_group(&title);
        group.throughput(Throughput::Elements(macs as u64)).sample_size(10);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
        Self { group, title, macs, lines: Vec::new() }
    }

    fn add(&mut self, name: &str, peak: f64, mut run: impl FnMut()) {
        let mut best = f64::INFINITY;
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let start = Instant::now();
                (0..rounds).for_each(|_| run());
                let time = start.elapsed();
                best = best.min(time.as_secs_f64() / rounds as f64);
                time
            });
        });
        // Nothing was run if a filter left it out.
        if best.is_finite() {
            let rate = self.macs as f64 / best;
            self.lines.push(format!("  {name:<26}{:8.1} GMAC/s{:7.1} % of the peak", rate / 1e9, rate / peak * 100.0));
        }
    }

    fn finish(self) {
        self.group.finish();
        if !self.lines.is_empty() {
            println!("{}, best\n{}\n", self.title, self.lines.join("\n"));
        }
    }
}

fn linears(criterion: &mut Criterion) {
    let (floats, bytes) = peaks();
    for (block, (m, width)) in BLOCKS.into_iter().enumerate() {
        let shapes = [("qkv", 3 * width, width), ("out", width, width), ("up", 4 * width, width), ("down", width, 4 * width)];
        for (i, (part, n, k)) in shapes.into_iter().enumerate() {
            let mut group = Group::new(criterion, format!("{part} {m} x {n} x {k}"), m * n * k);
            let weights: Vec<f32> = (0..n * k).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 20_000.0).collect();
            let x: Vec<f32> = (0..m * k).map(|i| ((i * 104_729 % 1999) as f32 - 999.0) / 500.0).collect();
            let mut out = vec![0f32; m * n];
            for format in [Format::F32, Format::Q8_0, Format::Q4_0] {
                let mut stored = vec![0u8; n * format.row_bytes(k).expect("whole blocks")];
                format.quantize(&weights, &mut stored);
                let rows = [Rows { format, n, k, bytes: Bytes::from(stored) }];
                // Those that are not the best only once.
                let every = (block, i) == (0, 0) && format.is_quantized();
                for isa in Isa::available().filter(|isa| every || *isa == Kernels::best().isa()) {
                    let kernels = Kernels::new(isa).expect("it is available");
                    let peak = if format.is_quantized() { bytes } else { floats };
                    let all: &[Groups] =
                        if format == Format::Q8_0 { &[Groups::Stored, Groups::Coarse] } else { &[Groups::Stored] };
                    for &groups in all {
                        let linear = Linear::grouped(kernels, &rows, None, groups).expect("the shape fits");
                        let mut activations = Activations::default();
                        let coarse = if groups == Groups::Coarse { " coarse" } else { "" };
                        group.add(&format!("{format}{coarse} {}", isa.name()), peak, || {
                            activations.set(&linear, black_box(&x), Threads::One);
                            linear.forward(&activations, Epilogue::Store, &mut out, Threads::One);
                        });
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            group.add("f32 gemm", floats, || rival(m, n, k, &mut out, black_box(&x), &weights));
            group.finish();
        }
    }
}

/// `out[m, n] = x[m, k] weights[n, k]^T` by the crate gemm.
#[cfg(target_arch = "x86_64")]
fn rival(m: usize, n: usize, k: usize, out: &mut [f32], x: &[f32], weights: &[f32]) {
    assert_eq!((out.len(), x.len(), weights.len()), (m * n, m * k, n * k));
    let (columns, inputs) = (n as isize, k as isize);
    let (out, x, weights) = (out.as_mut_ptr(), x.as_ptr(), weights.as_ptr());
    // SAFETY: the strides are those of whole matrices of these lengths, and the output is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            columns,
            false,
            x,
            1,
            inputs,
            weights,
            inputs,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn heads(criterion: &mut Criterion) {
    let (floats, _) = peaks();
    for (tokens, heads, causal) in HEADS {
        let width = heads * 64;
        let mut group = Group::new(criterion, format!("attention {tokens} x {heads} heads"), 2 * tokens * tokens * width);
        let qkv: Vec<f32> = (0..tokens * 3 * width).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1000.0).collect();
        let rows: Vec<u32> = (0..tokens as u32).collect();
        let mut out = vec![0f32; tokens * width];
        let part = |offset| Strided { values: &qkv, stride: 3 * width, offset };
        let name = if causal { "causal (as if not)" } else { "all" };
        group.add(name, floats, || {
            attention(
                Kernels::best(),
                Shape { width, heads, causal },
                Qkv { query: part(0), key: part(width), value: part(2 * width) },
                black_box(&rows),
                &[Sequence { queries: 0..tokens, keys: 0..tokens, first: 0 }],
                &mut out,
                Threads::One,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, linears, heads);
criterion_main!(benches);

//! Linears at the shapes of ViT-B/32 and its text encoder: `cargo bench -p edgeclip-kernels`. Throughput is in multiply-adds.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgeclip_kernels::{Activations, Epilogue, Format, Isa, Kernels, Linear, Rows, Threads};

/// Rows of activations, outputs, inputs.
const SHAPES: [(usize, usize, usize); 4] = [(50, 2304, 768), (50, 3072, 768), (50, 768, 3072), (9, 1536, 512)];

fn linears(criterion: &mut Criterion) {
    for (m, n, k) in SHAPES {
        let mut group = criterion.benchmark_group(format!("linear {m} x {n} x {k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64)).sample_size(20);
        let weights: Vec<f32> = (0..n * k).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 20_000.0).collect();
        let x: Vec<f32> = (0..m * k).map(|i| ((i * 104_729 % 1999) as f32 - 999.0) / 500.0).collect();
        for format in [Format::F32, Format::Q8_0, Format::Q6K, Format::Q4K, Format::Q4_0] {
            let mut bytes = vec![0u8; n * format.row_bytes(k).expect("whole blocks")];
            format.quantize(&weights, &mut bytes);
            let rows = [Rows { format, n, k, bytes: Bytes::from(bytes) }];
            for isa in Isa::available().filter(|isa| format.is_quantized() || *isa == Kernels::best().isa()) {
                let kernels = Kernels::new(isa).expect("it is available");
                let linear = Linear::new(kernels, &rows, None).expect("the shape fits");
                let (mut activations, mut out) = (Activations::default(), vec![0f32; m * n]);
                let name = if format.is_quantized() { format!("{format} {}", isa.name()) } else { format.to_string() };
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        activations.set(&linear, black_box(&x), Threads::All);
                        linear.forward(&activations, Epilogue::Store, &mut out, Threads::All);
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, linears);
criterion_main!(benches);

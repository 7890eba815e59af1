//! A picture of 12 megapixels to the crop of a model with 224 pixels, on one thread: `cargo bench -p edgeclip-preprocess`. The whole resize with the
//! best kernels, and its two passes on every instruction set.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgeclip_kernels::{
    Isa, Kernels,
    resize::{Band, Filter, Taps, horizontal_u8, vertical_u8},
};
use edgeclip_preprocess::{Picture, Spec};

const WIDTH: usize = 4032;
const HEIGHT: usize = 3024;
const SIZE: usize = 224;

fn resize(criterion: &mut Criterion) {
    // Noise is as fast as anything else.
    let mut seed = 1u32;
    let noise = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let samples: Vec<u8> = (0..WIDTH * HEIGHT * 4).map(noise).collect();
    let mut group = criterion.benchmark_group(format!("resize {WIDTH} x {HEIGHT} to {SIZE}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements((WIDTH * HEIGHT) as u64));

    let picture = Picture::from_rgb(WIDTH, HEIGHT, samples[..WIDTH * HEIGHT * 3].to_vec()).expect("a picture");
    let spec = Spec::openai(SIZE as u32);
    group.bench_function("rgb", |bencher| bencher.iter(|| spec.crop(black_box(&picture)).expect("a crop")));

    // What the crop keeps of the longer side.
    let long = SIZE * WIDTH / HEIGHT;
    let start = (long - SIZE) / 2;
    let horizontal = Taps::new(WIDTH, long, Filter::Bicubic, start..start + SIZE).to_fixed();
    let vertical = Taps::new(HEIGHT, SIZE, Filter::Bicubic, 0..SIZE).to_fixed();
    for kernels in Isa::available().map(|isa| Kernels::new(isa).expect("an instruction set that is available")) {
        let name = kernels.isa().name();
        for channels in [1, 3, 4] {
            let (stride, row_len) = (WIDTH * channels, SIZE * channels);
            let mut rows = vec![0; HEIGHT * row_len];
            group.bench_function(format!("horizontal, {channels} channels, {name}"), |bencher| {
                bencher.iter(|| {
                    for (source, out) in samples.chunks_exact(4 * stride).zip(rows.chunks_exact_mut(4 * row_len)) {
                        horizontal_u8(kernels, Band { samples: black_box(source), stride }, channels, &horizontal, out);
                    }
                });
            });
            let mut sums = vec![0; row_len];
            group.bench_function(format!("vertical, {channels} channels, {name}"), |bencher| {
                bencher.iter(|| {
                    for (i, span) in vertical.spans().iter().enumerate() {
                        let source = Band { samples: black_box(&rows[span.start * row_len..]), stride: row_len };
                        vertical_u8(kernels, source, vertical.weights(i), &mut sums);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, resize);
criterion_main!(benches);

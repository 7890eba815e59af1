//! A picture of 12 megapixels to the crop of a model with 224 pixels, bicubic, on one thread: `cargo bench -p edgeclip-preprocess`. The whole resize with
//! the best kernels, and its two passes on every instruction set; behind them the best times, and how often the plain loops' they are.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use edgeclip_kernels::{
    Isa, Kernels,
    resize::{Band, Filter, Taps, horizontal_u8, vertical_u8},
};
use edgeclip_preprocess::{Picture, Spec};

const WIDTH: usize = 4032;
const HEIGHT: usize = 3024;
const SIZE: usize = 224;

/// Rows that are timed by themselves: a plain pass over all of them is seldom left alone on a machine with other work.
const PART: usize = 380;

/// The best times of the `parts` of a run, added up, in milliseconds; none if a filter left it out.
fn best(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, parts: usize, mut run: impl FnMut(usize)) -> Option<f64> {
    let mut best = vec![f64::INFINITY; parts];
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                for (part, best) in best.iter_mut().enumerate() {
                    let start = Instant::now();
                    run(part);
                    *best = best.min(start.elapsed().as_secs_f64() * 1e3);
                }
            }
            start.elapsed()
        });
    });
    Some(best.iter().sum()).filter(|sum: &f64| sum.is_finite())
}

fn resize(criterion: &mut Criterion) {
    // Noise takes as long as anything else.
    let mut seed = 1u32;
    let noise = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let samples: Vec<u8> = (0..WIDTH * HEIGHT * 4).map(noise).collect();
    let mut group = criterion.benchmark_group(format!("resize {WIDTH} x {HEIGHT} to {SIZE}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));

    let picture = Picture::from_rgb(WIDTH, HEIGHT, samples[..WIDTH * HEIGHT * 3].to_vec()).expect("a picture");
    let spec = Spec::openai(SIZE as u32);
    let mut lines = Vec::new();
    let whole = best(&mut group, "rgb", 1, |_| drop(spec.crop(black_box(&picture))));
    lines.extend(whole.map(|ms| format!("{:<38}{ms:8.2} ms", "rgb")));

    // What the crop keeps of the longer side.
    let long = SIZE * WIDTH / HEIGHT;
    let start = (long - SIZE) / 2;
    let horizontal = Taps::new(WIDTH, long, Filter::Bicubic, start..start + SIZE).to_fixed();
    let vertical = Taps::new(HEIGHT, SIZE, Filter::Bicubic, 0..SIZE).to_fixed();
    for channels in [1, 3, 4] {
        let (stride, row_len) = (WIDTH * channels, SIZE * channels);
        let (mut rows, mut sums) = (vec![0; HEIGHT * row_len], vec![0; row_len]);
        // The scalar kernels come first.
        let mut plain = [None; 2];
        for kernels in Isa::available().map(|isa| Kernels::new(isa).expect("an instruction set that is available")) {
            let name = |pass| format!("{pass}, {channels} channels, {}", kernels.isa().name());
            let times = [
                best(&mut group, &name("horizontal"), HEIGHT.div_ceil(PART), |part| {
                    let samples = black_box(&samples[part * PART * stride..]);
                    for out in rows.chunks_mut(PART * row_len).skip(part).take(1) {
                        horizontal_u8(kernels, Band { samples, stride }, channels, &horizontal, out);
                    }
                }),
                best(&mut group, &name("vertical"), 1, |_| {
                    for (i, span) in vertical.spans().iter().enumerate() {
                        let source = Band { samples: black_box(&rows[span.start * row_len..]), stride: row_len };
                        vertical_u8(kernels, source, vertical.weights(i), &mut sums);
                    }
                }),
            ];
            for (pass, (time, plain)) in ["horizontal", "vertical"].into_iter().zip(times.into_iter().zip(&mut plain)) {
                let Some(ms) = time else { continue };
                lines.push(format!("{:<38}{ms:8.2} ms{:7.1} times", name(pass), *plain.get_or_insert(ms) / ms));
            }
        }
    }
    group.finish();
    println!("best times\n{}", lines.join("\n"));
}

criterion_group!(benches, resize);
criterion_main!(benches);

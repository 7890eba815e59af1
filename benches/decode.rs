//! A photo of 12 megapixels from the bytes of a JPEG to the crop of a model with 224 pixels, on one thread: `cargo bench -p edgeclip-preprocess --bench
//! decode`. Exactly and fast, with the picture as a whole between the two and without, and JPEG's arithmetic on every instruction set; behind them the
//! best times. The photo is the first of `python tools/make_photos.py --output target/photos`, or what `EDGECLIP_PHOTO` names.

use std::{
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use edgeclip_kernels::{Isa, Kernels, jpeg};
use edgeclip_preprocess::{Decode, Options, Spec, decode_for, preprocess};

const WIDTH: usize = 4032;
const HEIGHT: usize = 3024;

/// The best time of a run in milliseconds; none if a filter left it out.
fn best(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut run: impl FnMut()) -> Option<f64> {
    let mut best = f64::INFINITY;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let begin = Instant::now();
            for _ in 0..rounds {
                let start = Instant::now();
                run();
                best = best.min(start.elapsed().as_secs_f64() * 1e3);
            }
            begin.elapsed()
        });
    });
    Some(best).filter(|best| best.is_finite())
}

fn decode(criterion: &mut Criterion) {
    let made = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/photos/00.jpg"));
    let path = std::env::var_os("EDGECLIP_PHOTO").map_or_else(made, PathBuf::from);
    let Ok(file) = std::fs::read(&path) else {
        println!("{}: there is no photo; python tools/make_photos.py --output target/photos makes one", path.display());
        return;
    };
    let mut group = criterion.benchmark_group(format!("JPEG of {:.1} MB", file.len() as f64 / 1e6));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let spec = Spec::openai(224);
    let mut lines = Vec::new();
    let mut line = |name: &str, ms: Option<f64>| lines.extend(ms.map(|ms| format!("{name:<38}{ms:8.2} ms")));
    for (method, name) in [(Decode::Exact, "exact"), (Decode::Fast, "fast")] {
        let options = Options { decode: method, ..Options::default() };
        let (picture, crop) = (format!("{name}, picture"), format!("{name}, crop"));
        line(&picture, best(&mut group, &picture, || drop(decode_for(black_box(&file), &spec, &options).expect("a photo"))));
        line(&crop, best(&mut group, &crop, || drop(preprocess(black_box(&file), &spec, &options).expect("a photo"))));
    }
    // As many blocks and rows as a picture of 12 megapixels has of luma, and of colours.
    let mut blocks = vec![[0; 64]; WIDTH / 8];
    for (i, block) in blocks.iter_mut().enumerate() {
        (block[0], block[i % 11], block[8 * (i % 7)]) = (i as i16, 9, -5);
    }
    let samples: Vec<u8> = (0..WIDTH).map(|x| (x * x / 64) as u8).collect();
    let (half, mut room) = (&samples[..WIDTH / 2], vec![0; 8 * WIDTH]);
    for kernels in Isa::available().map(|isa| Kernels::new(isa).expect("an instruction set that is available")) {
        let name = |what: &str| format!("{what}, {}", kernels.isa().name());
        for side in [8, 4, 2] {
            let name = name(&format!("blocks to {side} x {side}"));
            let run =
                || (0..HEIGHT / 8).for_each(|_| jpeg::transform(kernels, side, black_box(&blocks), &[3; 64], &mut room, WIDTH));
            line(&name, best(&mut group, &name, run));
        }
        let run = || (0..HEIGHT).for_each(|_| jpeg::double_both(kernels, black_box(half), half, &mut room[..WIDTH]));
        line(&name("chroma doubled"), best(&mut group, &name("chroma doubled"), run));
        let run = || (0..HEIGHT).for_each(|_| jpeg::rgb(kernels, black_box([&samples; 3]), &mut room[..3 * WIDTH]));
        line(&name("colours"), best(&mut group, &name("colours"), run));
    }
    group.finish();
    println!("best times\n{}", lines.join("\n"));
}

criterion_group!(benches, decode);
criterion_main!(benches);

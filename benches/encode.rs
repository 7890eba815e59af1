//! Whole encoders, and their load, of the demo checkpoint, or of the GGUF files named in EDGECLIP_BENCH_MODELS (separated by `:`):
//! `cargo bench -p edgeclip`.

use std::{hint::black_box, path::PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgeclip::{Clip, Overlong, Tower};
use edgeclip_convert::{Options, Target, convert};

fn encoders(criterion: &mut Criterion) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let models: Vec<PathBuf> = match std::env::var_os("EDGECLIP_BENCH_MODELS") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => [Target::F32, Target::Q8_0, Target::Q4_0]
            .map(|target| {
                let path = folder.path().join(format!("demo-{target}.gguf"));
                let options = Options { target, check: false, ..Options::default() };
                convert(&root.join("models/demo"), &path, &options, &()).expect("the demo converts");
                path
            })
            .into(),
    };
    let picture = std::fs::read(root.join("models/demo/pictures/cat.png")).expect("the demo's pictures");
    for path in models {
        let clip = Clip::load(&path).expect("a model");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        let towers: Vec<Tower> = [(Tower::Image, clip.config().image.is_some()), (Tower::Text, clip.config().text.is_some())]
            .into_iter()
            .filter_map(|(tower, is_there)| is_there.then_some(tower))
            .collect();
        group.bench_function("load", |bencher| {
            bencher.iter(|| {
                let clip = Clip::load(&path).expect("a model");
                towers.iter().for_each(|&tower| clip.preload(tower).expect("an encoder"));
            });
        });
        let pixels = clip.preprocess(&picture).expect("a picture");
        group.bench_function("preprocess", |bencher| bencher.iter(|| clip.preprocess(black_box(&picture)).expect("a picture")));
        for batch in [1, 8] {
            let pictures = vec![pixels.clone(); batch];
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(format!("image x {batch}"), |bencher| {
                bencher.iter(|| clip.encode_image(&pictures).expect("vectors"))
            });
        }
        group.throughput(Throughput::Elements(1));
        for text in ["a photo of a cat", &"a very long text about cats and dogs ".repeat(12)] {
            let tokens = clip.tokenize_with(&[text], Overlong::Truncate).expect("ids");
            let name = format!("text of {} tokens", tokens.row(0).len());
            group.bench_function(name, |bencher| bencher.iter(|| clip.encode_text(&tokens).expect("a vector")));
        }
        group.finish();
    }
}

criterion_group!(benches, encoders);
criterion_main!(benches);

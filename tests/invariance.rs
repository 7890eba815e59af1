//! With quantized weights a vector depends neither on its batch, nor on its place in it, nor on the number of threads, nor on the
//! instruction set: bit for bit.

mod support;

use std::collections::BTreeSet;

use edgeclip::{Clip, Isa, Options, TokenBatch};
use edgeclip_convert::Target;
use edgeclip_model::{Cpu, GgufWeights, Kernels, Observer, Stage};
use support::{CHECKPOINTS, Golden, Model, bits};

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Every checkpoint in the types that most of them have whole blocks for, and the demo, which has them for all, in the others.
fn cases() -> impl Iterator<Item = (&'static str, Target)> {
    let all = |target| CHECKPOINTS.into_iter().map(move |name| (name, target));
    let others = [Target::Q6K, Target::Q5_1, Target::Q5_0, Target::Q4_1, Target::Q4K];
    all(Target::Q8_0).chain(all(Target::Q4_0)).chain(others.map(|target| ("demo", target)))
}

fn is_quantized(clip: &Clip) -> bool {
    let file = edgeclip_gguf::File::open(clip.path()).unwrap();
    file.tensors().iter().any(|tensor| tensor.ty.block().unwrap().len > 1)
}

#[test]
fn batch_and_threads_do_not_matter() {
    let mut kept = BTreeSet::new();
    for (name, target) in cases() {
        let (golden, model) = (Golden::new(name), Model::new(name, target));
        let clip = &model.clip;
        if !is_quantized(clip) {
            // Widths that are no whole blocks: the file keeps f16 throughout, and promises nothing.
            kept.insert(name);
            continue;
        }
        let (mut pixels, tokens) = (golden.pixels(clip), golden.tokens(clip));
        pixels.truncate(5);
        let image = on_threads(1, || clip.encode_image(&pixels).unwrap());
        let text = on_threads(1, || clip.encode_text(&tokens).unwrap());
        for threads in [2, 3] {
            assert_eq!(
                bits(&on_threads(threads, || clip.encode_image(&pixels).unwrap())),
                bits(&image),
                "{name} {target} {threads}"
            );
            assert_eq!(
                bits(&on_threads(threads, || clip.encode_text(&tokens).unwrap())),
                bits(&text),
                "{name} {target} {threads}"
            );
        }
        on_threads(3, || {
            for (i, picture) in pixels.iter().enumerate() {
                let alone = clip.encode_image(std::slice::from_ref(picture)).unwrap();
                assert_eq!(alone.row(0), image.row(i), "{name} {target}: picture {i} alone");
            }
            for i in 0..tokens.len() {
                let alone = clip.encode_text(&TokenBatch::from_rows([tokens.row(i)])).unwrap();
                assert_eq!(alone.row(0), text.row(i), "{name} {target}: text {i} alone");
            }
            // More than one pass, in another order.
            let many: Vec<_> = (0..150).map(|i| tokens.row((i * 7) % tokens.len())).collect();
            let many = clip.encode_text(&TokenBatch::from_rows(many)).unwrap();
            for (i, row) in many.rows().enumerate() {
                assert_eq!(row, text.row((i * 7) % tokens.len()), "{name} {target}: text {i} of 150");
            }
        });
    }
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["odd-bf16", "odd-ids", "odd-legacy", "odd-sharded"]);
}

#[test]
fn the_instruction_set_does_not_matter() {
    for (name, target) in cases() {
        let (golden, model) = (Golden::new(name), Model::new(name, target));
        let results: Vec<_> = Isa::available()
            .map(|isa| {
                let clip = Clip::load_with(model.clip.path(), &Options { isa: Some(isa), ..Options::default() }).unwrap();
                assert_eq!(clip.isa(), isa);
                let image = clip.encode_image(&golden.pixels(&clip)).unwrap();
                (isa, bits(&image), bits(&clip.encode_text(&golden.tokens(&clip)).unwrap()))
            })
            .collect();
        println!("{name} {target}: {:?}", results.iter().map(|(isa, ..)| *isa).collect::<Vec<_>>());
        for (isa, image, text) in &results[1..] {
            assert_eq!((image, text), (&results[0].1, &results[0].2), "{name} {target}: {isa:?}");
        }
    }
}

/// A check or profile sees every stage once a pass, in order, with the rows it has.
#[test]
fn an_observer_is_shown_every_stage() {
    struct Seen(Vec<(String, usize, usize)>);
    impl Observer for Seen {
        fn stage(&mut self, stage: Stage, width: usize, values: &[f32]) {
            assert!(values.iter().all(|v| v.is_finite()));
            self.0.push((stage.to_string(), values.len() / width, width));
        }
    }
    let (golden, model) = (Golden::new("odd-blocks"), Model::new("odd-blocks", Target::Q8_0));
    let (config, file) = (model.clip.config().clone(), model.clip.file().clone());
    let cpu = Cpu::new(config, GgufWeights::new(file), Kernels::best());

    let mut seen = Seen(Vec::new());
    let pixels = &golden.pixels(&model.clip)[..2];
    let vectors = cpu.image().unwrap().encode(pixels, &mut seen).unwrap();
    assert_eq!(vectors, model.clip.encode_image(pixels).unwrap());
    // 50 pixels hold 3 patches of 16 a side.
    let stage = |name: &str, rows, width| (name.to_owned(), rows, width);
    let expected = [
        stage("image.embedding", 20, 64),
        stage("image.block.0.attention", 20, 64),
        stage("image.block.0.mlp", 20, 64),
        // The last block is computed for the class tokens only.
        stage("image.block.1.attention", 2, 64),
        stage("image.block.1.mlp", 2, 64),
        stage("image.projection", 2, 32),
    ];
    assert_eq!(seen.0, expected);

    let mut seen = Seen(Vec::new());
    cpu.text().unwrap().encode(&TokenBatch::from_rows([&golden.ids[1]]), &mut seen).unwrap();
    // Its only block is its last.
    let expected = [
        stage("text.embedding", golden.ids[1].len(), 64),
        stage("text.block.0.attention", 1, 64),
        stage("text.block.0.mlp", 1, 64),
        stage("text.projection", 1, 32),
    ];
    assert_eq!(seen.0, expected);
}

#[test]
fn empty_batches_are_empty() {
    let model = Model::new("odd-legacy", Target::Q8_0);
    assert!(model.clip.encode_image(&[]).unwrap().is_empty());
    assert!(model.clip.encode_text(&model.clip.tokenize::<&str>(&[]).unwrap()).unwrap().is_empty());
}

#[test]
fn a_model_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Clip>();
    let (golden, model) = (Golden::new("demo"), Model::new("demo", Target::Q8_0));
    let text = model.clip.encode_text(&golden.tokens(&model.clip)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let clip = Clip::load(model.clip.path()).unwrap();
                assert_eq!(clip.encode_text(&golden.tokens(&clip)).unwrap(), text);
                assert_eq!(model.clip.encode_text(&golden.tokens(&model.clip)).unwrap(), text);
            });
        }
    });
}

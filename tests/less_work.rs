//! What is left out changes no vector: each result equals, bit for bit, that of computing everything.

mod support;

use std::collections::HashSet;

use edgeclip::{
    Clip, Embeddings, ModelError, Pixels, TextPooling, TokenBatch, Tower,
    zero_shot::{IMAGENET_TEMPLATES, Template},
};
use edgeclip_convert::Target;
use edgeclip_model::{
    Config, Cpu, GgufWeights, Kernels, Observer, Phase, Stage, StageKind, Threads, TowerConfig,
    parts::{Block, Head, ImageEmbedding, Pass, Stream, TextEmbedding, Workspace},
};
use rayon::prelude::*;
use support::{Golden, Model, bits, pairwise_cosines};

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Both encoders of a file, with a configuration that may have been changed.
fn cpu(clip: &Clip, change: impl FnOnce(&mut Config)) -> Cpu {
    let mut config = clip.config().clone();
    change(&mut config);
    Cpu::new(config, GgufWeights::new(clip.file().clone()), Kernels::best())
}

/// An encoder of which every block is computed for every token.
fn in_full(clip: &Clip, tower: Tower, embed: impl FnOnce(&GgufWeights, &mut Stream, &mut Pass<'_>)) -> Embeddings {
    let (config, weights, kernels) = (clip.config(), GgufWeights::new(clip.file().clone()), Kernels::best());
    let (own, causal) = match tower {
        Tower::Image => (&config.image.as_ref().unwrap().tower, false),
        Tower::Text => (&config.text.as_ref().unwrap().tower, config.text.as_ref().unwrap().causal),
    };
    let (mut stream, mut workspace) = (Stream::default(), Workspace::default());
    let mut pass = Pass { workspace: &mut workspace, threads: Threads::All, observer: &mut () };
    embed(&weights, &mut stream, &mut pass);
    // As if another came after it, the last block is one like the others.
    let longer = TowerConfig { layers: own.layers + 1, ..own.clone() };
    for index in 0..own.layers {
        Block::load(&longer, tower, causal, index, &weights, kernels).unwrap().forward(&mut stream, &mut pass);
    }
    let mut values = vec![f32::NAN; stream.inputs() * config.projection_dim];
    let head = Head::load(own, tower, config.projection_dim, &weights, kernels).unwrap();
    head.forward(&stream, &mut values, &mut pass);
    Embeddings::new(config.projection_dim, values)
}

#[test]
fn the_last_block_is_needed_for_the_pooled_rows_only() {
    // odd-blocks has a text encoder of one block, odd-wide an image encoder of one.
    for (name, target) in [
        ("demo", Target::Q8_0),
        ("demo", Target::Q4K),
        ("odd-blocks", Target::Q8_0),
        ("odd-wide", Target::Q4_0),
        ("demo", Target::F32),
        ("odd-bf16", Target::BF16),
    ] {
        let (golden, model) = (Golden::new(name), Model::new(name, target));
        let (clip, kernels) = (&model.clip, Kernels::best());
        let (pixels, tokens) = (&golden.pixels(clip)[..3], golden.tokens(clip));
        let image = in_full(clip, Tower::Image, |weights, stream, pass| {
            let config = clip.config().image.as_ref().unwrap();
            ImageEmbedding::load(config, weights, kernels).unwrap().forward(pixels, stream, pass).unwrap();
        });
        let text = in_full(clip, Tower::Text, |weights, stream, pass| {
            let config = clip.config().text.as_ref().unwrap();
            TextEmbedding::load(config, weights, kernels).unwrap().forward(tokens.rows(), stream, pass).unwrap();
        });
        for (full, found) in [(&image, &clip.encode_image(pixels).unwrap()), (&text, &clip.encode_text(&tokens).unwrap())] {
            assert_eq!(bits(full), bits(found), "{name} {target}");
        }
    }
}

/// Every label in every template, in no order.
fn prompts(clip: &Clip, labels: &[&str], templates: &[&str]) -> Vec<Vec<u32>> {
    let all = templates.iter().flat_map(|t| labels.iter().map(|label| Template::new(*t).unwrap().fill(label)));
    let all: Vec<String> = all.collect();
    let mixed: Vec<&String> = (0..all.len()).map(|i| &all[i * 7919 % all.len()]).collect();
    clip.tokenize(&mixed).unwrap().rows().map(<[u32]>::to_vec).collect()
}

/// Rows of the stream after the embedding, over all passes.
#[derive(Default)]
struct Tokens {
    all: usize,
    passes: usize,
}

impl Observer for Tokens {
    fn stage(&mut self, stage: Stage, width: usize, values: &[f32]) {
        if stage.kind == StageKind::Embedding {
            self.all += values.len() / width;
            self.passes += 1;
        }
    }
}

/// Each row's vector must be that of the row alone, whatever it shares, on any number of threads and in the order given.
fn check_texts(cpu: &Cpu, rows: &[Vec<u32>]) {
    let text = cpu.text().unwrap();
    let alone = |row: &Vec<u32>| text.encode(&TokenBatch::from_rows([row]), &mut ()).unwrap();
    let expected: Vec<u32> = rows.iter().flat_map(|row| bits(&alone(row))).collect();
    let batch = TokenBatch::from_rows(rows);
    for threads in [1, 2, 3] {
        assert_eq!(bits(&on_threads(threads, || text.encode(&batch, &mut ()).unwrap())), expected, "{threads} threads");
    }
    assert_eq!(bits(&text.encode(&batch, &mut Tokens::default()).unwrap()), expected, "watched");
}

#[test]
fn what_prompts_begin_with_is_computed_once() {
    let model = Model::new("demo", Target::Q8_0);
    let cpu = cpu(&model.clip, |_| {});
    let labels = ["cat", "dog", "red bicycle", "house", "cat", "slice of pizza"];
    let mut rows = prompts(&model.clip, &labels, &IMAGENET_TEMPLATES);
    rows.extend(prompts(
        &model.clip,
        &["", "a", "a very long label that goes on and on about a red car"],
        &["{}", "a photo of {}"],
    ));
    check_texts(&cpu, &rows);

    // Tokens that are computed: those that another row does not have at the same place after the same beginning.
    let nodes = |rows: &[Vec<u32>]| {
        rows.iter().flat_map(|row| (1..=row.len()).map(|len| row[..len].to_vec())).collect::<HashSet<_>>().len()
    };
    let count = |rows: &[Vec<u32>]| {
        let mut tokens = Tokens::default();
        cpu.text().unwrap().encode(&TokenBatch::from_rows(rows), &mut tokens).unwrap();
        tokens
    };
    let few = count(&rows[..20]);
    assert_eq!((few.all, few.passes), (nodes(&rows[..20]), 1));
    let (all, expected) = (count(&rows), nodes(&rows));
    assert!(all.passes > 1, "{} tokens are one pass", all.all);
    // Each further pass begins anew with at most one row.
    assert!((expected..expected + 77 * all.passes).contains(&all.all), "{}, expected about {expected}", all.all);
    let given: usize = rows.iter().map(Vec::len).sum();
    println!("{} rows of {given} tokens: {} computed in {} passes", rows.len(), all.all, all.passes);
    assert!(all.all * 2 < given);
}

/// The pooled token of a row may lie inside another row, if it is the largest id and not the end.
#[test]
fn a_row_may_be_what_another_begins_with() {
    let model = Model::new("demo", Target::Q8_0);
    let cpu = cpu(&model.clip, |config| config.text.as_mut().unwrap().pooling = TextPooling::Argmax);
    let rows = [
        vec![3, 7, 9],
        vec![3],
        vec![3, 7],
        vec![3, 7, 9, 11],
        vec![4, 1, 2],
        vec![3, 7],
        vec![4],
        vec![3, 8, 1],
        vec![3, 7, 9, 10, 2, 11],
    ];
    check_texts(&cpu, &rows);
    let mut tokens = Tokens::default();
    cpu.text().unwrap().encode(&TokenBatch::from_rows(&rows), &mut tokens).unwrap();
    // 3; 7, 9, 11 and 10, 2, 11 below that; 8 below 3, after which 1 is cut off; 4, after which all is.
    assert_eq!((tokens.all, tokens.passes), (9, 1));
}

#[test]
fn an_encoder_that_looks_ahead_shares_whole_rows_only() {
    let model = Model::new("demo", Target::Q8_0);
    let cpu = cpu(&model.clip, |config| config.text.as_mut().unwrap().causal = false);
    let rows = prompts(&model.clip, &["cat", "dog", "cat"], &IMAGENET_TEMPLATES[..12]);
    check_texts(&cpu, &rows);
    let mut tokens = Tokens::default();
    cpu.text().unwrap().encode(&TokenBatch::from_rows(&rows), &mut tokens).unwrap();
    let different: HashSet<_> = rows.iter().collect();
    assert_eq!((different.len(), tokens.all), (24, different.iter().map(|row| row.len()).sum()));
}

#[test]
fn the_first_input_that_is_wrong_is_named() {
    let model = Model::new("demo", Target::Q8_0);
    let clip = &model.clip;
    let good = Golden::new("demo").pixels(clip)[0].clone();
    let bad = Pixels::from_f32(2, vec![0.0; 12]).unwrap();
    let end = clip.config().text.as_ref().unwrap().vocabulary.end;
    let mut pictures = vec![good; 5];
    pictures.extend([bad.clone(), bad]);
    // The text at 2 comes first of all once sorted, that at 1 last.
    let texts = [vec![1, end], vec![u32::MAX, end], vec![0]];
    for threads in [1, 2, 8] {
        on_threads(threads, || {
            let error = clip.encode_image(&pictures).unwrap_err().to_string();
            assert!(error.starts_with("picture 5: "), "{error}");
            let error = clip.encode_text(&TokenBatch::from_rows(&texts)).unwrap_err().to_string();
            assert!(error.starts_with("text 1: "), "{error}");
        });
    }
}

#[test]
fn of_vectors_that_are_not_finite_the_first_is_named() {
    let model = Model::new("demo", Target::Q8_0);
    let (clip, golden) = (&model.clip, Golden::new("demo"));
    let mut pictures = golden.pixels(clip);
    pictures.truncate(7);
    let size = pictures[0].size();
    for i in [6, 3, 4] {
        pictures[i] = Pixels::from_f32(size, vec![f32::NAN; 3 * (size * size) as usize]).unwrap();
    }
    for threads in [1, 2, 8] {
        let error = on_threads(threads, || cpu(clip, |_| {}).image().unwrap().encode(&pictures, &mut ()).unwrap_err());
        assert!(matches!(error, ModelError::NotFinite { tower: Tower::Image, index: 3, .. }), "{error}");
    }
}

/// Bytes are multiplied as they are, unless they go with another mean than the model's.
#[test]
fn patches_of_bytes_and_of_numbers() {
    // 14 x 14 x 3 and 4 x 4 x 3 are no whole blocks.
    for (name, target) in [("demo", Target::Q8_0), ("odd-f16", Target::Q8_0), ("odd-wide", Target::Q4_0), ("demo", Target::F32)] {
        let (golden, model) = (Golden::new(name), Model::new(name, target));
        let clip = &model.clip;
        let bytes = golden.pixels(clip);
        let values = |pixels: &Pixels| Pixels::from_f32(pixels.size(), pixels.to_chw()).unwrap();
        let numbers: Vec<_> = bytes.iter().map(values).collect();
        let (a, b) = (clip.encode_image(&bytes).unwrap(), clip.encode_image(&numbers).unwrap());
        if target == Target::F32 {
            assert_eq!(bits(&a), bits(&b));
            continue;
        }
        let cosines = pairwise_cosines(&a, &b);
        println!("{name} {target}: {cosines:?}");
        assert_ne!(bits(&a), bits(&b), "{name}: bytes went the way of numbers");
        assert!(cosines.iter().all(|cosine| *cosine > 0.999), "{name}: {cosines:?}");

        let other = |pixels: &Pixels| {
            Pixels::from_crop(pixels.size(), pixels.crop().unwrap().to_vec(), [0.5; 3], [0.25, 0.5, 0.75]).unwrap()
        };
        let other: Vec<_> = bytes.iter().map(other).collect();
        let numbers: Vec<_> = other.iter().map(values).collect();
        assert_eq!(bits(&clip.encode_image(&other).unwrap()), bits(&clip.encode_image(&numbers).unwrap()), "{name}");
    }
}

/// A caller may spread single inputs over the same pool.
#[test]
fn calls_may_come_from_the_pool_itself() {
    let (golden, model) = (Golden::new("demo"), Model::new("demo", Target::Q8_0));
    let clip = &model.clip;
    let mut pixels = golden.pixels(clip);
    // Both ways through the patch embedding, the second of which is packed when first taken.
    pixels.extend_from_within(..);
    let half = pixels.len() / 2;
    for pixels in &mut pixels[half..] {
        *pixels = Pixels::from_f32(pixels.size(), pixels.to_chw()).unwrap();
    }
    let found: Vec<_> =
        on_threads(3, || pixels.par_iter().map(|p| bits(&clip.encode_image(std::slice::from_ref(p)).unwrap())).collect());
    assert_eq!(found.concat(), bits(&clip.encode_image(&pixels).unwrap()));
}

#[test]
fn phases_follow_each_other() {
    struct Seen(Vec<Phase>);
    impl Observer for Seen {
        fn stage(&mut self, _: Stage, _: usize, _: &[f32]) {}
        fn phase(&mut self, phase: Phase) {
            self.0.push(phase);
        }
    }
    use Phase::*;
    let (golden, model) = (Golden::new("odd-blocks"), Model::new("odd-blocks", Target::Q8_0));
    let cpu = cpu(&model.clip, |_| {});
    let rest = [Attention, Norm, AttentionOutput, Norm, MlpUp, Norm, MlpDown];
    // The first call is that of the checks; the last block asks for key and value, and then for queries.
    let image = [&[Embedding, Embedding, Norm, Qkv][..], &rest, &[Norm, Qkv, Norm, Qkv], &rest, &[Head]].concat();
    let mut seen = Seen(Vec::new());
    cpu.image().unwrap().encode(&golden.pixels(&model.clip)[..1], &mut seen).unwrap();
    assert_eq!(seen.0, image);
    let text = [&[Embedding, Embedding, Norm, Qkv, Norm, Qkv][..], &rest, &[Head]].concat();
    let mut seen = Seen(Vec::new());
    cpu.text().unwrap().encode(&golden.tokens(&model.clip), &mut seen).unwrap();
    assert_eq!(seen.0, text);
    assert!(Phase::ALL.iter().all(|phase| image.contains(phase)));
    let names: HashSet<String> = Phase::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), Phase::ALL.len());
}

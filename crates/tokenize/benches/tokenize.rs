//! The time of a start and of texts, with CLIP's vocabulary: `cargo bench -p edgeclip-tokenize`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use edgeclip_tokenize::{Overlong, Strings, Tokenizer, Vocabulary};
use std::hint::black_box;
use tokenizers::models::bpe::BPE;

fn vocabulary() -> Vocabulary {
    Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"])
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("new");
    let listed = vocabulary();
    group.bench_function("listed merges", |b| {
        b.iter_batched(|| listed.clone(), |v| Tokenizer::new(v).expect("CLIP's vocabulary"), BatchSize::LargeInput);
    });
    let recovered = Vocabulary { merges: None, ..listed.clone() };
    group.bench_function("recovered merges", |b| {
        b.iter_batched(|| recovered.clone(), |v| Tokenizer::new(v).expect("CLIP's vocabulary"), BatchSize::LargeInput);
    });
    // What the alternative takes for its model alone: no check, no cleaning, no special tokens (docs/tokenizer.md).
    let pair = |merge: &str| merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
    group.bench_function("the model of tokenizers", |b| {
        b.iter_batched(
            || listed.clone(),
            |v| {
                let ids: ahash::AHashMap<String, u32> = v.tokens.iter().map(str::to_owned).zip(0..).collect();
                let merges = v.merges.iter().flat_map(Strings::iter).filter_map(pair).collect();
                BPE::builder().vocab_and_merges(ids, merges).end_of_word_suffix("</w>".into()).build().expect("CLIP's merges")
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn texts(c: &mut Criterion) {
    let tokenizer = Tokenizer::new(vocabulary()).expect("CLIP's vocabulary");
    let mut group = c.benchmark_group("tokenize");
    for (name, text) in [
        ("plain caption", "a photo of two dogs playing with a frisbee on the beach at sunset"),
        ("caption with an accent", "a photo of a café with two dogs playing with a frisbee at sunset"),
        ("mojibake", "a photo of a cafÃ© with two dogs â€œplayingâ€\u{9d} with a frisbee at sunset"),
    ] {
        group.bench_function(name, |b| b.iter(|| tokenizer.tokenize(&[black_box(text)], Overlong::Error).expect("a short text")));
    }
    group.finish();
}

criterion_group!(benches, start, texts);
criterion_main!(benches);

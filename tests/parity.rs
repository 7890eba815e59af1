//! An f32 file gives the reference's token ids, vectors and logits, from picture files and strings.

mod support;

use edgeclip_convert::Target;
use support::{CHECKPOINTS, Golden, Model, max_difference};

/// Promised bound on the difference of L2-normalised vectors. The reference's own f32 noise is at most 7e-7 (tests/data/README.md).
const BOUND: f32 = 1e-5;

#[test]
fn f32_vectors_are_the_references() {
    for name in CHECKPOINTS {
        let (golden, model) = (Golden::new(name), Model::new(name, Target::F32));
        let clip = &model.clip;

        let tokens = golden.tokens(clip);
        for (i, ids) in golden.ids.iter().enumerate() {
            assert_eq!(tokens.row(i), ids, "{name}: ids of {:?}", golden.texts[i]);
        }
        let text = clip.encode_text(&tokens).unwrap();
        let difference = max_difference(&text, &golden.text);
        println!("{name}: text {difference:e}");
        assert!(difference <= BOUND, "{name}: text differs by {difference:e}");

        let image = clip.encode_image(&golden.pixels(clip)).unwrap();
        let difference = max_difference(&image, &golden.image);
        println!("{name}: image {difference:e}");
        assert!(difference <= BOUND, "{name}: image differs by {difference:e}");

        // The scale is exact; a logit is off by the scale times the difference of two vectors.
        assert_eq!(clip.config().logit_scale, golden.logit_scale, "{name}");
        let bound = golden.logit_scale.exp() * 2.0 * BOUND;
        let logits = clip.logits_per_image(&image, &text).unwrap();
        assert_eq!(logits.values().len(), golden.logits_per_image.len());
        for (ours, theirs) in logits.values().iter().zip(&golden.logits_per_image) {
            assert!((ours - theirs).abs() <= bound, "{name}: logit {ours}, expected {theirs} within {bound}");
        }
    }
}

/// The vectors are also right before normalisation.
#[test]
fn raw_vectors_have_the_references_length() {
    for name in CHECKPOINTS {
        let (golden, model) = (Golden::new(name), Model::new(name, Target::F32));
        let text = model.clip.encode_text(&golden.tokens(&model.clip)).unwrap();
        let image = model.clip.encode_image(&golden.pixels(&model.clip)).unwrap();
        for (ours, theirs) in text.rows().zip(golden.text.rows()).chain(image.rows().zip(golden.image.rows())) {
            let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            assert!((norm(ours) / norm(theirs) - 1.0).abs() <= f64::from(BOUND), "{name}: {} {}", norm(ours), norm(theirs));
        }
    }
}

/// A causal encoder cannot see what comes after the end token, so ids that were padded elsewhere give the same vectors.
#[test]
fn padded_ids_give_the_same_vectors() {
    for name in CHECKPOINTS {
        let (golden, model) = (Golden::new(name), Model::new(name, Target::Q8_0));
        let tokens = golden.tokens(&model.clip);
        let vocabulary = &model.clip.config().text.as_ref().unwrap().vocabulary;
        let padded = tokens.padded(vocabulary.pad, vocabulary.context_length).unwrap();
        assert_eq!(padded.len(), tokens.len() * vocabulary.context_length);
        let again = edgeclip::TokenBatch::from_rows(padded.chunks(vocabulary.context_length));
        assert_eq!(model.clip.encode_text(&again).unwrap(), model.clip.encode_text(&tokens).unwrap(), "{name}");
    }
}

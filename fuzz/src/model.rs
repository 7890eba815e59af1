//! A GGUF file from its bytes to a vector of each encoder.

use std::{fs, sync::Mutex};

use edgeclip::{Clip, Overlong, Picture, Pixels, TextConfig};

use super::{Body, support::refused};

/// Tokens times the width of the MLP up to which an encoder is also run: beyond it takes long, and is the same code.
const WORK: usize = 1 << 18;

/// The target.
pub fn new() -> Body {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let busy = Mutex::new(());
    Box::new(move |input| {
        let _busy = busy.lock();
        let path = folder.path().join("m.gguf");
        fs::write(&path, input).expect("a folder of one's own can be written to");
        if let Err(error) = load(&path) {
            refused(error);
        }
    })
}

/// Everything between a file and a vector.
fn load(path: &std::path::Path) -> Result<(), edgeclip::Error> {
    let clip = Clip::load(path)?;
    let config = clip.config();
    if let Some(image) = &config.image
        && image.tokens() * image.tower.mlp <= WORK
        && image.preprocessing.size <= 256
    {
        let size = image.preprocessing.size;
        let picture = Picture::from_rgb(5, 3, (0..45).map(|value| value * 5).collect()).expect("15 pixels");
        let crop = image.preprocessing.crop(&picture).expect("15 pixels, of a spec that is checked");
        let values: Vec<f32> = crop.to_chw();
        let vectors = clip.encode_image(&[crop])?;
        assert!(vectors.values().iter().all(|value| value.is_finite()));
        clip.encode_image(&[Pixels::from_f32(size, values).expect("as many values as there were")])?;
    }
    if let Some(TextConfig { tower, vocabulary, .. }) = &config.text
        && vocabulary.context_length * tower.mlp <= WORK
    {
        let tokens = clip.tokenize_with(&["a red car, in the rain", "a Red bus 12"], Overlong::Truncate)?;
        let vectors = clip.encode_text(&tokens)?;
        assert!(vectors.values().iter().all(|value| value.is_finite()));
    }
    Ok(())
}

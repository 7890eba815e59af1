//! A loaded model.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use edgeclip_gguf::File;
use edgeclip_model::{
    Backend, Compute, Config, Cpu, Embeddings, GgufWeights, Groups, ImageConfig, Isa, Kernels, Observer, TextConfig, Tower,
    schema,
};
use edgeclip_preprocess::{Options as PictureOptions, Pixels, preprocess};
use edgeclip_tokenize::{Overlong, TokenBatch, Tokenizer};

use crate::Logits;

/// What can go wrong between a file and a logit.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The model file, or something that it cannot encode.
    Model(edgeclip_model::Error),
    /// A picture.
    Picture(edgeclip_preprocess::Error),
    /// A text.
    Text(edgeclip_tokenize::Error),
    /// An instruction set that cannot be had.
    Isa(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Picture(error) => error.fmt(f),
            Self::Text(error) => error.fmt(f),
            Self::Isa(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Each variant is shown as its cause, whose own causes follow.
        match self {
            Self::Model(error) => error.source(),
            Self::Picture(error) => error.source(),
            Self::Text(error) => error.source(),
            Self::Isa(_) => None,
        }
    }
}

impl From<edgeclip_model::Error> for Error {
    fn from(error: edgeclip_model::Error) -> Self {
        Self::Model(error)
    }
}

impl From<edgeclip_gguf::Error> for Error {
    fn from(error: edgeclip_gguf::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<edgeclip_preprocess::Error> for Error {
    fn from(error: edgeclip_preprocess::Error) -> Self {
        Self::Picture(error)
    }
}

impl From<edgeclip_tokenize::Error> for Error {
    fn from(error: edgeclip_tokenize::Error) -> Self {
        Self::Text(error)
    }
}

/// How to load a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The instruction set to use; the fastest that the machine has if `None`.
    pub isa: Option<Isa>,
    /// Which values of quantized weights share a scale: those that do in the file, or more of them, which is faster and changes vectors a
    /// little (docs/kernels.md).
    pub groups: Groups,
}

impl Options {
    /// With the environment variable `EDGECLIP_ISA`, which can ask for a lower instruction set than the machine has.
    ///
    /// # Errors
    /// [`Error::Isa`] if it names none.
    pub fn from_env() -> Result<Self, Error> {
        let Some(name) = std::env::var_os("EDGECLIP_ISA").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let isa = name.to_string_lossy().parse().map_err(|error| Error::Isa(format!("EDGECLIP_ISA: {error}")))?;
        Ok(Self { isa: Some(isa), ..Self::default() })
    }
}

/// A model: its configuration, tokenizer and encoders.
///
/// Loading reads and checks the file's header; an encoder is packed when it is first used, or by [`preload`](Self::preload).
#[derive(Debug)]
pub struct Clip {
    file: File,
    config: Arc<Config>,
    cpu: Cpu,
    tokenizer: OnceLock<Tokenizer>,
}

impl Clip {
    /// Loads a GGUF file: `clip.load`.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be read or makes no sense.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::from_env()?)
    }

    /// Loads a GGUF file with options.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be read or makes no sense, [`Error::Isa`] if the machine lacks what is asked for.
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let kernels = match options.isa {
            Some(isa) => Kernels::new(isa).map_err(|error| Error::Isa(error.to_string()))?,
            None => Kernels::best(),
        };
        let file = File::open(path.as_ref())?;
        let config = Arc::new(schema::from_file(&file)?);
        let cpu = Cpu::new(Arc::clone(&config), GgufWeights::new(file.clone()), Compute { kernels, groups: options.groups });
        Ok(Self { file, config, cpu, tokenizer: OnceLock::new() })
    }

    /// The file that was loaded.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The file itself: its metadata and the types of its tensors.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Everything that decides a vector, apart from the weights.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The hash of weights and deciding keys that the converter stored, if the file is one of ours. Vectors with different ids must not be
    /// compared.
    pub fn content_id(&self) -> Option<&str> {
        self.file.get::<&str>(schema::keys::CONTENT_ID).ok().flatten()
    }

    /// Length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        self.config.projection_dim
    }

    /// The bytes of a picture file as the model's input, `[3, size, size]`: `preprocess(Image.open(..))`. The EXIF orientation is applied,
    /// which the reference does not do; see [`preprocess_with`](Self::preprocess_with).
    ///
    /// # Errors
    /// [`Error::Picture`] if the bytes are no picture or too large a one, [`Error::Model`] if there is no image encoder.
    pub fn preprocess(&self, picture: &[u8]) -> Result<Pixels, Error> {
        self.preprocess_with(picture, &PictureOptions::default())
    }

    /// As [`preprocess`](Self::preprocess), with options.
    ///
    /// # Errors
    /// As [`preprocess`](Self::preprocess).
    pub fn preprocess_with(&self, picture: &[u8], options: &PictureOptions) -> Result<Pixels, Error> {
        Ok(preprocess(picture, &self.image_config()?.preprocessing, options)?)
    }

    /// Texts as ids between the start and end tokens: `clip.tokenize`, without the padding ([`TokenBatch::padded`] has it).
    ///
    /// # Errors
    /// [`Error::Text`] if a text is too long, [`Error::Model`] if there is no text encoder.
    pub fn tokenize<S: AsRef<str>>(&self, texts: &[S]) -> Result<TokenBatch, Error> {
        self.tokenize_with(texts, Overlong::Error)
    }

    /// As [`tokenize`](Self::tokenize), with a choice of what happens to long texts.
    ///
    /// # Errors
    /// As [`tokenize`](Self::tokenize).
    pub fn tokenize_with<S: AsRef<str>>(&self, texts: &[S], overlong: Overlong) -> Result<TokenBatch, Error> {
        Ok(self.tokenizer()?.tokenize(texts, overlong)?)
    }

    /// Makes now what the first call with this encoder would make: its packed weights, and beside those of texts, on another thread if there is one,
    /// the tokenizer.
    ///
    /// # Errors
    /// [`Error::Model`] if the file has no such encoder, or one that cannot be used.
    pub fn preload(&self, tower: Tower) -> Result<(), Error> {
        match tower {
            Tower::Image => self.cpu.image().map(drop)?,
            Tower::Text => {
                let (tokenizer, text) = rayon::join(|| self.tokenizer().map(drop), || self.cpu.text().map(drop));
                tokenizer?;
                text?;
            }
        }
        Ok(())
    }

    /// The tokenizer, built now if it was not.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no text encoder or its vocabulary is unusable.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let vocabulary = self.text_config()?.vocabulary.clone();
        let file = || self.path().to_owned();
        let tokenizer = Tokenizer::new(vocabulary).map_err(|error| edgeclip_model::Error::Vocabulary { file: file(), error })?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// Pictures to embeddings, `[n, dim]`, not normalised: `model.encode_image`.
    ///
    /// With as many pictures as threads or more, each thread computes its own; with fewer, all threads work on each.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no image encoder, a picture is of another model's size, or an embedding is not finite.
    pub fn encode_image(&self, pictures: &[Pixels]) -> Result<Embeddings, Error> {
        Ok(self.cpu.encode_image(pictures)?)
    }

    /// Rows of ids to embeddings, `[n, dim]`, not normalised: `model.encode_text`.
    ///
    /// Tokens that several rows begin with are computed once, so prompts made from templates cost less in one call than in several.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no text encoder, ids are out of range, or an embedding is not finite.
    pub fn encode_text(&self, tokens: &TokenBatch) -> Result<Embeddings, Error> {
        Ok(self.cpu.encode_text(tokens)?)
    }

    /// As [`encode_image`](Self::encode_image), seen by an observer.
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image).
    pub fn encode_image_observed(&self, pictures: &[Pixels], observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        Ok(self.cpu.image()?.encode(pictures, observer)?)
    }

    /// As [`encode_text`](Self::encode_text), seen by an observer.
    ///
    /// # Errors
    /// As [`encode_text`](Self::encode_text).
    pub fn encode_text_observed(&self, tokens: &TokenBatch, observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        Ok(self.cpu.text()?.encode(tokens, observer)?)
    }

    /// `exp(logit_scale) * cosine (+ logit_bias)` of every pair, `[pictures, texts]`.
    ///
    /// # Errors
    /// [`Error::Model`] if the embeddings differ in length.
    pub fn logits_per_image(&self, image: &Embeddings, text: &Embeddings) -> Result<Logits, Error> {
        let (scale, bias) = (self.config.logit_scale.exp(), self.config.logit_bias.unwrap_or(0.0));
        let values = image.cosines(text)?.into_iter().map(|cosine| scale.mul_add(cosine, bias)).collect();
        Ok(Logits::new(text.len(), values))
    }

    /// What the kernels in use are written for.
    pub fn isa(&self) -> Isa {
        self.cpu.compute().kernels.isa()
    }

    fn image_config(&self) -> Result<&ImageConfig, Error> {
        Ok(self.config.image.as_ref().ok_or_else(|| self.no_tower(Tower::Image))?)
    }

    fn text_config(&self) -> Result<&TextConfig, Error> {
        Ok(self.config.text.as_ref().ok_or_else(|| self.no_tower(Tower::Text))?)
    }

    fn no_tower(&self, tower: Tower) -> edgeclip_model::Error {
        let file: PathBuf = self.path().to_owned();
        edgeclip_model::Error::NoTower { file, tower }
    }
}

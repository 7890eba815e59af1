//! The bodies of the fuzz targets: everything that reads what strangers wrote. Each takes any bytes, and may only return: a
//! panic, an abort, memory or time out of proportion, and a message of several lines are findings.
//!
//! `cargo xtask fuzz` runs them (docs/security.md); tests/fuzz_seeds.rs runs them over their seeds, on every change.
#![forbid(unsafe_code)]

pub mod gguf;
pub mod model;
pub mod pickle;
pub mod picture;
pub mod repair;
pub mod safetensors;
pub mod settings;
mod support;
pub mod table;
pub mod text;
pub mod torch;
pub mod vocabulary;

/// A target with what it needs over and over: what it does with an input.
pub type Body = Box<dyn Fn(&[u8]) + Send + Sync>;

/// The target of this name of [`table::TARGETS`].
pub fn body(name: &str) -> Option<Body> {
    Some(match name {
        "gguf" => gguf::new(),
        "model" => model::new(),
        "pickle" => pickle::new(),
        "picture" => picture::new(),
        "safetensors" => safetensors::new(),
        "settings" => settings::new(),
        "text" => text::new(),
        "torch" => torch::new(),
        "vocabulary" => vocabulary::new(),
        _ => return None,
    })
}

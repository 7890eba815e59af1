//! libFuzzer's entry points: see `edgeclip_fuzz::gguf`.
#![no_main]

mod engine;

engine::target!(gguf, repair::gguf);

//! libFuzzer's entry points: see `edgeclip_fuzz::model`.
#![no_main]

mod engine;

engine::target!(model, repair::gguf);

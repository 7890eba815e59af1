//! libFuzzer's entry points: see `edgeclip_fuzz::safetensors`.
#![no_main]

mod engine;

engine::target!(safetensors, repair::safetensors);

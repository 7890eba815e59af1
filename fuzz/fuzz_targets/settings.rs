//! libFuzzer's entry points: see `edgeclip_fuzz::settings`.
#![no_main]

mod engine;

engine::target!(settings);

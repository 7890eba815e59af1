//! libFuzzer's entry points: see `edgeclip_fuzz::vocabulary`.
#![no_main]

mod engine;

engine::target!(vocabulary);

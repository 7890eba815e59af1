//! libFuzzer's entry points: see `edgeclip_fuzz::picture`.
#![no_main]

mod engine;

engine::target!(picture, repair::png);

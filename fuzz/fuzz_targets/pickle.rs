//! libFuzzer's entry points: see `edgeclip_fuzz::pickle`.
#![no_main]

mod engine;

engine::target!(pickle);

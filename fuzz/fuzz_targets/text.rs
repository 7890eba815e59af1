//! libFuzzer's entry points: see `edgeclip_fuzz::text`.
#![no_main]

mod engine;

engine::target!(text);

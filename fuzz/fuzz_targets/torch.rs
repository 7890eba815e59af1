//! libFuzzer's entry points: see `edgeclip_fuzz::torch`.
#![no_main]

mod engine;

engine::target!(torch, repair::zip);

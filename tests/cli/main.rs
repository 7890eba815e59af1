//! The program end to end: what it prints, writes and exits with, on the demo and on hostile files.

#[cfg(feature = "download")]
#[path = "../support/server.rs"]
mod server;
mod support;

mod bench;
mod checkpoints;
mod classify;
mod convert;
mod doctor;
mod encode;
mod eval;
mod hostile;
#[cfg(feature = "download")]
mod hub;
mod info;
mod model;
mod readme;
mod tools;
mod verify;

//! The program end to end: what it prints, writes and exits with, on the demo and on hostile files.

mod support;

mod checkpoints;
mod classify;
mod convert;
mod encode;
mod eval;
mod hostile;
mod info;
mod model;
mod readme;
mod tools;
mod verify;

//! Bytes are a script, which the gather and the model have to follow alike.
//!
//!     cargo +nightly fuzz run --fuzz-dir tests/fuzz script
//!
//! What it finds becomes a line of tests/property/scripts.txt, which `cargo test --test property` replays:
//!
//!     xxd -p -c 0 tests/fuzz/artifacts/script/FILE >> tests/property/scripts.txt

#![no_main]

#[path = "../suite/kit.rs"]
mod kit;

#[path = "../property/actors.rs"]
mod actors;
#[path = "../property/child.rs"]
mod child;
#[path = "../property/model.rs"]
mod model;
#[path = "../property/outputs.rs"]
mod outputs;
#[path = "../property/passes.rs"]
mod passes;
#[path = "../property/run.rs"]
mod run;
#[path = "../property/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|case: script::Case| run::check(&case));

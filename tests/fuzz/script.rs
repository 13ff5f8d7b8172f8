//! Bytes are a script, which the gather and the model have to follow alike.
//!
//!     cargo +nightly fuzz run --fuzz-dir tests/fuzz script
//!
//! What it finds becomes a line of tests/kit/scripts.txt, which `cargo test --test property` replays:
//!
//!     xxd -p -c 0 tests/fuzz/artifacts/script/FILE >> tests/kit/scripts.txt

#![no_main]

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../kit/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|case: script::Case| script::check(&case));

//! Bytes are a script, which the gather and the model have to follow alike.

#![no_main]

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../kit/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|case: script::Case| script::check(&case));

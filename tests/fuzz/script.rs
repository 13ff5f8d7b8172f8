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

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;

libfuzzer_sys::fuzz_target!(|case: script::Case| {
    // The fuzzer's own hook aborts at any panic. But a group has to panic where a child lies.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| set_hook(Box::new(|_| ())));
    if let Err(finding) = catch_unwind(AssertUnwindSafe(|| run::check(&case))) {
        let message = finding.downcast_ref::<String>().map_or("a panic", String::as_str);
        eprintln!("{message}\n{case:?}");
        std::process::abort();
    }
});

//! What the test suites of other libraries ask for, line by line: asyncio's `gather` and `TaskGroup`, Erlang's supervisor,
//! and others. Apart from `suite`, so that both are built at once.

#![cfg(feature = "alloc")]

#[path = "../suite/kit.rs"]
mod kit;

#[path = "."]
mod conformance {
    mod gather;
    mod others;
    mod supervisor;
    mod taskgroup;
}

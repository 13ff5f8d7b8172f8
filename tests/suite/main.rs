//! The tests of the public surface, by subject. Each folder, and each file in it, is a module:
//!
//! ```text
//! cargo test --test suite                          # all of them
//! cargo test --test suite children::               # a folder
//! cargo test --test suite gather::passes::         # a file
//! cargo test --test suite -- --skip runtimes::     # all but a folder
//! ```
//!
//! What is not here is a binary of its own, for a reason: `allocation` has an allocator that counts; `budget` sends
//! signals to its process; `resources` starts processes, which inherit what is open; `threads` keeps every core busy;
//! `faults` and `property` run longer with a variable; `tracing` needs that feature; `compile_fail` runs the compiler;
//! `conformance` is a binary so that both are built at once. `cargo test` runs `conformance`, `faults` and `property` only
//! when they are named.

// Named, so that it is linked: under ThreadSanitizer everything that embassy-sync could call must be there.
use critical_section as _;

// Only what works without any feature is built without `alloc`.
mod core_only;
#[cfg(feature = "alloc")]
mod kit;

/// One gather: what it promises in each container, under each policy and at each size.
#[cfg(feature = "alloc")]
mod gather {
    mod concurrency;
    mod cut;
    mod handshake;
    mod hook;
    mod passes;
    mod policies;
    mod promises;
    mod reverse;
    pub mod scenario;
    mod sizes;
    mod wakers;
}

/// What can be a child: an adapter, a group, anything of the right type. And what becomes of its memory.
#[cfg(feature = "alloc")]
mod children {
    mod adapters;
    mod cancel_when;
    mod cancellable;
    mod finally;
    mod groups;
    mod outputs;
    mod soundness;
    mod types;
}

/// Children that come from a source while the group runs.
#[cfg(feature = "alloc")]
mod source {
    mod adding;
    mod drawing;
    mod ends;
    mod feed;
    mod in_place;
    mod model;
    mod peers;
    mod places;
}

/// Outputs as they come.
#[cfg(feature = "alloc")]
mod completed {
    mod each;
    mod items;
    mod passes;
    mod scenarios;
}

/// A group that is restarted.
#[cfg(feature = "alloc")]
mod restart {
    mod generations;
    mod report;
}

/// With real executors, and the libraries that are used with them.
#[cfg(feature = "alloc")]
mod runtimes {
    mod cancellable;
    mod executors;
    mod recipes;
    mod scenarios;
    mod tasks;
}

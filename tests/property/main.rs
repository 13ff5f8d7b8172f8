//! Random scripts against a naive model of the promises: order of polls, hooks and drops, outcomes, wakes; of every kind
//! of child, in every container, under every policy and setting.
//!
//! `script` is what a script says, `actors` follow it in a group, `model` and `child` know what the group does with them,
//! `run` has both side by side. 20 000 scripts; more, and others, with
//! `PROPTEST_CASES=1000000 PROPTEST_RNG_SEED=1 cargo test --release --test property`.

#![cfg(feature = "alloc")]

#[path = "../suite/kit.rs"]
mod kit;

mod actors;
mod child;
mod model;
mod outputs;
mod passes;
mod run;
mod script;

use arbitrary::{Arbitrary as _, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use script::{ACTION, ARRAY, BOXED_SLICE, CHILD, Case, HEAD, MOST_ACTIONS, TUPLE};

fn decode(bytes: &[u8]) -> Case {
    Case::arbitrary(&mut Unstructured::new(bytes)).expect("any bytes are a script")
}

/// The bytes part by part, so that a script that fails shrinks by whole children and actions.
fn case() -> impl Strategy<Value = Case> {
    let child = any::<[u8; CHILD]>;
    let children = prop_oneof![
        2 => (Just(TUPLE), vec(child(), 3)),
        2 => (Just(ARRAY), vec(child(), 3)),
        1 => (Just(BOXED_SLICE), vec(child(), 3)),
        5 => vec(child(), 0..8).prop_map(|children| (children.len() as u8, children)),
        1 => vec(child(), 63..68).prop_map(|children| (children.len() as u8, children)),
    ];
    let actions = vec(any::<[u8; ACTION]>(), 1..MOST_ACTIONS);
    (children, any::<[u8; HEAD - 1]>(), actions).prop_map(|((shape, children), settings, actions)| {
        decode(&[&[shape], &settings[..], children.as_flattened(), actions.as_flattened()].concat())
    })
}

#[test]
fn the_gather_does_what_the_model_does() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let cases = number("PROPTEST_CASES").unwrap_or(20_000) as u32;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    // The same scripts in each run, so that a change is the only reason to fail; another seed gives others.
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("PROPTEST_RNG_SEED").unwrap_or(0).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let checked = TestRunner::new_with_rng(config, rng).run(&case(), |case| {
        run::check(&case);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// A script a line, in hexadecimal digits: the corpus of a long run of tests/fuzz.
#[test]
fn scripts_found_by_the_fuzzer_agree_with_the_model() {
    for line in include_str!("scripts.txt").lines() {
        let _at = kit::At(line.into());
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("two digits");
        let bytes: Vec<_> = (0..line.len()).step_by(2).map(byte).collect();
        run::check(&decode(&bytes));
    }
}

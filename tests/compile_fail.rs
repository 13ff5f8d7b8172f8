//! What the compiler says to the mistakes that people will make.
//!
//!     cargo test --test compile_fail -- --ignored

#![cfg(feature = "alloc")]

#[test]
#[ignore = "the messages are those of one version of the compiler"]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

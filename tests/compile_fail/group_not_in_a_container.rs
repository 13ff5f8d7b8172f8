//! A group alone: gathered, and returned by the factory of a restart, which wants children.

use gather::{Limit, gather, restart};
use std::future::ready;

fn main() {
    let _ = gather(gather([ready(Ok::<u8, ()>(1))]));
    let _ = restart(Limit::unlimited(), || gather([ready(Ok::<u8, ()>(1))]));
}

//! Settings that were made before.

use std::future::{pending, ready};

fn main() {
    let one = || gather::gather([ready(Ok::<u8, ()>(1))]);
    let _ = one().cancel_when(pending::<()>()).cancel_when(pending::<()>());
    let _ = one().settle().race();
    let _ = one().report().report();
}

//! Settings that were made before.

use std::future::{pending, ready};

fn main() {
    let one = || gather::gather([ready(Ok::<u8, ()>(1))]);
    let _ = one().cancel_when(pending::<()>()).cancel_when(pending::<()>());
    let _ = one().on_cancel(|_| ()).on_cancel(|_| ());
    let _ = one().cancel_in_reverse().cancel_in_reverse();
    let _ = one().settle().race();
    let _ = one().report().report();
}

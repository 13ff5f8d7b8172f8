//! A `Vec` has one type of child: `BoxChild` makes one of several.

use std::future::ready;

use gather::{CancelExt, gather};

fn main() {
    let work = || ready(Ok::<u8, String>(1));
    let _ = gather(vec![work().shield(), work().on_cancel(|_| ())]);
}

//! Futures of different types in one `Vec`.

use std::future::{pending, ready};

fn main() {
    let _ = gather::gather(vec![ready(Ok::<u8, ()>(1)), pending::<Result<u8, ()>>()]);
}

//! A group where a future is asked for: `.into_future()` makes one of it.

use std::future::ready;

fn main() {
    tokio::spawn(gather::gather((ready(Ok::<u8, String>(1)),)));
    let _: Box<dyn Future<Output = _>> = Box::new(gather::gather((ready(Ok::<u8, String>(1)),)));
}

//! Children of `from_stream_const` without a place for one.

use futures_util::stream;
use std::future::ready;

fn main() {
    let _ = gather::from_stream_const::<0, _>(stream::iter([ready(Ok::<(), ()>(()))]));
}

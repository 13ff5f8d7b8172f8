//! Children of `from_stream_const` of which something would have to be kept, and one without a place.

use futures_util::stream;
use std::future::ready;

async fn values() {
    let _ = gather::gather(gather::from_stream_const::<4, _>(stream::iter([ready(Ok::<u8, ()>(1))]))).await;
}

async fn report() {
    let units = stream::iter([ready(Ok::<(), u8>(()))]);
    let _ = gather::gather(gather::from_stream_const::<4, _>(units)).report().await;
}

fn main() {}

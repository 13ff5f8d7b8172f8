//! A child that returns no `Result`, under fail-fast.

use std::future::ready;

async fn tuple() {
    let _ = gather::gather((ready(1), ready(Ok::<u8, ()>(2)))).await;
}

async fn many() {
    let _ = gather::gather(vec![ready(1)]).await;
}

fn main() {}

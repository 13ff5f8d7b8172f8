//! Children with different types of errors: `map_err` makes them one.

use std::future::ready;

async fn both() {
    let _ = gather::gather((ready(Ok::<u8, String>(1)), ready(Ok::<u8, std::io::Error>(2)))).await;
}

fn main() {}

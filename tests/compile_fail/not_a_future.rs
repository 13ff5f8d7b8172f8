//! A function that was not called, and a value that is no future.

async fn work() -> Result<(), ()> {
    Ok(())
}

fn main() {
    let _ = gather::gather((work, work()));
    let _ = gather::gather(vec![1]);
    let _ = gather::gather(work());
}

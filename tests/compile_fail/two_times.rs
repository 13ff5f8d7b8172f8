//! The same future, gathered twice.

async fn work() -> Result<(), ()> {
    Ok(())
}

fn main() {
    let work = work();
    let _ = gather::gather((work, work));
}

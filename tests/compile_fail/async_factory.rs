//! A factory that is `async`: what needs an `await` to be made is made in the child.

use gather::{Limit, restart};

async fn restarted() {
    let _ = restart(Limit::restarts(1), async || [async { Ok::<(), String>(()) }]).await;
}

fn main() {}

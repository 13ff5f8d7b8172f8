//! Outputs as they come: of several types, under `any`, and consumers that do not fit the policy.

use std::future::ready;

use gather::gather;

fn main() {
    let _ = gather((ready(Ok::<u8, String>(1)), ready(Ok::<(), String>(())))).as_completed();
    let _ = gather([ready(Ok::<u8, String>(1))]).any().as_completed();
    let _ = gather([ready(Ok::<u8, String>(1))]).as_completed().for_each(|_, _| ready(()));
    let _ = gather([ready(1)]).settle().as_completed().try_for_each(|_, _| ready(Ok(())));
}

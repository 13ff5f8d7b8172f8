//! Outputs as they come: of several types, under `any`, and a consumer that does not fit the policy.

use std::future::ready;

use gather::gather;

fn main() {
    let _ = gather((ready(Ok::<u8, String>(1)), ready(Ok::<(), String>(())))).as_completed();
    let _ = gather([ready(Ok::<u8, String>(1))]).any().as_completed();
    let _ = gather([ready(Ok::<u8, String>(1))]).as_completed().for_each(|_, _| ready(()));
}

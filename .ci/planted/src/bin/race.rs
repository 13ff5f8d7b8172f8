use std::cell::UnsafeCell;
use std::thread;

struct Shared(UnsafeCell<u64>);

// SAFETY: none, this is the planted fault.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(UnsafeCell::new(0));

fn count() {
    for _ in 0..1000 {
        // SAFETY: none, two threads do this at once.
        unsafe { *SHARED.0.get() += 1 };
    }
}

fn main() {
    let other = thread::spawn(count);
    count();
    other.join().unwrap();
}

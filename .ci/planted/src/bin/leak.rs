use std::hint::black_box;

/// A function of its own, and many of them, so that no pointer is left on the stack by chance.
#[inline(never)]
fn leak() {
    for number in 0..100_u64 {
        black_box(Box::into_raw(Box::new(number)));
    }
}

fn main() {
    leak();
}

use std::hint::black_box;

fn main() {
    let bytes = black_box([0_u8; 4]);
    // SAFETY: none, there is no such byte.
    black_box(unsafe { bytes.get_unchecked(black_box(4)) });
}

use std::mem::offset_of;

/// Code that takes the one for the other is wrong, and works where their fields lie in the same order.
macro_rules! fields {
    ($($name:ident)*) => {$(
        struct $name {
            _a: u8,
            _b: u16,
            _c: u32,
            _d: u64,
        }

        impl $name {
            const OFFSETS: [usize; 4] =
                [offset_of!($name, _a), offset_of!($name, _b), offset_of!($name, _c), offset_of!($name, _d)];
        }
    )*};
}

fields! { One Other }

fn main() {
    assert_eq!(One::OFFSETS, Other::OFFSETS, "two layouts");
}

use std::hint::black_box;

fn main() {
    let freed = black_box(Box::into_raw(Box::new(1_u64)));
    // SAFETY: none, the second line is the planted fault.
    unsafe {
        drop(Box::from_raw(freed));
        println!("{}", freed.read_volatile());
    }
}

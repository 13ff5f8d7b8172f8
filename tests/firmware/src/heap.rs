//! The allocator.

use core::mem::MaybeUninit;

use embedded_alloc::LlffHeap;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

const SIZE: usize = 6 * 1024;

/// To be called once, before anything is allocated.
pub fn init() {
    static mut MEMORY: [MaybeUninit<u8>; SIZE] = [MaybeUninit::uninit(); SIZE];
    // SAFETY: called once, and nobody else uses the memory.
    unsafe { HEAP.init(&raw mut MEMORY as usize, SIZE) };
}

/// Bytes in use.
pub fn used() -> usize {
    HEAP.used()
}

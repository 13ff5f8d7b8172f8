//! Bytes and allocations for a set of children that yield once, beside the peers. The caller's `Vec` of children is made
//! before counting begins.
//!
//! *Bytes* are all that were asked for, from taking the children to giving the outputs out; *beside the outputs* leaves
//! out the 8 bytes of each output. Where a peer moves the children somewhere else, that counts.

#[expect(dead_code, reason = "what only the other benchmark needs")]
mod peers;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use peers::{JOIN_SET, Outputs, Peer, Yields, drain, run, runtime, spawn, with_each_peer, yielding};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    // Made before it is counted.
    peers::WAKER.with(|_| ());
    println!("| n | | allocations | bytes | bytes a child beside the outputs |");
    println!("|--:|---|--:|--:|--:|");
    for n in [10, 64, 1000, 100_000] {
        with_each_peer!(row(n));
        let runtime = runtime();
        print(n, JOIN_SET, |children| runtime.block_on(async { drain(spawn(children)).await }));
    }
}

fn row<P: Peer>(n: usize) {
    print(n, P::NAME, |children| run(P::join(children)));
}

fn print(n: usize, name: &str, work: impl Fn(Vec<Yields>) -> Outputs) {
    let children = yielding(n, 1);
    let (allocations, bytes) = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let outputs = work(children);
    let (allocations, bytes) =
        (ALLOCATIONS.load(Ordering::Relaxed) - allocations, BYTES.load(Ordering::Relaxed) - bytes);
    assert_eq!(outputs.map(|outputs| outputs.len()), Ok(n));
    let beside = (bytes - n * size_of::<u64>()) as f64 / n as f64;
    println!("| {n} | {name} | {allocations} | {bytes} | {beside:.1} |");
}

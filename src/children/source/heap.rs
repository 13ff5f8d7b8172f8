//! Places on the heap: chunks that are made when children come, and freed when they have gone.
//!
//! Each chunk has a waker block of its own, and never moves, so the waker of a child finds its place by its address. The parent
//! of that block is a child of the *root*, one more waker block, which has a position for the source and one for each chunk. So
//! a wake of a child marks its place in the chunk; if that is the first mark, it marks the chunk in the root; and if that is
//! the first mark there, it wakes the gather. A chunk is armed again as soon as its children had their turn, the root at the
//! end of the poll.
//!
//! Wakers may outlive their child: a late wake costs the next child in that place a needless poll.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::line::{Entries, Entry};
use super::places::{Lend, Places};
use crate::children::array::element;
use crate::readiness::{WIDTH, WakerBlock};

/// The first chunk has this many places; each next one has twice as many, up to [`MOST`].
const FIRST: usize = 8;

/// One less than the width of a word, so that one word of the waker block has a bit for each place and one for its parent.
/// The positions of a chunk are those of a word nevertheless.
const MOST: usize = WIDTH - 1;

/// At the end of a poll that is pending as many empty chunks are kept as there are others, and one more: so a number of
/// children that goes up and down does not allocate each time. Within polls, which draw little by little, so many more.
const MOST_EMPTY: usize = 64;

/// With fewer numbers than this to give up, the tables stay as they are.
const SHRINKS: usize = 64;

/// The position of the source in the root. That of a chunk is one more than its number.
const SOURCE: usize = 0;

/// The places of a source, and what is kept of the children.
pub struct Heap<C, W, K> {
    /// Indexed by their numbers.
    chunks: Vec<Option<Chunk<C, W>>>,
    /// Chunks with children that may have room for more. Numbers without room or without a chunk are skipped.
    roomy: Vec<u32>,
    /// Chunks without children. They are used only if no other has room, so that a chunk with few children may become empty.
    empty: Vec<u32>,
    /// Numbers without a chunk.
    free: Vec<u32>,
    root: WakerBlock,
    /// Whether to poll the source.
    is_source_woken: bool,
    /// Whether the source was pending in this poll, so that a wake of it since then has to wake the parent.
    is_source_pending: bool,
    kept: AllKept<K>,
}

struct Chunk<C, W> {
    entries: Pin<Box<[Entry<C, W>]>>,
    wakers: WakerBlock,
    /// A bit for each vacant place.
    vacant: usize,
    /// Whether its number is in `roomy`.
    is_listed: bool,
}

// Children are pinned in their chunks, never in the handle; what is kept is never pinned.
impl<C, W, K> Unpin for Heap<C, W, K> {}

impl<C, W> Chunk<C, W> {
    fn new(number: u32) -> Self {
        let places = MOST.min(FIRST << number.min(WIDTH.ilog2()));
        let entries: Box<[_]> = (0..places).map(|_| Entry::vacant()).collect();
        let vacant = usize::MAX >> (usize::BITS as usize - places);
        Chunk { entries: entries.into(), wakers: WakerBlock::lasting(places), vacant, is_listed: false }
    }

    fn is_empty(&self) -> bool {
        self.vacant.count_ones() as usize == self.entries.len()
    }

    /// Whether it has a child and room for another one.
    fn is_roomy(&self) -> bool {
        self.vacant != 0 && !self.is_empty()
    }
}

impl<C, W, K> Heap<C, W, K> {
    pub(super) fn new() -> Self {
        Heap {
            chunks: Vec::new(),
            roomy: Vec::new(),
            empty: Vec::new(),
            free: Vec::new(),
            root: WakerBlock::lasting(WIDTH - 1),
            is_source_woken: true,
            is_source_pending: false,
            kept: AllKept::default(),
        }
    }

    fn chunk(&mut self, position: u32) -> (&mut Chunk<C, W>, usize) {
        let (number, offset) = (position as usize / WIDTH, position as usize % WIDTH);
        (self.chunks[number].as_mut().expect("a place in use keeps its chunk"), offset)
    }

    /// The number of a chunk with room.
    fn roomy_chunk(&mut self) -> u32 {
        while let Some(&number) = self.roomy.last() {
            if self.chunks[number as usize].as_ref().is_some_and(Chunk::is_roomy) {
                return number;
            }
            self.roomy.pop();
            if let Some(chunk) = &mut self.chunks[number as usize] {
                chunk.is_listed = false;
            }
        }
        let number = self.empty.pop().unwrap_or_else(|| self.new_chunk());
        self.list(number);
        number
    }

    #[cold]
    fn new_chunk(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            u32::try_from(self.chunks.len() - 1)
                .ok()
                .filter(|number| *number < u32::MAX / WIDTH as u32)
                .expect("capacity overflow")
        });
        if number as usize + 1 >= self.root.children() {
            self.grow_root();
        }
        // So that nothing is allocated when children come and go.
        for numbers in [&mut self.roomy, &mut self.empty, &mut self.free] {
            numbers.reserve(self.chunks.len() - numbers.len());
        }
        self.chunks[number as usize] = Some(Chunk::new(number));
        self.arm(number as usize);
        number
    }

    /// How many chunks have children.
    fn used(&self) -> usize {
        self.chunks.len() - self.free.len() - self.empty.len()
    }

    /// Frees empty chunks until no more than so many are left.
    fn trim(&mut self, most: usize) {
        while self.empty.len() > most {
            if let Some(number) = self.empty.pop() {
                self.chunks[number as usize] = None;
                self.free.push(number);
            }
        }
        if self.free.len() > SHRINKS.max(self.chunks.len() / 4 * 3) {
            self.shrink();
        }
    }

    /// Gives up the numbers behind the last chunk.
    #[cold]
    fn shrink(&mut self) {
        let last = self.chunks.iter().rposition(Option::is_some);
        let count = last.map_or(0, |last| last + 1);
        if count < self.chunks.len() {
            self.chunks.truncate(count);
            for numbers in [&mut self.roomy, &mut self.free] {
                numbers.retain(|number| (*number as usize) < count);
                numbers.shrink_to_fit();
            }
            self.chunks.shrink_to_fit();
            self.empty.shrink_to_fit();
        }
    }

    fn list(&mut self, number: u32) {
        if let Some(chunk) = &mut self.chunks[number as usize] {
            if !mem::replace(&mut chunk.is_listed, true) {
                self.roomy.push(number);
            }
        }
    }

    /// From now on the next child of the chunk that is woken marks the chunk in the root. If one was woken since its turn, the
    /// chunk is marked at once.
    fn arm(&mut self, number: usize) {
        if let Some(Some(chunk)) = self.chunks.get_mut(number) {
            self.root.with_waker(number + 1, |waker| chunk.wakers.rearm(waker));
        }
    }

    /// Makes room for twice as many chunks. Wakes in the old root are seen when the chunks are armed again.
    #[cold]
    fn grow_root(&mut self) {
        self.root = WakerBlock::lasting(2 * self.root.children() + 1);
        self.is_source_woken = true;
        for number in 0..self.chunks.len() {
            self.arm(number);
        }
    }
}

impl<C, W, K> Entries for Heap<C, W, K> {
    type Child = C;
    type Waits = W;

    fn entry(self: Pin<&mut Self>, position: u32) -> Pin<&mut Entry<C, W>> {
        let (chunk, offset) = self.get_mut().chunk(position);
        element(chunk.entries.as_mut(), offset)
    }

    fn peek(&self, position: u32) -> &Entry<C, W> {
        let chunk = self.chunks[position as usize / WIDTH].as_ref();
        &chunk.expect("a place in use keeps its chunk").entries[position as usize % WIDTH]
    }
}

/// Lends the waker of a place.
pub struct PlacesWaker<'a> {
    wakers: &'a mut WakerBlock,
    offset: usize,
}

impl Lend for PlacesWaker<'_> {
    fn lend<R>(&mut self, _: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        self.wakers.with_waker(self.offset, |waker| poll(&mut Context::from_waker(waker)))
    }
}

/// A pass over the woken places.
pub struct Woken {
    /// The positions whose turn is not over.
    ahead: Range<usize>,
    /// The chunk whose children have their turn.
    chunk: Option<usize>,
}

impl<C, W, K> Places for Heap<C, W, K> {
    type Kept = K;
    type AllKept = Vec<K>;
    type Woken = Woken;
    type Lend<'a>
        = PlacesWaker<'a>
    where
        Self: 'a;
    const KNOWS_WOKEN: bool = true;

    fn rearm(self: Pin<&mut Self>, waker: &Waker) {
        let this = self.get_mut();
        // All that could be drawn was drawn.
        this.trim(1 + this.used());
        // If there was no room, or if it has ended, the source was not polled. Its wake then has to wait for room, and must not
        // wake the parent in every poll. If there was room, it was polled after the last child had ended, or the parent is
        // woken for another reason.
        if !mem::take(&mut this.is_source_pending) {
            this.is_source_woken |= this.root.take_woken(SOURCE..SOURCE + 1).is_some();
        }
        this.root.rearm(waker);
    }

    fn poll_source<S: Stream>(self: Pin<&mut Self>, source: Pin<&mut S>, _: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        if this.root.take_woken(SOURCE..SOURCE + 1).is_none() && !this.is_source_woken {
            this.is_source_pending = true;
            return Poll::Pending;
        }
        this.is_source_woken = false;
        let polled = this.root.with_waker(SOURCE, |waker| source.poll_next(&mut Context::from_waker(waker)));
        this.is_source_woken = polled.is_ready();
        this.is_source_pending = polled.is_pending();
        polled
    }

    fn take(self: Pin<&mut Self>) -> u32 {
        let this = self.get_mut();
        let number = this.roomy_chunk();
        let (chunk, _) = this.chunk(number * WIDTH as u32);
        let offset = chunk.vacant.trailing_zeros();
        chunk.vacant &= chunk.vacant - 1;
        number * WIDTH as u32 + offset
    }

    fn give_back(self: Pin<&mut Self>, position: u32) {
        let this = self.get_mut();
        let (chunk, offset) = this.chunk(position);
        chunk.vacant |= 1 << offset;
        let is_empty = chunk.is_empty();
        let number = position / WIDTH as u32;
        if !is_empty {
            return this.list(number);
        }
        this.empty.push(number);
        // For a source that always has more.
        this.trim(MOST_EMPTY + this.used());
    }

    fn lend(self: Pin<&mut Self>, position: u32) -> (Pin<&mut Entry<C, W>>, PlacesWaker<'_>) {
        let (Chunk { entries, wakers, .. }, offset) = self.get_mut().chunk(position);
        (element(entries.as_mut(), offset), PlacesWaker { wakers, offset })
    }

    fn woken(self: Pin<&mut Self>, range: Range<usize>) -> Woken {
        // Including numbers that were given up, as late wakes may have marked them.
        let end = range.end.min(self.root.children() * WIDTH);
        Woken { ahead: range.start..end, chunk: None }
    }

    fn next_woken(self: Pin<&mut Self>, woken: &mut Woken) -> Option<u32> {
        let this = self.get_mut();
        let Woken { ahead, chunk: turn } = woken;
        while ahead.start < ahead.end {
            let Some(number) = *turn else {
                // A chunk has its turn while a part of its range is ahead.
                let (first, end) = (ahead.start / WIDTH, ahead.end.div_ceil(WIDTH));
                let number = this.root.take_woken(first + 1..end + 1)? - 1;
                ahead.start = ahead.start.max(number * WIDTH);
                *turn = Some(number);
                continue;
            };
            let (first, next) = (number * WIDTH, (number + 1) * WIDTH);
            if let Some(Some(chunk)) = this.chunks.get_mut(number) {
                let offsets = ahead.start - first..ahead.end.min(next) - first;
                if let Some(offset) = chunk.wakers.take_woken(offsets) {
                    ahead.start = first + offset + 1;
                    if chunk.vacant & 1 << offset == 0 {
                        return Some((first + offset) as u32);
                    }
                    continue;
                }
            }
            this.arm(number);
            ahead.start = next;
            *turn = None;
        }
        None
    }

    fn stop(self: Pin<&mut Self>, woken: Woken) {
        if let Some(number) = woken.chunk {
            self.get_mut().arm(number);
        }
    }

    fn wake(self: Pin<&mut Self>, position: u32) {
        let (chunk, offset) = self.get_mut().chunk(position);
        chunk.wakers.with_waker(offset, Waker::wake_by_ref);
    }

    fn take_wake(self: Pin<&mut Self>, position: u32) {
        let (chunk, offset) = self.get_mut().chunk(position);
        chunk.wakers.take_wake(offset);
    }

    fn keep(self: Pin<&mut Self>, index: usize, kept: K) {
        self.get_mut().kept.insert(index, kept);
    }

    fn kept(self: Pin<&mut Self>, index: usize) -> Option<&K> {
        self.get_mut().kept.by_index.get(index)?.as_ref()
    }

    fn discard_kept(self: Pin<&mut Self>) {
        drop(mem::take(&mut self.get_mut().kept));
    }

    fn take_kept(self: Pin<&mut Self>) -> Vec<K> {
        mem::take(&mut self.get_mut().kept).into_vec()
    }

    fn clear(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.chunks = Vec::new();
        (this.roomy, this.empty, this.free) = (Vec::new(), Vec::new(), Vec::new());
        this.kept = AllKept::default();
        // It holds the parent's waker, whose destructor may panic.
        this.root = WakerBlock::new(0);
    }
}

/// The kept outputs of all children, in the order in which they were drawn.
struct AllKept<K> {
    by_index: Vec<Option<K>>,
    /// Used instead if `K` is zero-sized, so that the values cannot be told apart and take no memory.
    sizeless: Vec<K>,
}

impl<K> AllKept<K> {
    fn insert(&mut self, index: usize, kept: K) {
        if size_of::<K>() == 0 {
            return self.sizeless.push(kept);
        }
        if self.by_index.len() <= index {
            self.by_index.resize_with(index + 1, || None);
        }
        self.by_index[index] = Some(kept);
    }

    fn into_vec(self) -> Vec<K> {
        if size_of::<K>() == 0 {
            return self.sizeless;
        }
        self.by_index.into_iter().map(|kept| kept.expect("something was kept of every child")).collect()
    }
}

impl<K> Default for AllKept<K> {
    fn default() -> Self {
        AllKept { by_index: Vec::new(), sizeless: Vec::new() }
    }
}

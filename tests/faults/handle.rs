//! What is polled: a future or a stream of any type behind one trait.

use std::any::Any;
use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::FusedFuture;
use futures_util::stream::FusedStream;

/// A gather, a restart or a stream.
pub trait Handle {
    /// A future is ready once, a stream with each item, and with nothing after the last one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held>>;
    fn cancel(&mut self);
    fn is_terminated(&self) -> bool;
    fn is_stream(&self) -> bool;
    fn name(&self) -> &'static str;
    fn show(&self) -> String;
}

/// What it was ready with.
pub struct Held {
    /// The child of an item.
    pub index: Option<usize>,
    pub shown: String,
    pub _output: Box<dyn Any>,
}

struct Boxed<F> {
    name: &'static str,
    inner: Pin<Box<F>>,
    cancel: fn(Pin<&mut F>),
}

/// What is polled as a future.
struct Whole<F>(Boxed<F>);

/// What is polled as a stream.
struct OneByOne<S>(Boxed<S>);

pub fn handle<F>(name: &'static str, group: F) -> Box<dyn Handle>
where
    F: IntoFuture<Output: Debug + 'static, IntoFuture: FusedFuture + Debug + 'static>,
{
    future(name, group.into_future(), |_| unreachable!("nothing cancels it from outside"))
}

pub fn future<F>(name: &'static str, future: F, cancel: fn(Pin<&mut F>)) -> Box<dyn Handle>
where
    F: FusedFuture<Output: Debug + 'static> + Debug + 'static,
{
    Box::new(Whole(Boxed { name, inner: Box::pin(future), cancel }))
}

pub fn stream<S>(stream: S, cancel: fn(Pin<&mut S>)) -> Box<dyn Handle>
where
    S: FusedStream<Item: Item> + Debug + 'static,
{
    Box::new(OneByOne(Boxed { name: "AsCompleted", inner: Box::pin(stream), cancel }))
}

/// An item of a stream.
pub trait Item: Debug + 'static {
    /// The child, unless it is an end.
    fn index(&self) -> Option<usize>;
}

impl<T: Debug + 'static> Item for (usize, T) {
    fn index(&self) -> Option<usize> {
        Some(self.0)
    }
}

impl<T: Item, E: Debug + 'static> Item for Result<T, E> {
    fn index(&self) -> Option<usize> {
        self.as_ref().ok().and_then(Item::index)
    }
}

impl Held {
    fn new(index: Option<usize>, output: impl Debug + 'static) -> Self {
        Held { index, shown: format!("{output:?}"), _output: Box::new(output) }
    }
}

impl<F: FusedFuture<Output: Debug + 'static> + Debug> Handle for Whole<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held>> {
        self.0.inner.as_mut().poll(cx).map(|output| Some(Held::new(None, output)))
    }

    fn cancel(&mut self) {
        (self.0.cancel)(self.0.inner.as_mut());
    }

    fn is_terminated(&self) -> bool {
        self.0.inner.is_terminated()
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        self.0.name
    }

    fn show(&self) -> String {
        format!("{:?}", self.0.inner)
    }
}

impl<S: FusedStream<Item: Item> + Debug> Handle for OneByOne<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held>> {
        self.0.inner.as_mut().poll_next(cx).map(|item| item.map(|item| Held::new(item.index(), item)))
    }

    fn cancel(&mut self) {
        (self.0.cancel)(self.0.inner.as_mut());
    }

    fn is_terminated(&self) -> bool {
        self.0.inner.is_terminated()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        self.0.name
    }

    fn show(&self) -> String {
        format!("{:?}", self.0.inner)
    }
}

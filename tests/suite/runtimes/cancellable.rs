//! A child for tasks whose own `cancel` takes them by value, as smol's and async-std's does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use gather::{Child, OnCancel};
use pin_project::pin_project;

/// Cancelled through `cancel`, whose future resolves when the task is really gone: to its result, if it still had one.
#[pin_project(project = TaskProj, project_replace = TaskOwned)]
pub enum Cancellable<T, C> {
    Running { task: T, cancel: fn(T) -> C },
    Cancelling(#[pin] C),
    Moving,
}

impl<T, C> Child for Cancellable<T, C>
where
    T: Future + Unpin,
    C: Future<Output = Option<T::Output>>,
{
    type Output = T::Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        match self.project() {
            TaskProj::Running { task, .. } => Pin::new(task).poll(cx),
            _ => unreachable!("polled after it was cancelled"),
        }
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        if let TaskOwned::Running { task, cancel } = self.as_mut().project_replace(Cancellable::Moving) {
            self.set(Cancellable::Cancelling(cancel(task)));
        }
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Output>> {
        match self.project() {
            TaskProj::Cancelling(cancelling) => cancelling.poll(cx),
            _ => unreachable!("drained before it was cancelled"),
        }
    }
}

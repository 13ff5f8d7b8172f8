//! What subscribers of the `tracing` feature see. Without the feature nothing of it is compiled in: no field, no event,
//! and the values of events are not computed.
//!
//! A subscriber is foreign code: events and spans stand where nothing is half-written.

#[cfg(feature = "tracing")]
pub(crate) use tracing::Span;

/// Stands in for a span that nobody sees.
#[cfg(not(feature = "tracing"))]
pub(crate) struct Span;

/// An event in the current span: `event!(LEVEL, field = value, field = %displayed; "message")`.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident $(, $field:ident = $(% $displayed:ident)? $($value:expr)?)*; $message:literal) => {
        tracing::event!(
            target: "gather",
            tracing::Level::$level,
            $($field = $(%$displayed)? $($value)?,)*
            $message
        )
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident $(, $field:ident = $(% $displayed:ident)? $($value:expr)?)*; $message:literal) => {{
        // Used, but not computed.
        $(let _ = || { $(let _ = &$displayed;)? $(let _ = $value;)? };)*
    }};
}

/// A span within the current one: `span!(LEVEL, "name", field = value)`.
#[cfg(feature = "tracing")]
macro_rules! span {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)*) => {
        tracing::span!(target: "gather", tracing::Level::$level, $name $(, $field = $value)*)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! span {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)*) => {{
        $(let _ = || $value;)*
        $crate::trace::Span
    }};
}

pub(crate) use {event, span};

/// The span of a gather or a restart, from its first poll to its end.
///
/// Nothing but a stand-in without the feature.
pub(crate) struct Scope {
    /// A subscriber says nothing of its unwind safety, and is not to change the gather's.
    #[cfg(feature = "tracing")]
    span: core::panic::AssertUnwindSafe<Option<Span>>,
    #[cfg(feature = "tracing")]
    is_draining: bool,
}

#[cfg(feature = "tracing")]
impl Scope {
    pub(crate) const fn closed() -> Self {
        Scope { span: core::panic::AssertUnwindSafe(None), is_draining: false }
    }

    pub(crate) fn open(span: Span) -> Self {
        Scope { span: core::panic::AssertUnwindSafe(Some(span)), is_draining: false }
    }

    pub(crate) fn run<R>(&self, step: impl FnOnce() -> R) -> R {
        let entered = self.span.as_ref().map(Span::enter);
        let result = step();
        // Not at the end of the block, as in `Span::in_scope`: a panic of the subscriber there would leak the result.
        drop(entered);
        result
    }

    pub(crate) fn take(&mut self) -> Self {
        Scope { span: core::panic::AssertUnwindSafe(self.span.take()), is_draining: false }
    }

    /// Until the next poll. Who drops it in a drain cuts clean-ups off.
    pub(crate) fn pause(&mut self, scope: Scope, is_draining: bool) {
        *self = scope;
        self.is_draining = is_draining;
    }

    pub(crate) fn close(mut self) {
        *self.span = None;
    }
}

#[cfg(feature = "tracing")]
impl Drop for Scope {
    fn drop(&mut self) {
        if self.span.is_some() {
            self.run(|| {
                if self.is_draining {
                    event!(WARN; "dropped before the end of its drain");
                } else {
                    event!(DEBUG; "dropped before its end");
                }
            });
        }
    }
}

#[cfg(not(feature = "tracing"))]
impl Scope {
    #[inline(always)]
    pub(crate) const fn closed() -> Self {
        Scope {}
    }

    #[inline(always)]
    pub(crate) fn open(_: Span) -> Self {
        Scope {}
    }

    #[inline(always)]
    pub(crate) fn run<R>(&self, step: impl FnOnce() -> R) -> R {
        step()
    }

    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        Scope {}
    }

    #[inline(always)]
    pub(crate) fn pause(&mut self, _: Scope, _: bool) {}

    #[inline(always)]
    pub(crate) fn close(self) {}
}

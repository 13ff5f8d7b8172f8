//! Events and spans of the feature `tracing`. Without the feature there is none of it: no field, no event, and the values of
//! events are not computed.
//!
//! A subscriber is foreign code, so events and spans are placed only between complete steps.

#[cfg(feature = "tracing")]
pub(crate) use tracing::Span;

/// Stands in for a span without subscribers.
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
/// Without the feature an empty stand-in.
pub struct Scope {
    /// A subscriber does not state its unwind safety, and must not change that of the gather.
    #[cfg(feature = "tracing")]
    span: core::panic::AssertUnwindSafe<Option<Span>>,
    #[cfg(feature = "tracing")]
    loses: Loses,
}

/// What is lost of the children's clean-ups when the future is dropped before its end.
#[derive(Clone, Copy)]
pub(crate) enum Loses {
    /// Nothing, as no child would have cleaned up.
    Nothing,
    /// Clean-ups that had not begun.
    CleanUps,
    /// Clean-ups that have begun.
    Drain,
}

/// A scope whose span is the current one.
pub(crate) struct Entered {
    #[cfg(feature = "tracing")]
    span: Option<tracing::span::EnteredSpan>,
}

#[cfg(feature = "tracing")]
impl Scope {
    pub(crate) const fn closed() -> Self {
        Scope { span: core::panic::AssertUnwindSafe(None), loses: Loses::Nothing }
    }

    pub(crate) fn open(span: Span) -> Self {
        Scope { span: core::panic::AssertUnwindSafe(Some(span)), loses: Loses::Nothing }
    }

    pub(crate) fn take(&mut self) -> Self {
        Scope { span: core::panic::AssertUnwindSafe(self.span.take()), loses: Loses::Nothing }
    }

    pub(crate) fn enter(mut self) -> Entered {
        Entered { span: self.span.take().map(Span::entered) }
    }

    /// Until the next poll.
    pub(crate) fn pause(&mut self, scope: Scope, loses: impl FnOnce() -> Loses) {
        *self = scope;
        self.loses = loses();
    }

    pub(crate) fn close(mut self) {
        *self.span = None;
    }
}

#[cfg(feature = "tracing")]
impl Drop for Scope {
    fn drop(&mut self) {
        let Some(span) = self.span.take() else { return };
        span.in_scope(|| match self.loses {
            Loses::Nothing => event!(DEBUG; "dropped before its end"),
            Loses::CleanUps => event!(WARN; "dropped before its end"),
            Loses::Drain => event!(WARN; "dropped before the end of its drain"),
        });
    }
}

#[cfg(feature = "tracing")]
impl Entered {
    pub(crate) fn exit(self) -> Scope {
        Scope { span: core::panic::AssertUnwindSafe(self.span.map(|span| span.exit())), loses: Loses::Nothing }
    }
}

#[cfg(not(feature = "tracing"))]
impl Scope {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) const fn closed() -> Self {
        Scope {}
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn open(_: Span) -> Self {
        Scope {}
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn take(&mut self) -> Self {
        Scope {}
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(self) -> Entered {
        Entered {}
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn pause(&mut self, _: Scope, loses: impl FnOnce() -> Loses) {
        // Used, but not computed.
        let _ = loses;
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn close(self) {}
}

#[cfg(not(feature = "tracing"))]
impl Entered {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn exit(self) -> Scope {
        Scope {}
    }
}

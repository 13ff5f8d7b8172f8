//! The foreign code of a gather: its children, what they end with, and its closures.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use gather::{
    CancelExt, CancelSignal, CancelWhen, Cancellable, Cancelled, Cause, Child, Cleanup, EitherChild, Finally, Group,
    IntoChild, Map, OnCancel, Shield, WithHook, cancellable, gather,
};
use pin_project::{pin_project, pinned_drop};

use crate::matrix::{Place, Who};
use crate::waiter::Waiter;
use crate::world::{Once, world};

/// What a child ends with.
pub type Output = Result<Token, Token>;

/// A value or an error.
pub struct Token {
    place: Place,
    who: Who,
    once: Option<Once>,
}

impl Token {
    fn new(place: Place, who: Who) -> Self {
        Token { place, who, once: Some(Once::new(place, who, false)) }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // From here on it counts as dropped: whoever drops it may still reach the gather that handed it over.
        self.once = None;
        world().visit(self.place, self.who);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.place == Place::ValueDrop { "value" } else { "error" };
        write!(f, "{what} of {:?}", self.who)
    }
}

/// Held by a closure: its drop is that of the closure.
struct Captured {
    place: Place,
    who: Who,
    _once: Once,
}

impl Captured {
    fn new(place: Place, who: Who) -> Self {
        Captured { place, who, _once: Once::new(place, who, place == Place::RestartClosureDrop) }
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        world().visit(self.place, self.who);
    }
}

/// What a future is ready with, from what its gate was opened with.
pub trait Opened {
    fn opened(is_ok: bool, who: Who) -> Self;
}

impl Opened for () {
    fn opened(_: bool, _: Who) {}
}

impl Opened for Output {
    fn opened(is_ok: bool, who: Who) -> Self {
        if is_ok { Ok(Token::new(Place::ValueDrop, who)) } else { Err(Token::new(Place::ErrorDrop, who)) }
    }
}

impl Opened for Result<(), Token> {
    fn opened(is_ok: bool, who: Who) -> Self {
        if is_ok { Ok(()) } else { Err(Token::new(Place::ErrorDrop, who)) }
    }
}

/// A future that is ready when its gate is opened. It waits in the intrusive list.
#[pin_project(PinnedDrop)]
pub struct Subject<O> {
    who: Who,
    polled: Place,
    dropped: Place,
    has_ended: Cell<bool>,
    has_stashed: Cell<bool>,
    #[pin]
    waiter: Waiter,
    _once: Once,
    output: PhantomData<fn() -> O>,
}

impl<O> Subject<O> {
    pub fn new(who: Who, polled: Place, dropped: Place) -> Self {
        Subject {
            who,
            polled,
            dropped,
            has_ended: Cell::new(false),
            has_stashed: Cell::new(false),
            waiter: Waiter::default(),
            _once: Once::new(dropped, who, false),
            output: PhantomData,
        }
    }
}

impl<O: Opened> Future for Subject<O> {
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let world = world();
        let this = self.project();
        if this.has_ended.get() {
            world.blame(format!("{:?} polled after its end", this.who));
        }
        this.waiter.as_ref().link();
        // Those of a closure's futures are the parent's own.
        let is_childs = !matches!(this.who, Who::Each(_));
        let is_at_an_end = this.who.child().is_some_and(|index| index < 2 || index + 1 == world.count.get());
        if is_childs && is_at_an_end && !this.has_stashed.replace(true) {
            // A waker that outlives the future.
            let waker = cx.waker().clone();
            world.stale.borrow_mut().push(waker);
        }
        let polled = world.poll_gate(*this.who, cx);
        world.visit(*this.polled, *this.who);
        polled.map(|is_ok| {
            this.has_ended.set(true);
            O::opened(is_ok, *this.who)
        })
    }
}

#[pinned_drop]
impl<O> PinnedDrop for Subject<O> {
    fn drop(self: Pin<&mut Self>) {
        world().visit(self.dropped, self.who);
    }
}

pub fn child(who: Who) -> Subject<Output> {
    Subject::new(who, Place::ChildPoll, Place::ChildDrop)
}

/// How a child is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Hooked,
    Cleaned,
    Finished,
    Shielded,
    Early,
    Nested,
    Cancellable,
    /// Cancelled by a signal of its own too.
    Watched,
    Either,
}

pub const KINDS: [Kind; 10] = [
    Kind::Plain,
    Kind::Hooked,
    Kind::Cleaned,
    Kind::Finished,
    Kind::Shielded,
    Kind::Early,
    Kind::Nested,
    Kind::Cancellable,
    Kind::Watched,
    Kind::Either,
];

type Hook = Box<dyn FnOnce(Pin<&mut Subject<Output>>)>;
type MakeCleanup = Box<dyn FnOnce() -> Subject<()>>;
type Inner = Vec<Shield<Subject<Output>>>;
type Join = Box<dyn FnOnce(Result<Vec<Token>, Token>) -> Output>;
type Own = CancelWhen<Finally<Subject<Output>, MakeCleanup, Subject<()>>, Subject<()>>;
type Unwrap = Box<dyn FnOnce(Result<Output, Cancelled>) -> Output>;

/// A child of any kind, in place: nothing of it is boxed but its closures.
#[pin_project(PinnedDrop)]
pub struct AnyChild {
    index: usize,
    #[pin]
    child: OfKind,
    /// Dropped last.
    turn: Option<Turn>,
}

#[pin_project(project = OfKindProj)]
enum OfKind {
    Plain(#[pin] Subject<Output>),
    Hooked(#[pin] WithHook<Subject<Output>, Hook>),
    Cleaned(#[pin] Cleanup<Subject<Output>, MakeCleanup, Subject<()>>),
    Finished(#[pin] Finally<Subject<Output>, MakeCleanup, Subject<()>>),
    Shielded(#[pin] Shield<Subject<Output>>),
    Early(#[pin] Early),
    Nested(#[pin] Map<<Group<Inner> as IntoChild>::Child, Join, Output>),
    Cancellable(#[pin] Cancellable<Told>),
    Watched(#[pin] Map<Own, Unwrap, Output>),
    Either(#[pin] EitherChild<Shield<Subject<Output>>, Cleanup<Subject<Output>, MakeCleanup, Subject<()>>>),
}

/// Written by hand: shows its output before it has ended.
#[pin_project]
struct Early {
    who: Who,
    #[pin]
    work: Subject<Output>,
    known: Option<Output>,
    #[pin]
    rest: Subject<()>,
}

impl Child for Early {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let this = self.project();
        if this.known.is_none() {
            *this.known = Some(ready!(this.work.poll(cx)));
        }
        ready!(this.rest.poll(cx));
        Poll::Ready(this.known.take().expect("looked at above"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        world().visit(Place::Hook, self.who);
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        let this = self.project();
        ready!(this.rest.poll(cx));
        Poll::Ready(this.known.take())
    }

    fn output(self: Pin<&mut Self>) -> Option<&Output> {
        let this = self.project();
        world().visit(Place::Output, *this.who);
        this.known.as_ref()
    }

    fn take_output(self: Pin<&mut Self>) -> Option<Output> {
        let this = self.project();
        world().visit(Place::TakeOutput, *this.who);
        this.known.take()
    }
}

/// As long as it lives it is the turn of this child.
struct Turn(Option<usize>);

impl Turn {
    fn of(index: usize) -> Self {
        Turn(world().turn.replace(Some(index)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        world().turn.set(self.0);
    }
}

// A closure drops what it has captured before it makes its result. If that drop panicked after it, the result would leak,
// wherever the closure is called (rust-lang/rust#47949).

fn clean_up(index: usize) -> Subject<()> {
    Subject::new(Who::Cleanup(index), Place::CleanupPoll, Place::CleanupDrop)
}

fn make_clean_up(index: usize) -> MakeCleanup {
    let captured = Captured::new(Place::CleanupFactoryDrop, Who::Child(index));
    Box::new(move || {
        world().visit(Place::CleanupFactory, Who::Child(index));
        drop(captured);
        clean_up(index)
    })
}

/// Another waiter for a child's signal: a waker that is made by hand.
struct Listener {
    who: Who,
    is_woken: Arc<AtomicBool>,
    _once: Once,
}

impl Wake for Listener {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        world().visit(Place::WaiterWake, self.who);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        world().visit(Place::WaiterDrop, self.who);
    }
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Works until its signal is set, then cleans up. Not an `async` block: what that ends with leaks if something in it panics
/// while it is dropped (rust-lang/rust#47949).
#[pin_project]
struct Told {
    who: Who,
    told: Wait,
    /// Waits too, with a waker of its own.
    listens: Wait,
    has_listened: bool,
    is_woken: Arc<AtomicBool>,
    #[pin]
    stage: Stage,
    _captured: Captured,
}

#[pin_project(project = StageProj)]
enum Stage {
    Work(#[pin] Subject<Output>),
    CleanUp(#[pin] Subject<()>),
}

impl Future for Told {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let mut this = self.project();
        let who = *this.who;
        let is_working = matches!(*this.stage, Stage::Work(_));
        let is_told = is_working && this.told.as_mut().poll(cx).is_ready();
        if !mem::replace(this.has_listened, true) {
            let listener =
                Listener { who, is_woken: this.is_woken.clone(), _once: Once::new(Place::WaiterDrop, who, false) };
            let listener = Waker::from(Arc::new(listener));
            let _ = this.listens.as_mut().poll(&mut Context::from_waker(&listener));
        }
        if let StageProj::Work(work) = this.stage.as_mut().project() {
            if !is_told {
                return work.poll(cx);
            }
            if !this.is_woken.load(Ordering::Relaxed) {
                world().blame(format!("{who:?} was told, and one that waits for its signal was not woken"));
            }
            this.stage.set(Stage::CleanUp(clean_up(who.child().expect("it is a child's"))));
        }
        if let StageProj::CleanUp(clean_up) = this.stage.project() {
            ready!(clean_up.poll(cx));
        }
        Poll::Ready(Output::opened(world().keeps_ok.get(), who))
    }
}

fn told_by_signal(who: Who) -> Cancellable<Told> {
    let captured = Captured::new(Place::MakeDrop, who);
    // Called at once: by a factory or a source, or before there is a gather.
    let is_within = world().polling.get() > 0;
    cancellable(move |cancel| {
        if is_within {
            world().visit(Place::Make, who);
        }
        let wait = |cancel: CancelSignal| -> Wait { Box::pin(async move { cancel.cancelled().await }) };
        let (told, listens) = (wait(cancel.clone()), wait(cancel));
        Told {
            who,
            told,
            listens,
            has_listened: false,
            is_woken: Arc::default(),
            stage: Stage::Work(child(who)),
            _captured: captured,
        }
    })
}

impl OfKind {
    fn new(kind: Kind, index: usize) -> Self {
        let who = Who::Child(index);
        match kind {
            Kind::Plain => OfKind::Plain(child(who)),
            Kind::Hooked => {
                let captured = Captured::new(Place::HookDrop, who);
                let hook = move |_: Pin<&mut _>| {
                    let _captured = captured;
                    world().visit(Place::Hook, who);
                };
                OfKind::Hooked(child(who).on_cancel(Box::new(hook)))
            }
            Kind::Cleaned => OfKind::Cleaned(child(who).cleanup(make_clean_up(index))),
            Kind::Finished => OfKind::Finished(child(who).finally(make_clean_up(index))),
            Kind::Shielded => OfKind::Shielded(child(who).shield()),
            Kind::Early => OfKind::Early(Early { who, work: child(who), known: None, rest: clean_up(index) }),
            Kind::Nested => {
                let inner: Inner = (0..2).map(|place| child(Who::Inner(index, place)).shield()).collect();
                let captured = Captured::new(Place::HookDrop, who);
                let join = move |result: Result<Vec<Token>, Token>| {
                    world().visit(Place::Map, who);
                    drop(captured);
                    result.map(|mut values| {
                        let last = values.pop().expect("of two children");
                        drop(values);
                        last
                    })
                };
                OfKind::Nested(gather(inner).map(Box::new(join)))
            }
            Kind::Cancellable => OfKind::Cancellable(told_by_signal(who)),
            Kind::Watched => {
                let captured = Captured::new(Place::HookDrop, who);
                let unwrap = move |result: Result<Output, Cancelled>| {
                    world().visit(Place::Map, who);
                    drop(captured);
                    result.unwrap_or_else(|_| Output::opened(world().keeps_ok.get(), who))
                };
                let signal = Subject::new(Who::Own(index), Place::OwnSignalPoll, Place::OwnSignalDrop);
                let child = child(who).finally(make_clean_up(index)).cancel_when(signal);
                OfKind::Watched(child.map(Box::new(unwrap)))
            }
            Kind::Either if index % 2 == 0 => OfKind::Either(EitherChild::Left(child(who).shield())),
            Kind::Either => OfKind::Either(EitherChild::Right(child(who).cleanup(make_clean_up(index)))),
        }
    }
}

impl AnyChild {
    pub fn new(kind: Kind, index: usize) -> Self {
        AnyChild { index, child: OfKind::new(kind, index), turn: None }
    }
}

#[pinned_drop]
impl PinnedDrop for AnyChild {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        *this.turn = Some(Turn::of(*this.index));
    }
}

macro_rules! each_kind {
    ($child:expr, |$inner:ident| $call:expr) => {{
        let this = $child.project();
        let _turn = Turn::of(*this.index);
        match this.child.project() {
            OfKindProj::Plain($inner) => $call,
            OfKindProj::Hooked($inner) => $call,
            OfKindProj::Cleaned($inner) => $call,
            OfKindProj::Finished($inner) => $call,
            OfKindProj::Shielded($inner) => $call,
            OfKindProj::Early($inner) => $call,
            OfKindProj::Nested($inner) => $call,
            OfKindProj::Cancellable($inner) => $call,
            OfKindProj::Watched($inner) => $call,
            OfKindProj::Either($inner) => $call,
        }
    }};
}

impl Child for AnyChild {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        each_kind!(self, |child| child.poll_child(cx))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        each_kind!(self, |child| child.cancel())
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        each_kind!(self, |child| child.poll_drain(cx))
    }

    fn output(self: Pin<&mut Self>) -> Option<&Output> {
        each_kind!(self, |child| child.output())
    }

    fn take_output(self: Pin<&mut Self>) -> Option<Output> {
        each_kind!(self, |child| child.take_output())
    }
}

pub fn signal() -> Subject<()> {
    Subject::new(Who::Signal, Place::SignalPoll, Place::SignalDrop)
}

/// A closure for a gather's `on_cancel`.
pub fn hook_once() -> impl FnOnce(Cause) {
    let captured = Captured::new(Place::GroupHookDrop, Who::Group);
    move |_| {
        let _captured = captured;
        world().visit(Place::GroupHook, Who::Group);
    }
}

/// A closure for a gather's `grace`.
pub fn grace_once() -> impl FnOnce() -> Subject<()> {
    let captured = Captured::new(Place::GraceFactoryDrop, Who::Grace);
    move || {
        world().visit(Place::GraceFactory, Who::Grace);
        drop(captured);
        grace()
    }
}

pub fn grace() -> Subject<()> {
    Subject::new(Who::Grace, Place::GracePoll, Place::GraceDrop)
}

/// The future of a closure of `for_each` or `try_for_each`: owns what was handed over.
#[pin_project]
pub struct Handed<I, O> {
    #[pin]
    work: Subject<O>,
    _item: I,
}

impl<I, O: Opened> Future for Handed<I, O> {
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        self.project().work.poll(cx)
    }
}

/// A closure for `for_each` or `try_for_each`.
pub fn each<I: fmt::Debug, O: Opened>() -> impl FnMut(usize, I) -> Handed<I, O> {
    let captured = Captured::new(Place::EachDrop, Who::Group);
    move |index, item| {
        let _captured = &captured;
        let who = Who::Each(index);
        world().hand_over(Some(index), format!("{item:?}"));
        world().visit(Place::Each, who);
        Handed { work: Subject::new(who, Place::EachFuturePoll, Place::EachFutureDrop), _item: item }
    }
}

/// A closure of a restart: calls `act` in this place.
pub fn closure<R>(place: Place, who: Who, act: impl Fn() -> R) -> impl FnMut() -> R {
    let captured = Captured::new(Place::RestartClosureDrop, who);
    move || {
        let _captured = &captured;
        world().visit(place, who);
        act()
    }
}

pub fn backoff() -> Subject<()> {
    Subject::new(Who::Backoff, Place::BackoffPoll, Place::BackoffDrop)
}

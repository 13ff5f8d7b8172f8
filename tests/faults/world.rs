//! What the foreign code around a gather shares, one for each thread: where a fault is planted, who is alive, the gates, and
//! the gather's handle.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::handle::{Handle, Held};
use crate::matrix::{Act, Fault, Phase, Place, Visit, Who};
use crate::parent;
use crate::waiter::List;

/// The payload of a planted panic.
struct Planted;

/// Opened by hand with a child's success or failure; whoever waits for it is woken.
#[derive(Default)]
struct Gate {
    value: Option<bool>,
    waker: Option<Waker>,
}

/// What must be dropped exactly once.
struct Part {
    place: Place,
    who: Who,
    drops: usize,
    /// Lives as long as the handle, also of one that has ended.
    is_of_handle: bool,
}

#[derive(Default)]
pub struct World {
    // What is set for a run.
    pub count: Cell<usize>,
    pub faults: RefCell<Vec<Fault>>,
    pub notes_phase: Cell<bool>,
    pub restart_when: Cell<bool>,
    /// Whether a child that does not stop the gather succeeds.
    pub keeps_ok: Cell<bool>,
    /// Whether children are polled with wakers of their own.
    pub has_own_wakers: Cell<bool>,
    /// Whether something is handed over of every child.
    pub hands_over_all: Cell<bool>,

    // What happened.
    pub visits: RefCell<Vec<Visit>>,
    pub fired: Cell<usize>,
    pub caught: Cell<usize>,
    pub blames: RefCell<Vec<String>>,
    pub shown: RefCell<Option<String>>,
    /// What was handed over before the end, and of which children.
    pub handed: RefCell<Vec<(Option<usize>, String)>>,
    /// How many children there were, or were drawn.
    pub drawn: Cell<usize>,
    /// The group's hook was called.
    is_cancelled: Cell<bool>,
    /// Whose drops came since the panic, and whose panic it was.
    dropped_since: RefCell<Vec<usize>>,
    /// The same, while a source was alive.
    dropped_before_source: RefCell<Vec<usize>>,
    /// The gather's handle is being dropped.
    is_dropping: Cell<bool>,
    /// In the current poll or drop.
    panicked: Cell<Option<Option<usize>>>,
    /// The child that is being polled, told or dropped.
    pub turn: Cell<Option<usize>>,

    // Who is there.
    pub list: List,
    parts: RefCell<Vec<Part>>,
    gates: RefCell<Vec<Gate>>,
    pub stale: RefCell<Vec<Waker>>,
    slot: RefCell<Option<Box<dyn Handle>>>,
    forgotten: RefCell<Option<(Box<dyn Handle>, Vec<usize>)>>,
    pub held: RefCell<Option<Held>>,

    // How it is polled.
    phase: Cell<Option<Phase>>,
    pub polling: Cell<usize>,
    polls: Cell<usize>,
    pub is_woken: Cell<bool>,
    /// Which of the parents polled last.
    pub parent: Cell<usize>,
    pub parents_alive: [Cell<isize>; 2],
    generations: Cell<usize>,
    is_signal_alive: Cell<bool>,
    /// The sources that are alive.
    sources: Cell<usize>,
    has_ended: Cell<bool>,
    is_poisoned: Cell<bool>,
}

thread_local! {
    static WORLD: RefCell<Rc<World>> = RefCell::default();
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

pub fn world() -> Rc<World> {
    WORLD.with(|world| world.borrow().clone())
}

/// Keeps planted panics out of the output.
pub fn quiet_hook() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !IS_QUIET.get() {
            hook(info);
        }
    }));
}

impl World {
    pub fn renew(count: usize, faults: &[Fault]) -> Rc<World> {
        let world = World {
            count: Cell::new(count),
            faults: RefCell::new(faults.to_vec()),
            restart_when: Cell::new(true),
            ..World::default()
        };
        world.gates.borrow_mut().resize_with(6 * count + 4, Gate::default);
        WORLD.set(Rc::new(world));
        self::world()
    }

    pub fn blame(&self, what: String) {
        self.blames.borrow_mut().push(what);
    }

    // Foreign code.

    /// Called by all foreign code: here the faults happen.
    pub fn visit(&self, place: Place, who: Who) {
        // Of many each step walks.
        if self.count.get() <= 3 {
            self.list.walk();
        }
        let number = self.visits.borrow().len();
        let phase = self.phase.get().unwrap_or(Phase::After);
        let in_reach = self.slot.borrow().is_some();
        let unwinding = thread::panicking();
        let wakes_itself = who == Who::Parent || self.has_waker(who);
        let wakes_siblings = self.siblings_of(who).iter().any(|sibling| self.has_waker(*sibling));
        let signals = self.is_signal_alive.get() || self.has_waker(Who::Signal);
        let visit = Visit { place, who, phase, in_reach, unwinding, wakes_itself, wakes_siblings, signals };
        self.visits.borrow_mut().push(visit);

        if self.is_poisoned.get() && !place.is_of_teardown() {
            self.blame(format!("{place:?} of {who:?} after a panic"));
        }
        if let (true, Place::ChildDrop | Place::CleanupDrop, Some(index)) =
            (self.panicked.get().is_some(), place, who.child())
        {
            self.dropped_since.borrow_mut().push(index);
        }
        if self.sources.get() != 0 {
            self.visit_before_source(place, who);
        }
        match place {
            Place::GroupHook => self.is_cancelled.set(true),
            Place::Each if self.is_cancelled.get() && !self.hands_over_all.get() => {
                self.blame(format!("{who:?} is called after the cause"));
            }
            // After the children.
            Place::EachFutureDrop if self.is_torn_down() => {
                self.blame_alive("when the future of the closure was dropped", |place, _| place == Place::ChildDrop);
            }
            _ => {}
        }

        let planted = self.faults.borrow().iter().find(|fault| fault.visit == number).copied();
        if let Some(fault) = planted {
            self.fired.set(self.fired.get() + 1);
            self.act(fault.act, who);
        }
    }

    /// While a source is alive. It is dropped before the group's hook runs, and where all is dropped it is the first.
    fn visit_before_source(&self, place: Place, who: Who) {
        if matches!(place, Place::GroupHook | Place::GraceFactory | Place::GracePoll) {
            self.blame(format!("{place:?}, but the source is there"));
        }
        if let (true, Place::ChildDrop, Some(index)) = (self.is_torn_down(), place, who.child()) {
            self.dropped_before_source.borrow_mut().push(index);
        }
    }

    fn is_torn_down(&self) -> bool {
        self.panicked.get().is_some() || self.is_dropping.get()
    }

    fn act(&self, act: Act, who: Who) {
        match act {
            Act::Panic => {
                if self.panicked.get().is_none() {
                    self.panicked.set(Some(who.child().or(self.turn.get())));
                }
                self.is_poisoned.set(self.is_poisoned.get() || self.polling.get() > 0);
                panic_any(Planted);
            }
            Act::WakeItself => match who {
                Who::Parent => self.wake_parent(),
                who => self.wake(who),
            },
            Act::WakeSiblings => {
                for sibling in self.siblings_of(who) {
                    self.wake(sibling);
                }
            }
            Act::WakeParent => self.wake_parent(),
            Act::FireSignal => {
                self.set(Who::Signal, true);
                self.wake(Who::Signal);
            }
            Act::Drop => drop(self.take_handle()),
            Act::Forget => self.forget_handle(),
            Act::Poll => self.poll(),
        }
    }

    fn siblings_of(&self, who: Who) -> [Who; 2] {
        let count = self.count.get();
        let index = who.child().unwrap_or(0);
        [(index + count - 1) % count, (index + 1) % count].map(Who::Child)
    }

    fn wake_parent(&self) {
        parent::lent(self.parent.get()).wake_by_ref();
    }

    // Gates.

    fn gate_of(&self, who: Who) -> Option<usize> {
        let count = self.count.get();
        Some(match who {
            Who::Child(index) => index,
            Who::Cleanup(index) => count + index,
            Who::Inner(index, place) => 2 * count + 2 * index + place,
            Who::Own(index) => 4 * count + index,
            Who::Source => 5 * count,
            Who::Signal => 5 * count + 1,
            Who::Grace => 5 * count + 2,
            Who::Backoff => 5 * count + 3,
            Who::Each(index) => 5 * count + 4 + index,
            Who::Parent | Who::Group => return None,
        })
    }

    pub fn poll_gate(&self, who: Who, cx: &mut Context<'_>) -> Poll<bool> {
        let gate = self.gate_of(who).expect("it has a gate");
        let taken = self.gates.borrow_mut()[gate].value.take();
        if let Some(value) = taken {
            return Poll::Ready(value);
        }
        let old = self.gates.borrow_mut()[gate].waker.take();
        let new = match old {
            Some(old) if old.will_wake(cx.waker()) => old,
            _ => cx.waker().clone(),
        };
        let replaced = self.gates.borrow_mut()[gate].waker.replace(new);
        drop(replaced);
        Poll::Pending
    }

    pub fn set(&self, who: Who, value: bool) {
        let gate = self.gate_of(who).expect("it has a gate");
        self.gates.borrow_mut()[gate].value = Some(value);
    }

    /// For the children of a restart: of all generations but the first the gates are closed again.
    pub fn begin_generation(&self) {
        if self.generations.replace(self.generations.get() + 1) == 0 {
            return;
        }
        for gate in self.gates.borrow_mut()[..5 * self.count.get() + 1].iter_mut() {
            gate.value = None;
        }
    }

    /// Wakes who waits: gates of even number by value, the others by reference. Of a nested child both of its own.
    pub fn wake(&self, who: Who) {
        struct PutBack<'a>(&'a World, usize, Option<Waker>);

        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                let replaced = {
                    let slot = &mut self.0.gates.borrow_mut()[self.1].waker;
                    match slot {
                        Some(_) => self.2.take(),
                        None => mem::replace(slot, self.2.take()),
                    }
                };
                drop(replaced);
            }
        }

        let Some(gate) = self.gate_of(who) else { return };
        let waker = self.gates.borrow_mut()[gate].waker.take();
        if let Some(waker) = waker {
            if gate % 2 == 0 {
                waker.wake();
            } else {
                let lent = PutBack(self, gate, Some(waker));
                lent.2.as_ref().expect("not dropped").wake_by_ref();
            }
        }
        if let Who::Child(index) = who {
            self.wake(Who::Inner(index, 0));
            self.wake(Who::Inner(index, 1));
        }
    }

    fn take_waker(&self, gate: usize) -> Option<Waker> {
        self.gates.borrow_mut()[gate].waker.take()
    }

    fn has_waker(&self, who: Who) -> bool {
        let has = |who| self.gate_of(who).is_some_and(|gate| self.gates.borrow()[gate].waker.is_some());
        match who {
            Who::Child(index) => has(who) || has(Who::Inner(index, 0)) || has(Who::Inner(index, 1)),
            who => has(who),
        }
    }

    // Who is alive.

    pub fn add_part(&self, place: Place, who: Who, is_of_handle: bool) -> usize {
        match place {
            Place::SignalDrop => self.is_signal_alive.set(true),
            Place::SourceDrop => self.sources.set(self.sources.get() + 1),
            _ => {}
        }
        self.parts.borrow_mut().push(Part { place, who, drops: 0, is_of_handle });
        self.parts.borrow().len() - 1
    }

    /// Whether it is the first time.
    pub fn drop_part(&self, number: usize) -> bool {
        let Part { place, who, drops, .. } = &mut self.parts.borrow_mut()[number];
        *drops += 1;
        match place {
            Place::SignalDrop => self.is_signal_alive.set(false),
            Place::SourceDrop if *drops == 1 => self.sources.set(self.sources.get() - 1),
            _ => {}
        }
        if *drops > 1 {
            self.blame(format!("{drops} times: {place:?} of {who:?}"));
        }
        if self.forgotten.borrow().as_ref().is_some_and(|(_, alive)| alive.contains(&number)) {
            self.blame(format!("{place:?} of {who:?}, which was forgotten"));
        }
        *drops == 1
    }

    fn alive(&self, which: impl Fn(Place, bool) -> bool) -> Vec<usize> {
        let parts = self.parts.borrow();
        let is_alive = |number: &usize| {
            let Part { place, drops, is_of_handle, .. } = parts[*number];
            drops == 0 && which(place, is_of_handle)
        };
        (0..parts.len()).filter(is_alive).collect()
    }

    fn blame_alive(&self, when: &str, which: impl Fn(Place, bool) -> bool) {
        for number in self.alive(which) {
            let Part { place, who, .. } = self.parts.borrow()[number];
            self.blame(format!("{when} not yet: {place:?} of {who:?}"));
        }
    }

    // What is done with the handle from outside.

    /// Calls what may panic, as it may when a panic is planted. `None`: it did.
    pub fn attempt<R>(&self, call: impl FnOnce() -> R) -> Option<R> {
        match self.catch(call) {
            Ok(result) => Some(result),
            Err(Some(message)) => {
                self.blame(format!("panicked: {message}"));
                None
            }
            Err(None) => None,
        }
    }

    /// `Err` holds the message, where it was not a planted panic.
    fn catch<R>(&self, call: impl FnOnce() -> R) -> Result<R, Option<String>> {
        let was_quiet = IS_QUIET.replace(true);
        let result = catch_unwind(AssertUnwindSafe(call));
        IS_QUIET.set(was_quiet);
        result.map_err(|payload| {
            if payload.is::<Planted>() {
                self.caught.set(self.caught.get() + 1);
                return None;
            }
            let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
            Some(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or("?".into()))
        })
    }

    pub fn put_handle(&self, handle: Box<dyn Handle>) {
        *self.slot.borrow_mut() = Some(handle);
    }

    fn take_handle(&self) -> Option<Box<dyn Handle>> {
        self.slot.borrow_mut().take()
    }

    fn forget_handle(&self) {
        let Some(handle) = self.take_handle() else { return };
        let has_ended = self.has_ended.get();
        let alive = self.alive(|_, is_of_handle| is_of_handle || !has_ended);
        *self.forgotten.borrow_mut() = Some((handle, alive));
    }

    pub fn is_pending(&self) -> bool {
        self.slot.borrow().is_some() && !self.has_ended.get() && !self.is_poisoned.get()
    }

    /// Called before each call from outside.
    fn note_phase(&self) {
        if !self.notes_phase.get() {
            return;
        }
        let shown = self.slot.borrow().as_ref().map(|handle| handle.show()).unwrap_or_default();
        let phase = if shown.contains("state: BackingOff") || shown.contains("state: Between") {
            Phase::Between
        } else if shown.contains("state: Unpolled") || shown.contains("phase: Unpolled") {
            Phase::Unpolled
        } else if shown.contains("phase: Running") {
            if self.sources.get() == 0 { Phase::Running } else { Phase::Drawing }
        } else if shown.contains("phase: Draining") {
            Phase::Draining
        } else {
            Phase::After
        };
        self.phase.set(Some(phase));
    }

    /// One poll, of a gather that is there, pending or not.
    pub fn poll(&self) {
        if !self.is_pending() {
            return self.poll_after_end();
        }
        let Some(handle) = self.take_handle() else { return };
        let is_stream = handle.is_stream();
        self.is_woken.set(false);
        self.polls.set(self.polls.get() + 1);
        // Sometimes the same parent as before, sometimes another one.
        self.parent.set(self.polls.get() / 2 % 2);
        let waker = parent::lent(self.parent.get());
        let (polled, is_terminated) = self.call(handle, |handle| handle.poll(&mut Context::from_waker(&waker)));
        match polled {
            Some(Poll::Pending) => {
                if is_terminated {
                    self.blame("terminated, but pending".into());
                }
            }
            Some(Poll::Ready(Some(item))) if is_stream && !is_terminated => {
                self.hand_over(item.index, item.shown.clone());
                self.is_woken.set(true);
                self.attempt(|| drop(item));
            }
            Some(Poll::Ready(held)) => {
                self.has_ended.set(true);
                if !is_terminated {
                    self.blame("ready, but not terminated".into());
                }
                self.check_handed();
                let is_output = |place| matches!(place, Place::ValueDrop | Place::ErrorDrop);
                self.blame_alive("when it was ready", |place, is_of_handle| !is_of_handle && !is_output(place));
                let outputs = self.alive(|place, _| is_output(place)).len();
                let shown = held.as_ref().map(|held| held.shown.clone()).unwrap_or_default();
                let count = shown.matches("value ").count() + shown.matches("error ").count();
                if outputs != count {
                    self.blame(format!("{outputs} outputs are alive, {count} were handed over: {shown}"));
                }
                // In which order they come may depend on who was polled last.
                let mut handed = self.handed.borrow().clone();
                handed.sort();
                let all = handed.into_iter().map(|(_, shown)| shown).chain([shown]).collect::<Vec<_>>();
                *self.shown.borrow_mut() = Some(all.join(", "));
                *self.held.borrow_mut() = held;
            }
            None => self.check_panicked(is_terminated),
        }
    }

    /// Cancels it from outside.
    pub fn cancel(&self) {
        self.note_phase();
        if !self.is_pending() {
            return;
        }
        let Some(handle) = self.take_handle() else { return };
        match self.call(handle, |handle| handle.cancel()) {
            (Some(()), _) => self.is_woken.set(true),
            (None, is_terminated) => self.check_panicked(is_terminated),
        }
    }

    /// A call of the handle, which is away meanwhile. `None`: it panicked. And whether it is terminated then.
    fn call<T>(&self, mut handle: Box<dyn Handle>, call: impl FnOnce(&mut dyn Handle) -> T) -> (Option<T>, bool) {
        self.polling.set(self.polling.get() + 1);
        self.begin_call();
        let result = self.attempt(|| call(&mut *handle));
        self.polling.set(self.polling.get() - 1);
        let is_terminated = handle.is_terminated();
        self.put_handle(handle);
        self.list.walk();
        (result, is_terminated)
    }

    fn check_panicked(&self, is_terminated: bool) {
        if !is_terminated {
            self.blame("panicked, but not terminated".into());
        }
        self.blame_alive("when the panic left the poll", |_, is_of_handle| !is_of_handle);
        self.check_order();
    }

    /// An output is handed over before the end.
    pub fn hand_over(&self, index: Option<usize>, shown: String) {
        self.handed.borrow_mut().push((index, shown));
    }

    /// At the end: of no child twice, and of all that must be.
    fn check_handed(&self) {
        let handed = self.handed.borrow();
        let indices: BTreeSet<_> = handed.iter().map(|(index, _)| *index).collect();
        let is_wrong = indices.contains(&None) || indices.len() != handed.len();
        if is_wrong || (self.hands_over_all.get() && handed.len() != self.drawn.get()) {
            self.blame(format!("of {} children these were handed over: {handed:?}", self.drawn.get()));
        }
    }

    fn begin_call(&self) {
        self.panicked.set(None);
        self.dropped_since.take();
        self.dropped_before_source.take();
    }

    /// The source was dropped first, then the other children in index order.
    fn check_order(&self) {
        let panicked = self.panicked.get();
        let early = self.dropped_before_source.take();
        if early.iter().any(|index| Some(*index) != panicked.flatten()) {
            self.blame(format!("dropped before the source: {early:?}"));
        }
        let Some(own) = panicked else { return };
        let mut dropped = self.dropped_since.take();
        dropped.retain(|index| Some(*index) != own);
        if !dropped.is_sorted() {
            self.blame(format!("dropped in this order: {dropped:?}"));
        }
    }

    /// It refuses to be polled, and says why; a stream that has ended gives nothing.
    fn poll_after_end(&self) {
        let Some(mut handle) = self.take_handle() else { return };
        let why = if self.has_ended.get() { "completion" } else { "a panic" };
        let message = format!("`{}` polled after {why}", handle.name());
        let gives_nothing = handle.is_stream() && self.has_ended.get();
        match self.catch(|| matches!(handle.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(None))) {
            Err(Some(text)) if text == message && !gives_nothing => {}
            Ok(true) if gives_nothing => {}
            other => self.blame(format!("polled again: {other:?}")),
        }
        self.put_handle(handle);
    }

    /// Polls as long as it is woken.
    pub fn drive(&self) {
        let (mut polls, mut handed) = (0, 0);
        while self.is_woken.get() && self.is_pending() {
            polls += 1;
            if self.handed.borrow().len() > handed {
                (polls, handed) = (0, self.handed.borrow().len());
            }
            if polls > 20 {
                self.is_woken.set(false);
                return self.blame("woken for ever".into());
            }
            self.note_phase();
            self.poll();
        }
        self.list.walk();
    }

    /// Wakes from outside. A wake in which the parent panics is lost, and no more.
    pub fn wake_from_outside(&self, who: Who) {
        self.note_phase();
        if self.attempt(|| self.wake(who)).is_none() {
            let again = if self.has_waker(who) { self.attempt(|| self.wake(who)) } else { None };
            // Nobody is left to wake it: polled for another reason. Where the children have the parent's own waker, it may
            // have been another child's that was used up.
            if again.is_none() || !self.has_own_wakers.get() {
                self.is_woken.set(true);
            }
        }
        self.list.walk();
    }

    pub fn drop_handle(&self) {
        self.note_phase();
        let Some(handle) = self.take_handle() else { return };
        self.begin_call();
        self.is_dropping.set(true);
        self.attempt(|| drop(handle));
        self.is_dropping.set(false);
        let is_output = |place| matches!(place, Place::ValueDrop | Place::ErrorDrop);
        let is_held = self.held.borrow().is_some();
        self.blame_alive("when it was dropped", |place, _| !(is_held && is_output(place)));
        self.check_order();
        self.list.walk();
    }

    /// After the end, or when it should have ended: what is left outlives it, and goes.
    pub fn leave(&self) {
        if self.is_pending() {
            self.blame("it hangs".into());
        }
        self.note_phase();
        self.attempt(|| self.poll());
        // They are polled with the parent's own waker.
        let first = self.gate_of(Who::Source).expect("it has a gate");
        let gates = self.gates.borrow().len();
        for gate in first..gates {
            if let Some(waker) = self.take_waker(gate) {
                self.attempt(|| waker.wake_by_ref());
                self.attempt(|| drop(waker));
            }
        }
        if self.has_own_wakers.get() && self.forgotten.borrow().is_none() {
            self.check_parents(1, "when it had ended");
        }
        for gate in 0..first {
            if let Some(waker) = self.take_waker(gate) {
                let clone = self.attempt(|| waker.clone());
                self.attempt(|| waker.wake_by_ref());
                self.attempt(|| waker.wake());
                self.attempt(|| drop(clone));
            }
        }
        let held = self.held.take();
        self.attempt(|| drop(held));
        self.list.walk();
        self.note_phase();
        self.drop_handle();
        for waker in self.stale.take() {
            self.attempt(|| waker.wake_by_ref());
            self.attempt(|| drop(waker));
        }
        self.list.walk();
        for number in [0, 1] {
            self.attempt(|| parent::drop_own(number));
        }
        if let Some((handle, alive)) = self.forgotten.take() {
            if self.alive(|_, _| true) != alive {
                self.blame("others than the forgotten ones are alive".into());
            }
            // So that nothing leaks.
            self.attempt(|| drop(handle));
        }
        self.blame_alive("at the end", |_, _| true);
        if self.list.walk() != 0 {
            self.blame("a waiter is left in the list".into());
            self.list.forget_all();
        }
        self.check_parents(0, "at the end");
    }

    fn check_parents(&self, expected: isize, when: &str) {
        for alive in &self.parents_alive {
            if alive.get() != expected {
                self.blame(format!("{when} {} wakers of a parent are alive, not {expected}", alive.get()));
            }
        }
    }
}

/// Dropped exactly once, or blamed.
pub struct Once {
    number: usize,
    /// So that the tools which watch memory see it too.
    memory: Option<Box<u8>>,
}

impl Once {
    pub fn new(place: Place, who: Who, is_of_handle: bool) -> Self {
        Once { number: world().add_part(place, who, is_of_handle), memory: Some(Box::new(0)) }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if !world().drop_part(self.number) {
            mem::forget(self.memory.take());
        }
    }
}

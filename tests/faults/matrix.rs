//! The words of the matrix: where foreign code runs, in what phase, whose it is, and what it does there.

/// Where foreign code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    ChildPoll,
    ChildDrop,
    Hook,
    HookDrop,
    CleanupFactory,
    CleanupFactoryDrop,
    CleanupPoll,
    CleanupDrop,
    Output,
    TakeOutput,
    Map,
    ValueDrop,
    ErrorDrop,
    GroupHook,
    GroupHookDrop,
    GraceFactory,
    GraceFactoryDrop,
    GracePoll,
    GraceDrop,
    SignalPoll,
    SignalDrop,
    OwnSignalPoll,
    OwnSignalDrop,
    Make,
    MakeDrop,
    WaiterWake,
    WaiterDrop,
    SourcePoll,
    SourceDrop,
    /// The closure of `for_each` or `try_for_each`, and the future that it returns.
    Each,
    EachDrop,
    EachFuturePoll,
    EachFutureDrop,
    ParentWake,
    ParentClone,
    ParentDrop,
    RestartFactory,
    When,
    Clock,
    Observe,
    BackoffFactory,
    BackoffPoll,
    BackoffDrop,
    RestartClosureDrop,
}

pub const PLACES: [Place; 44] = {
    use Place::*;
    [
        ChildPoll,
        ChildDrop,
        Hook,
        HookDrop,
        CleanupFactory,
        CleanupFactoryDrop,
        CleanupPoll,
        CleanupDrop,
        Output,
        TakeOutput,
        Map,
        ValueDrop,
        ErrorDrop,
        GroupHook,
        GroupHookDrop,
        GraceFactory,
        GraceFactoryDrop,
        GracePoll,
        GraceDrop,
        SignalPoll,
        SignalDrop,
        OwnSignalPoll,
        OwnSignalDrop,
        Make,
        MakeDrop,
        WaiterWake,
        WaiterDrop,
        SourcePoll,
        SourceDrop,
        Each,
        EachDrop,
        EachFuturePoll,
        EachFutureDrop,
        ParentWake,
        ParentClone,
        ParentDrop,
        RestartFactory,
        When,
        Clock,
        Observe,
        BackoffFactory,
        BackoffPoll,
        BackoffDrop,
        RestartClosureDrop,
    ]
};

impl Place {
    /// May run when the gather is torn down: a drop, or what a waker does.
    pub fn is_of_teardown(self) -> bool {
        use Place::*;
        matches!(
            self,
            ChildDrop
                | HookDrop
                | CleanupFactoryDrop
                | CleanupDrop
                | ValueDrop
                | ErrorDrop
                | GroupHookDrop
                | GraceFactoryDrop
                | GraceDrop
        ) || matches!(self, SignalDrop | ParentWake | ParentClone | ParentDrop | BackoffDrop | RestartClosureDrop)
            || matches!(
                self,
                OwnSignalDrop | MakeDrop | WaiterWake | WaiterDrop | SourceDrop | EachDrop | EachFutureDrop
            )
    }
}

/// What foreign code does there, other than what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    Panic,
    WakeItself,
    WakeSiblings,
    WakeParent,
    FireSignal,
    /// Drops the gather.
    Drop,
    /// Forgets the gather.
    Forget,
    /// Polls the gather.
    Poll,
}

pub const ACTS: [Act; 8] = [
    Act::Panic,
    Act::WakeItself,
    Act::WakeSiblings,
    Act::WakeParent,
    Act::FireSignal,
    Act::Drop,
    Act::Forget,
    Act::Poll,
];

impl Act {
    /// Leaves the result as it is.
    pub fn is_harmless(self) -> bool {
        matches!(self, Act::WakeItself | Act::WakeSiblings | Act::WakeParent | Act::Poll)
    }
}

/// What the gather was in when it was called from outside: polled, dropped, or one of its wakers woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Unpolled,
    /// It runs, and its source is open.
    Drawing,
    /// It runs, with all the children that it will have.
    Running,
    Draining,
    /// Of a restart: between two generations.
    Between,
    /// It was ready, or is gone.
    After,
}

pub const PHASES: [Phase; 6] =
    [Phase::Unpolled, Phase::Drawing, Phase::Running, Phase::Draining, Phase::Between, Phase::After];

/// Whose foreign code it is; those with an index are children's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    Child(usize),
    Cleanup(usize),
    /// One of the two children of a nested gather.
    Inner(usize, usize),
    /// The signal of one child.
    Own(usize),
    /// The future to which its output was handed over.
    Each(usize),
    Signal,
    Source,
    Grace,
    Backoff,
    Parent,
    Group,
}

impl Who {
    pub fn child(self) -> Option<usize> {
        match self {
            Who::Child(index) | Who::Cleanup(index) | Who::Inner(index, _) | Who::Own(index) | Who::Each(index) => {
                Some(index)
            }
            _ => None,
        }
    }
}

/// One call of foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    pub place: Place,
    pub who: Who,
    pub phase: Phase,
    /// Whether the gather's handle is where foreign code can take it.
    pub in_reach: bool,
    pub unwinding: bool,
    /// Which wakes would find a waker, and whether the signal would find who hears it.
    pub wakes_itself: bool,
    pub wakes_siblings: bool,
    pub signals: bool,
}

impl Visit {
    /// Why this act is none here.
    pub fn refuses(&self, act: Act) -> Option<Refusal> {
        match act {
            Act::Panic if self.unwinding => Some(Refusal::WouldAbort),
            Act::Drop | Act::Forget | Act::Poll if !self.in_reach => Some(Refusal::OutOfReach),
            Act::WakeItself if !self.wakes_itself => Some(Refusal::NothingToDo),
            Act::WakeSiblings if !self.wakes_siblings => Some(Refusal::NothingToDo),
            Act::FireSignal if !self.signals => Some(Refusal::NothingToDo),
            _ => None,
        }
    }
}

/// The rules by which a fault is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No course has that place called in that phase.
    NotCalled,
    /// Whoever polls the gather, or drops it, holds it: nobody else can reach it.
    OutOfReach,
    /// Nobody waits, or the signal is gone.
    NothingToDo,
    /// A second panic in an unwind ends the process.
    WouldAbort,
}

/// In the call of foreign code with this number does what it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    pub visit: usize,
    pub act: Act,
}

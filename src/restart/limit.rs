//! How often a failed group is restarted.

use core::fmt;
use core::time::Duration;

/// How often [`restart`](crate::restart()) restarts a failed group. There is no default; for no limit write
/// [`unlimited`](Limit::unlimited).
///
/// Each constructor returns a type of its own. To choose at run time between a limit and none, use
/// [`restarts`](Limit::restarts) with `u32::MAX` for none.
///
/// # Examples
///
/// ```
/// use gather::{Limit, restart};
/// use std::future::ready;
///
/// let configured = None;
/// let group = restart(Limit::restarts(configured.unwrap_or(u32::MAX)), || [ready(Ok::<_, ()>(1))]);
/// assert_eq!(pollster::block_on(group), Ok([1]));
/// ```
pub struct Limit<L = Unlimited>(pub(crate) L);

impl Limit {
    /// Any number of restarts.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// use std::future::ready;
    ///
    /// let mut tries = 0;
    /// let group = restart(Limit::unlimited(), || {
    ///     tries += 1;
    ///     [ready(if tries < 1000 { Err("not yet") } else { Ok(tries) })]
    /// });
    /// assert_eq!(pollster::block_on(group), Ok([1000]));
    /// ```
    pub fn unlimited() -> Limit<Unlimited> {
        Limit(Unlimited(()))
    }

    /// At most `limit` restarts in all, so at most `limit + 1` generations. With 0 the group is never restarted.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, RestartError, restart};
    /// use std::future::ready;
    ///
    /// let mut generations = 0;
    /// let group = restart(Limit::restarts(2), || {
    ///     generations += 1;
    ///     [ready(Err::<(), _>("broken"))]
    /// });
    /// let given_up = pollster::block_on(group);
    /// assert_eq!(given_up, Err(RestartError::LimitReached { restarts: 2, source: "broken" }));
    /// assert_eq!(generations, 3);
    /// ```
    pub fn restarts(limit: u32) -> Limit<Restarts> {
        Limit(Restarts { limit })
    }

    /// At most `limit` restarts within any `window` of time: a sliding window. With 0 the group is never restarted.
    ///
    /// `clock` returns the time since any fixed moment. It is called once per failure, and should be monotonic: while it
    /// stands still, nothing leaves the window; if it runs backwards, the restarts that are then in its future count as
    /// within the window. A restart counts as long as `now <= then + window`. With a
    /// [`backoff`](crate::Supervisor::backoff), make the window longer than `limit` delays together; otherwise the limit is
    /// never reached.
    ///
    /// *Complexity.* O(`limit`) time per failure, and memory for `limit` times. [`Limit::within_const`] does the same
    /// without an allocator.
    ///
    /// # Panics
    ///
    /// If the window is zero, as no two restarts would ever be within it.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// use std::future::ready;
    /// use std::time::{Duration, Instant};
    ///
    /// // All within one minute:
    /// let start = Instant::now();
    /// let limit = Limit::within(5, Duration::from_secs(60), move || start.elapsed());
    /// let given_up = pollster::block_on(restart(limit, || [ready(Err::<(), _>("broken"))])).unwrap_err();
    /// assert_eq!(given_up.to_string(), "limit reached after 5 restarts");
    ///
    /// // Each failure comes a quarter of an hour after the last one, so at most four of them are within an hour:
    /// let mut minutes = 0;
    /// let limit = Limit::within(5, Duration::from_secs(3600), move || {
    ///     minutes += 15;
    ///     Duration::from_secs(60 * minutes)
    /// });
    /// let mut generations = 0;
    /// let group = restart(limit, || {
    ///     generations += 1;
    ///     [ready(if generations < 100 { Err("broken") } else { Ok("repaired") })]
    /// });
    /// assert_eq!(pollster::block_on(group), Ok(["repaired"]));
    /// ```
    #[cfg(feature = "alloc")]
    #[track_caller]
    pub fn within<C>(limit: u32, window: Duration, clock: C) -> Limit<Within<C, alloc::vec::Vec<Duration>>>
    where
        C: FnMut() -> Duration,
    {
        Limit(Within::new(limit, window, clock, alloc::vec::Vec::new()))
    }

    /// Like [`Limit::within`] with a limit of `N`: at most `N` restarts within any `window`. The times are kept in place, so
    /// this needs no allocator.
    ///
    /// # Panics
    ///
    /// If the window is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::future::ready;
    /// use core::time::Duration;
    /// use gather::{Limit, restart};
    ///
    /// let mut ticks = 0;
    /// let limit = Limit::within_const::<5, _>(Duration::from_secs(60), move || {
    ///     ticks += 1; // in real code: read a timer
    ///     Duration::from_millis(ticks)
    /// });
    /// let given_up = pollster::block_on(restart(limit, || [ready(Err::<(), _>("broken"))])).unwrap_err();
    /// assert_eq!(given_up.to_string(), "limit reached after 5 restarts");
    /// ```
    #[track_caller]
    pub fn within_const<const N: usize, C>(window: Duration, clock: C) -> Limit<Within<C, InPlace<N>>>
    where
        C: FnMut() -> Duration,
    {
        const { assert!(N <= u32::MAX as usize, "more restarts than are counted") };
        Limit(Within::new(N as u32, window, clock, InPlace { times: [Duration::ZERO; N], count: 0 }))
    }
}

/// Whether one more restart is allowed.
pub trait Allow {
    /// The restarts that counted when that was asked last, of those made so far.
    fn known(&self, restarts: u32) -> u32;

    /// The restarts that count now, of those made so far. Asked once a failure.
    fn recent(&mut self, restarts: u32) -> u32;

    /// Whether there is one more to these, and counts it.
    fn allow(&mut self, recent: u32) -> bool;
}

/// Of [`Limit::unlimited`].
pub struct Unlimited(());

impl Allow for Unlimited {
    fn known(&self, restarts: u32) -> u32 {
        restarts
    }

    fn recent(&mut self, restarts: u32) -> u32 {
        restarts
    }

    fn allow(&mut self, _: u32) -> bool {
        true
    }
}

/// Of [`Limit::restarts`].
pub struct Restarts {
    limit: u32,
}

impl Allow for Restarts {
    fn known(&self, restarts: u32) -> u32 {
        restarts
    }

    fn recent(&mut self, restarts: u32) -> u32 {
        restarts
    }

    fn allow(&mut self, recent: u32) -> bool {
        recent < self.limit
    }
}

/// Of [`Limit::within`] and [`Limit::within_const`].
pub struct Within<C, T> {
    limit: u32,
    window: Duration,
    clock: C,
    now: Duration,
    /// The restarts in the window, at most `limit` of them.
    times: T,
}

impl<C, T> Within<C, T> {
    #[track_caller]
    fn new(limit: u32, window: Duration, clock: C, times: T) -> Self {
        assert!(!window.is_zero(), "a `Limit` within a window of zero would never count two restarts together");
        Within { limit, window, clock, now: Duration::ZERO, times }
    }
}

impl<C: FnMut() -> Duration, T: Times> Allow for Within<C, T> {
    fn known(&self, _: u32) -> u32 {
        self.times.count()
    }

    fn recent(&mut self, _: u32) -> u32 {
        let now = (self.clock)();
        self.now = now;
        self.times.retain(|then| now <= then.saturating_add(self.window));
        self.times.count()
    }

    fn allow(&mut self, recent: u32) -> bool {
        let allows = recent < self.limit;
        if allows {
            self.times.push(self.now);
        }
        allows
    }
}

/// A few moments.
pub trait Times {
    fn retain(&mut self, keep: impl FnMut(Duration) -> bool);
    fn push(&mut self, time: Duration);
    fn count(&self) -> u32;
}

#[cfg(feature = "alloc")]
impl Times for alloc::vec::Vec<Duration> {
    fn retain(&mut self, mut keep: impl FnMut(Duration) -> bool) {
        self.retain(|time| keep(*time));
    }

    fn push(&mut self, time: Duration) {
        self.push(time);
    }

    fn count(&self) -> u32 {
        self.len() as u32
    }
}

/// At most `N` moments, in place.
pub struct InPlace<const N: usize> {
    times: [Duration; N],
    count: usize,
}

impl<const N: usize> Times for InPlace<N> {
    fn retain(&mut self, mut keep: impl FnMut(Duration) -> bool) {
        let mut kept = 0;
        for index in 0..self.count {
            if keep(self.times[index]) {
                self.times[kept] = self.times[index];
                kept += 1;
            }
        }
        self.count = kept;
    }

    fn push(&mut self, time: Duration) {
        self.times[self.count] = time;
        self.count += 1;
    }

    fn count(&self) -> u32 {
        self.count as u32
    }
}

impl<L: fmt::Debug> fmt::Debug for Limit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limit").field(&self.0).finish()
    }
}

impl fmt::Debug for Unlimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unlimited")
    }
}

impl fmt::Debug for Restarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restarts", self.limit)
    }
}

impl<C, T> fmt::Debug for Within<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restarts within {:?}", self.limit, self.window)
    }
}

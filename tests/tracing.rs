//! What a subscriber of the `tracing` feature sees.

#[path = "suite/kit.rs"]
mod kit;

use std::cell::Cell;
use std::fmt::{self, Write};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use gather::{BoxChild, CancelExt, Cancelled, Child, Limit, LocalBoxChild, OnCancel, RestartError};
use gather::{from_iter, gather, restart};
use kit::{At, CONTAINERS, Container, FIXED, Gate, World, gather_in, hold_in, holding};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber, info, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Writes a line for each event: its level, the spans around it, its message and its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn expect(&self, expected: &[&str]) {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(seen, expected, "{seen:#?}");
    }
}

/// The fields of a span, as they were given.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!(" {value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let name = match fields.0.trim_start() {
            "" => span.name().to_string(),
            fields => format!("{}{{{fields}}}", span.name()),
        };
        span.extensions_mut().insert(name);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            write!(line, " {}", span.extensions().get::<String>().unwrap()).unwrap();
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        write!(line, ":{}", fields.0).unwrap();
        self.0.lock().unwrap().push(line);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let name = context.span(&id).unwrap().extensions().get::<String>().unwrap().clone();
        self.0.lock().unwrap().push(format!("close {name}"));
    }
}

/// Runs a test under a subscriber.
fn seen(test: impl FnOnce(&Lines)) {
    let lines = Lines::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), || test(&lines));
}

type Output = Result<(), &'static str>;

#[test]
fn a_handshake_from_the_failure_to_the_end() {
    seen(|lines| {
        let world = World::new();
        let (told, failing) = (Gate::<Output>::new(), Gate::<Output>::new());
        let mut all = pin!(
            gather((
                ready(Ok::<_, &str>(())),
                pending::<Output>(),
                told.clone().wait().on_cancel(|_| info!("asked")),
                pending::<Output>().cleanup(|| async { info!("cleaning") }),
                failing.clone().wait(),
            ))
            .into_future()
        );
        assert!(world.poll(all.as_mut()).is_pending());
        lines.expect(&[
            "TRACE gather{children=5}: child started child=0",
            "TRACE gather{children=5}: child ended child=0",
            "TRACE gather{children=5}: child started child=1",
            "TRACE gather{children=5}: child started child=2",
            "TRACE gather{children=5}: child started child=3",
            "TRACE gather{children=5}: child started child=4",
        ]);
        failing.open(Err("failed"));
        assert!(world.poll(all.as_mut()).is_pending());
        lines.expect(&[
            "DEBUG gather{children=5}: child failed child=4",
            "DEBUG gather{children=5}: cancelling cause=child 4 failed",
            "DEBUG gather{children=5}: child dropped child=1",
            "INFO gather{children=5}: asked",
            "DEBUG gather{children=5}: child told child=2",
            "DEBUG gather{children=5}: child told child=3",
            "DEBUG gather{children=5}: draining children=2",
            "INFO gather{children=5}: cleaning",
            "DEBUG gather{children=5}: child drained child=3",
        ]);
        told.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_ready());
        lines.expect(&[
            "DEBUG gather{children=5}: child drained child=2",
            "DEBUG gather{children=5}: resolved cause=child 4 failed",
            "close gather{children=5}",
        ]);
    });
}

#[test]
fn calm_children_a_winner_and_a_signal() {
    seen(|lines| {
        pollster::block_on(gather([ready(Ok::<_, ()>(1))])).unwrap();
        lines.expect(&[
            "TRACE gather{children=1}: child started child=0",
            "TRACE gather{children=1}: child ended child=0",
            "DEBUG gather{children=1}: resolved cause=completed",
            "close gather{children=1}",
        ]);
        pollster::block_on(gather(vec![ready(1), ready(2)]).race());
        lines.expect(&[
            "TRACE gather{children=2}: child started child=0",
            "DEBUG gather{children=2}: child won child=0",
            "DEBUG gather{children=2}: cancelling cause=child 0 won",
            "DEBUG gather{children=2}: child dropped child=1",
            "DEBUG gather{children=2}: resolved cause=child 0 won",
            "close gather{children=2}",
        ]);
        pollster::block_on(gather([pending::<Output>()]).cancel_when(ready(()))).unwrap_err();
        lines.expect(&[
            "DEBUG gather{children=1}: cancelling cause=cancelled",
            "DEBUG gather{children=1}: child dropped child=0",
            "DEBUG gather{children=1}: resolved cause=cancelled",
            "close gather{children=1}",
        ]);
    });
}

#[test]
fn each_child_is_started_once_under_a_limit() {
    seen(|lines| {
        let children = [ready(1), ready(2), ready(3)];
        pollster::block_on(gather(children).settle().concurrency(1));
        let each = |child: usize| {
            ["started", "ended"].map(|step| format!("TRACE gather{{children=3}}: child {step} child={child}"))
        };
        let mut expected: Vec<_> = (0..3).flat_map(each).collect();
        expected.push("DEBUG gather{children=3}: resolved cause=completed".into());
        expected.push("close gather{children=3}".into());
        lines.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    });
}

#[test]
fn the_span_of_a_source_has_no_count() {
    seen(|lines| {
        pollster::block_on(gather(from_iter([ready(Ok::<_, &str>(1))]))).unwrap();
        lines.expect(&[
            "TRACE gather: child started child=0",
            "TRACE gather: child ended child=0",
            "DEBUG gather: resolved cause=completed",
            "close gather",
        ]);
    });
}

#[test]
fn a_grace_that_is_over_warns_with_the_count_of_those_left() {
    seen(|lines| {
        let world = World::new();
        let grace = Gate::new();
        let deaf = || poll_fn(|_| Poll::<Output>::Pending).on_cancel(|_| ());
        let failing = ready(Err::<(), _>("failed"));
        let mut all = pin!(gather((deaf(), failing, deaf())).grace(|| grace.clone().wait()).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        grace.open(());
        assert!(world.poll(all.as_mut()).is_ready());
        lines.expect(&[
            "WARN gather{children=3}: grace over children=2",
            "DEBUG gather{children=3}: child dropped child=0",
            "DEBUG gather{children=3}: child dropped child=2",
            "DEBUG gather{children=3}: resolved cause=child 1 failed",
            "close gather{children=3}",
        ]);
    });
}

#[test]
fn one_that_is_dropped_while_pending_says_so() {
    seen(|lines| {
        let world = World::new();
        let mut all = Box::pin(gather([pending::<Output>()]).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        drop(all);
        lines.expect(&["DEBUG gather{children=1}: dropped before its end", "close gather{children=1}"]);

        // A clean-up is lost that had not begun.
        let told = pending::<Output>().on_cancel(|_| ());
        let mut all = Box::pin(gather((pending::<Output>(), told)).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        drop(all);
        lines.expect(&["WARN gather{children=2}: dropped before its end", "close gather{children=2}"]);

        // Dropping it in its drain cuts clean-ups off.
        let told = pending::<Output>().on_cancel(|_| ());
        let mut all = Box::pin(gather((told, ready(Err::<(), _>("failed")))).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        drop(all);
        lines.expect(&["WARN gather{children=2}: dropped before the end of its drain", "close gather{children=2}"]);

        // One that was never polled has nothing to say.
        drop(gather([pending::<Output>()]));
        drop(gather([pending::<Output>().on_cancel(|_| ())]).into_future());
        drop(restart(Limit::unlimited(), || [pending::<Output>().on_cancel(|_| ())]).into_future());
        lines.expect(&[]);
    });
}

/// Written by hand, and cancelled as a future is.
struct ByHand;

impl Child for ByHand {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Output> {
        Poll::Pending
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        OnCancel::Drain
    }
}

/// What is seen when it is dropped after a poll.
fn seen_of_its_drop(lines: &Lines, group: impl IntoFuture) -> Vec<String> {
    let world = World::new();
    let mut all = Box::pin(group.into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    lines.0.lock().unwrap().clear();
    drop(all);
    std::mem::take(&mut *lines.0.lock().unwrap())
}

/// What is seen of the drop of a gather of three children.
fn of_three(container: Container, level: &str) -> [String; 2] {
    let span = if let Container::Source = container { "gather" } else { "gather{children=3}" };
    [format!("{level} {span}: dropped before its end"), format!("close {span}")]
}

#[test]
fn the_drop_of_a_group_warns_if_and_only_if_a_clean_up_is_lost() {
    seen(|lines| {
        let plain = pending::<Output>;
        // Any child that would have cleaned up, wherever it stands and whatever it is in.
        let draining: [(&str, fn() -> LocalBoxChild<'static, Output>); 10] = [
            ("hook", || LocalBoxChild::new(pending().on_cancel(|_| ()))),
            ("clean-up", || LocalBoxChild::new(pending().cleanup(|| ready(())))),
            ("shield", || LocalBoxChild::new(pending().shield())),
            ("map", || LocalBoxChild::new(pending::<Output>().shield().map(|output| output))),
            ("map of an error", || LocalBoxChild::new(pending::<Output>().shield().map_err(|error: &str| error))),
            ("box", || LocalBoxChild::new(BoxChild::new(pending().shield()))),
            ("group", || LocalBoxChild::new(gather([pending::<Output>().shield()]).map(|all| all.map(drop)))),
            ("restart", || {
                let inner = restart(Limit::unlimited(), || [pending::<Output>().shield()]);
                LocalBoxChild::new(inner.map(|all| all.map(drop).map_err(RestartError::into_source)))
            }),
            ("by hand", || LocalBoxChild::new(ByHand)),
            ("by hand, boxed", || LocalBoxChild::new(LocalBoxChild::new(ByHand).map(|output| output))),
        ];
        for (name, child) in draining {
            for place in 0..3 {
                for container in CONTAINERS {
                    let _at = At(format!("{name}, {place}, {container:?}"));
                    let mut children = [plain(), plain(), plain()].map(LocalBoxChild::new);
                    children[place] = child();
                    let all = gather_in!(container, children, |gather| gather);
                    // A group says so too, before this one does.
                    let seen = seen_of_its_drop(lines, all);
                    assert_eq!(seen[seen.len() - 2..], of_three(container, "WARN"));
                }
            }
        }
        // Nothing but plain ones, or the others have ended.
        let ended = || ready(Ok(())).shield();
        for container in FIXED {
            let _at = At(format!("{container:?}"));
            let all = gather_in!(container, [plain(), plain(), plain()], |gather| gather);
            let own = of_three(container, "DEBUG");
            assert_eq!(seen_of_its_drop(lines, all), own);
            let boxed = [LocalBoxChild::new(ended()), LocalBoxChild::new(plain()), LocalBoxChild::new(ended())];
            let all = gather_in!(container, boxed, |gather| gather);
            assert_eq!(seen_of_its_drop(lines, all), own);
            // A generation is a gather as any other; the restart itself loses nothing more.
            for (level, told) in [("DEBUG", false), ("WARN", true)] {
                let make = || {
                    let other = if told { LocalBoxChild::new(plain().shield()) } else { LocalBoxChild::new(plain()) };
                    [LocalBoxChild::new(plain()), LocalBoxChild::new(plain()), other]
                };
                let all =
                    hold_in!(container, (a b c), |hold| kit::any(restart(Limit::unlimited(), holding(make, hold))));
                let generation = format!("{level} restart gather{{children=3}}: dropped before its end");
                let whole = "DEBUG restart: dropped before its end";
                let expected = [&*generation, "close gather{children=3}", whole, "close restart"];
                assert_eq!(seen_of_its_drop(lines, all), expected);
            }
        }
    });
}

#[test]
fn an_async_block_around_a_group_is_dropped_with_its_clean_ups_and_warns() {
    seen(|lines| {
        for in_a_block in [true, false] {
            let (world, fail) = (World::new(), Gate::<Output>::new());
            let inner = gather([pending::<Output>().cleanup(|| async { info!("cleaning") })]);
            let inner = match in_a_block {
                true => LocalBoxChild::new(async { inner.await.map(drop) }),
                false => LocalBoxChild::new(inner.map(|all| all.map(drop))),
            };
            let mut all = pin!(gather((inner, fail.clone().wait())).into_future());
            assert!(world.poll(all.as_mut()).is_pending());
            lines.0.lock().unwrap().clear();
            fail.open(Err("failed"));
            assert!(world.poll(all.as_mut()).is_ready());
            match in_a_block {
                true => lines.expect(&[
                    "DEBUG gather{children=2}: child failed child=1",
                    "DEBUG gather{children=2}: cancelling cause=child 1 failed",
                    "WARN gather{children=2} gather{children=1}: dropped before its end",
                    "close gather{children=1}",
                    "DEBUG gather{children=2}: child dropped child=0",
                    "DEBUG gather{children=2}: resolved cause=child 1 failed",
                    "close gather{children=2}",
                ]),
                false => lines.expect(&[
                    "DEBUG gather{children=2}: child failed child=1",
                    "DEBUG gather{children=2}: cancelling cause=child 1 failed",
                    "DEBUG gather{children=2} gather{children=1}: cancelling cause=cancelled",
                    "DEBUG gather{children=2} gather{children=1}: child told child=0",
                    "DEBUG gather{children=2} gather{children=1}: draining children=1",
                    "DEBUG gather{children=2}: child told child=0",
                    "DEBUG gather{children=2}: draining children=1",
                    "INFO gather{children=2} gather{children=1}: cleaning",
                    "DEBUG gather{children=2} gather{children=1}: child drained child=0",
                    "DEBUG gather{children=2} gather{children=1}: resolved cause=cancelled",
                    "close gather{children=1}",
                    "DEBUG gather{children=2}: child drained child=0",
                    "DEBUG gather{children=2}: resolved cause=child 1 failed",
                    "close gather{children=2}",
                ]),
            }
        }
    });
}

#[test]
fn a_timeout_around_a_group_drops_its_clean_ups_and_warns() {
    const SECOND: Duration = Duration::from_secs(1);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    seen(|lines| {
        let cleaned = || pending::<Output>().cleanup(|| async { info!("cleaning") });
        let started = "TRACE gather{children=1}: child started child=0";
        let close = "close gather{children=1}";
        runtime.block_on(async {
            assert!(timeout(SECOND, gather([cleaned()])).await.is_err());
            lines.expect(&[started, "WARN gather{children=1}: dropped before its end", close]);
            // With plain children alone nothing is lost.
            assert!(timeout(SECOND, gather([pending::<Output>()])).await.is_err());
            lines.expect(&[started, "DEBUG gather{children=1}: dropped before its end", close]);
            // What is meant:
            assert_eq!(gather([cleaned()]).cancel_when(sleep(SECOND)).await, Err(Cancelled));
            lines.expect(&[
                started,
                "DEBUG gather{children=1}: cancelling cause=cancelled",
                "DEBUG gather{children=1}: child told child=0",
                "DEBUG gather{children=1}: draining children=1",
                "INFO gather{children=1}: cleaning",
                "DEBUG gather{children=1}: child drained child=0",
                "DEBUG gather{children=1}: resolved cause=cancelled",
                close,
            ]);
            // In a group it is a plain child.
            let inner =
                async { timeout(2 * SECOND, gather([cleaned()])).await.map_or(Err("late"), |all| all.map(drop)) };
            let failing = async {
                sleep(SECOND).await;
                Err::<(), _>("failed")
            };
            assert_eq!(gather((inner, failing)).await, Err("failed"));
        });
        let seen = std::mem::take(&mut *lines.0.lock().unwrap());
        let dropped: Vec<_> = seen.iter().filter(|line| !line.starts_with("TRACE")).collect();
        assert_eq!(dropped[2], "WARN gather{children=2} gather{children=1}: dropped before its end", "{seen:#?}");
        assert!(!seen.iter().any(|line| line.contains("cleaning")));
    });
}

#[test]
fn a_restart_and_its_generations() {
    seen(|lines| {
        let made = Cell::new(0);
        let group = restart(Limit::restarts(1), || {
            made.set(made.get() + 1);
            [ready(Err::<(), _>("failed"))]
        });
        let generation = |restarts: usize| {
            vec![
                format!("DEBUG restart: generation made restarts={restarts}"),
                "TRACE restart gather{children=1}: child started child=0".into(),
                "DEBUG restart gather{children=1}: child failed child=0".into(),
                "DEBUG restart gather{children=1}: cancelling cause=child 0 failed".into(),
                "DEBUG restart gather{children=1}: resolved cause=child 0 failed".into(),
                "close gather{children=1}".into(),
            ]
        };
        pollster::block_on(group).unwrap_err();
        let mut expected = generation(0);
        expected.push("INFO restart: restarting child=0 restarts=0 recent=0".into());
        expected.extend(generation(1));
        expected.push("WARN restart: limit reached child=0 restarts=1 recent=1".into());
        expected.push("DEBUG restart: resolved restarts=1".into());
        expected.push("close restart".into());
        lines.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>());

        let refused = restart(Limit::unlimited(), || [ready(Err::<(), _>("failed"))]).when(|_| false);
        pollster::block_on(refused).unwrap_err();
        assert!(lines.0.lock().unwrap().contains(&"WARN restart: not retried child=0 restarts=0".into()));
    });
}

#[test]
fn a_restart_that_is_cancelled() {
    seen(|lines| {
        let world = World::new();
        let signal = Gate::new();
        let group = restart(Limit::unlimited(), || [ready(Err::<(), _>("failed"))]);
        let mut group = pin!(group.backoff(|_| pending::<()>()).cancel_when(signal.clone().wait()).into_future());
        assert!(world.poll(group.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        signal.open(());
        assert!(world.poll(group.as_mut()).is_ready());
        lines.expect(&["DEBUG restart: resolved restarts=1", "close restart"]);
    });
}

#[test]
fn spans_nest_under_the_callers_and_childrens_events_under_them() {
    seen(|lines| {
        let world = World::new();
        let gate = Gate::<Output>::new();
        let inner = gather([async {
            info!("working");
            gate.clone().wait().await
        }]);
        let mut all = pin!(gather((inner, pending::<Output>())).into_future());
        // The span of the first poll counts, as for an `async fn` with a span of its own.
        info_span!("request").in_scope(|| assert!(world.poll(all.as_mut()).is_pending()));
        lines.expect(&[
            "TRACE request gather{children=2}: child started child=0",
            "TRACE request gather{children=2} gather{children=1}: child started child=0",
            "INFO request gather{children=2} gather{children=1}: working",
            "TRACE request gather{children=2}: child started child=1",
        ]);
        gate.open(Err("failed"));
        assert!(world.poll(all.as_mut()).is_ready());
        assert_eq!(
            lines.0.lock().unwrap()[0],
            "DEBUG request gather{children=2} gather{children=1}: child failed child=0"
        );
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_subscriber_that_panics_leaves_nothing_alive() {
    struct Panics;

    impl<S: Subscriber> Layer<S> for Panics {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(String::new());
            event.record(&mut fields);
            if fields.0.contains("told") {
                panic!("subscriber");
            }
        }
    }

    tracing::subscriber::with_default(tracing_subscriber::registry().with(Panics), || {
        let world = World::new();
        let told = kit::Probe::new("a", &world.log, &Gate::<Output>::new()).on_cancel(|_| ());
        let mut all = pin!(gather((told, ready(Err::<(), _>("failed")))).into_future());
        let polled = catch_unwind(AssertUnwindSafe(|| world.poll(all.as_mut())));
        assert_eq!(*polled.unwrap_err().downcast::<&str>().unwrap(), "subscriber");
        world.log.expect("drop a");
        fn is_terminated(gather: &impl futures_core::FusedFuture) -> bool {
            gather.is_terminated()
        }
        assert!(is_terminated(&*all));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn values_are_dropped_though_the_subscriber_panics_when_the_span_is_left() {
    /// Panics once: when a span is exited, or when it is closed.
    struct Panics {
        when: &'static str,
        is_over: AtomicBool,
    }

    impl Panics {
        fn reach(&self, moment: &str) {
            if moment == self.when && !self.is_over.swap(true, Ordering::Relaxed) {
                panic!("subscriber");
            }
        }
    }

    impl<S: Subscriber> Layer<S> for Panics {
        fn on_exit(&self, _: &Id, _: Context<'_, S>) {
            self.reach("exit");
        }

        fn on_close(&self, _: Id, _: Context<'_, S>) {
            self.reach("close");
        }
    }

    for when in ["exit", "close"] {
        let world = World::new();
        let value = world.log.token("value");
        let subscriber = tracing_subscriber::registry().with(Panics { when, is_over: AtomicBool::new(false) });
        tracing::subscriber::with_default(subscriber, || {
            let mut all = pin!(gather((ready(Ok::<_, &str>(value)),)).into_future());
            assert!(catch_unwind(AssertUnwindSafe(|| world.poll(all.as_mut()).is_ready())).is_err());
        });
        world.log.expect("drop value");
    }
}

#[test]
fn a_gather_is_as_unwind_safe_as_without_the_feature() {
    fn is_unwind_safe<T: std::panic::UnwindSafe>(_: &T) {}
    is_unwind_safe(&gather((ready(Ok::<_, ()>(1)), ready(Ok::<_, ()>(2)))));
}

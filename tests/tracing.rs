//! What a subscriber of the `tracing` feature sees.

mod kit;

use std::cell::Cell;
use std::fmt::{self, Write};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use gather::{CancelExt, Limit, gather, restart};
use kit::{Gate, World};
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
        let mut all = pin!(gather((
            ready(Ok::<_, &str>(())),
            pending::<Output>(),
            told.clone().wait().on_cancel(|_| info!("asked")),
            pending::<Output>().cleanup(|| async { info!("cleaning") }),
            failing.clone().wait(),
        )));
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
        pollster::block_on(gather([pending::<Output>()]).cancel_on(ready(()))).unwrap_err();
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
fn a_grace_that_is_over_warns_with_the_count_of_those_left() {
    seen(|lines| {
        let world = World::new();
        let grace = Gate::new();
        let deaf = || poll_fn(|_| Poll::<Output>::Pending).on_cancel(|_| ());
        let failing = ready(Err::<(), _>("failed"));
        let mut all = pin!(gather((deaf(), failing, deaf())).grace(|| grace.clone().wait()));
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
        let mut all = Box::pin(gather([pending::<Output>()]));
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        drop(all);
        lines.expect(&["DEBUG gather{children=1}: dropped before its end", "close gather{children=1}"]);

        // Who drops it in its drain cuts clean-ups off.
        let told = pending::<Output>().on_cancel(|_| ());
        let mut all = Box::pin(gather((told, ready(Err::<(), _>("failed")))));
        assert!(world.poll(all.as_mut()).is_pending());
        lines.0.lock().unwrap().clear();
        drop(all);
        lines.expect(&["WARN gather{children=2}: dropped before the end of its drain", "close gather{children=2}"]);

        // One that was never polled has nothing to say.
        drop(gather([pending::<Output>()]));
        lines.expect(&[]);
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
        let mut group = pin!(group.backoff(|_| pending::<()>()).cancel_on(signal.clone().wait()));
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
        let mut all = pin!(gather((inner.nested(), pending::<Output>())));
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
        let mut all = pin!(gather((told, ready(Err::<(), _>("failed")))));
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
            let mut all = pin!(gather((ready(Ok::<_, &str>(value)),)));
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

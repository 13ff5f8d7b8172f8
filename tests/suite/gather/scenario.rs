//! Scripts of what happens to three children, for tables of scenarios.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::Poll;

use crate::kit::{Any, At, Container, Flatten, Gate, Output, Probe, World};
use gather::{CancelExt, LocalBoxChild, Report};

/// A script for three children a, b and c of these kinds:
///
/// - `p`lain;
/// - `t`old: `on_cancel` with a hook that logs `tell a`;
/// - `c`leanup: logs `make A`, then drives a clean-up that logs `end A` and `drop A`;
/// - `f`inally: the same;
/// - `s`hield.
///
/// A line is `actions => log`. The actions are `ok a`, `fail a`, `clean a` (open a gate), `signal`, `over` (the grace),
/// `poll`, `drop`. The log has `end a`, `drop a`, `grace` when one is made, `drop grace`, `drop signal`, and `ready …`.
/// In the discipline *pending first* the script is run after one poll; a line that begins with `pending:` or `ready:`
/// belongs to one discipline alone. The first pass begins with a, the second with b.
pub struct Scenario {
    pub name: &'static str,
    pub kinds: &'static str,
    pub script: &'static str,
}

/// What the children and the settings of a group are made of.
pub struct Stage {
    pub world: World,
    gates: [Gate<Output>; 3],
    cleanups: [Gate<()>; 3],
    signal: Gate<()>,
    grace: Gate<()>,
}

const NAMES: [(&str, &str); 3] = [("a", "A"), ("b", "B"), ("c", "C")];

impl Stage {
    fn new() -> Self {
        Stage {
            world: World::new(),
            gates: Default::default(),
            cleanups: Default::default(),
            signal: Gate::new(),
            grace: Gate::new(),
        }
    }

    pub fn signal(&self) -> Probe<()> {
        Probe::new("signal", &self.world.log, &self.signal).quiet()
    }

    /// Makes the grace.
    pub fn grace(&self) -> impl FnMut() -> Probe<()> + Clone + use<> {
        let (log, gate) = (self.world.log.clone(), self.grace.clone());
        move || {
            log.push("grace");
            Probe::new("grace", &log, &gate).quiet()
        }
    }

    pub fn children(&self, kinds: &str) -> [LocalBoxChild<'static, Output>; 3] {
        let mut kinds = kinds.chars().zip(0..);
        std::array::from_fn(|_| {
            let (kind, index) = kinds.next().unwrap();
            let (name, cleanup_name) = NAMES[index];
            let (log, cleanup) = (self.world.log.clone(), self.cleanups[index].clone());
            let probe = Probe::new(name, &log, &self.gates[index]);
            let hook = {
                let log = log.clone();
                move |child: Pin<&mut Probe<Output>>| log.push(format!("tell {}", child.name))
            };
            let make = move || {
                log.push(format!("make {cleanup_name}"));
                Probe::new(cleanup_name, &log, &cleanup)
            };
            match kind {
                'p' => LocalBoxChild::new(probe),
                't' => LocalBoxChild::new(probe.on_cancel(hook)),
                'c' => LocalBoxChild::new(probe.cleanup(make)),
                'f' => LocalBoxChild::new(probe.finally(make)),
                's' => LocalBoxChild::new(probe.shield()),
                _ => unreachable!(),
            }
        })
    }
}

/// The output, alike for all containers.
pub fn shown<'a, F>(group: F) -> Any<'a, String>
where
    F: IntoFuture<Output: Flatten<Flat: Debug>, IntoFuture: 'a>,
{
    let future = group.into_future();
    Box::pin(async move { format!("{:?}", future.await.flatten()) })
}

/// The report, alike for all containers.
pub fn reported<'a, F, O>(group: F) -> Any<'a, String>
where
    F: IntoFuture<Output = Report<O>, IntoFuture: 'a>,
    O: Flatten<Flat: Debug>,
{
    let future = group.into_future();
    Box::pin(async move {
        let Report { cause, outcomes, .. } = future.await;
        format!("{cause:?} {:?}", outcomes.flatten())
    })
}

/// Runs it in both disciplines. `make` makes a group of the children, whose output is what is logged.
pub fn run<'a>(
    scenario: &Scenario,
    container: Container,
    make: impl Fn([LocalBoxChild<'static, Output>; 3], &Stage) -> Any<'a, String>,
) {
    for pending_first in [true, false] {
        if container == Container::Source && !pending_first {
            // A child behind one that fails in its first poll, or after a signal, is not drawn.
            continue;
        }
        run_in(scenario, &format!("{container:?}"), pending_first, &make);
    }
}

/// The same in one of them.
pub fn run_in<'a>(
    scenario: &Scenario,
    container: &str,
    pending_first: bool,
    make: impl Fn([LocalBoxChild<'static, Output>; 3], &Stage) -> Any<'a, String>,
) {
    let _at = At(format!("{}, {container}, pending first: {pending_first}", scenario.name));
    let stage = Stage::new();
    let mut group = Some(make(stage.children(scenario.kinds), &stage));
    if pending_first {
        assert!(stage.world.poll(group.as_mut().unwrap().as_mut()).is_pending());
        stage.world.log.expect("");
    }
    for line in scenario.script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = match (line.strip_prefix("pending: "), line.strip_prefix("ready: ")) {
            (Some(line), _) if pending_first => line,
            (_, Some(line)) if !pending_first => line,
            (None, None) => line,
            _ => continue,
        };
        run_line(line, &stage, &mut group);
    }
    assert!(group.is_none(), "the script ends with a result or a drop");
}

fn run_line(line: &str, stage: &Stage, group: &mut Option<Any<'_, String>>) {
    let (actions, expected) = line.split_once("=>").unwrap();
    for action in actions.split(';').map(str::trim) {
        let child = || NAMES.iter().position(|(name, _)| action.ends_with(name)).unwrap();
        match action.split(' ').next().unwrap() {
            "ok" => stage.gates[child()].open(Ok(child() as u32)),
            "fail" => stage.gates[child()].open(Err(NAMES[child()].0)),
            "clean" => stage.cleanups[child()].open(()),
            "signal" => stage.signal.open(()),
            "over" => stage.grace.open(()),
            "drop" => *group = None,
            "poll" => {
                if let Poll::Ready(result) = stage.world.poll(group.as_mut().unwrap().as_mut()) {
                    stage.world.log.push(format!("ready {result}"));
                    *group = None;
                }
            }
            _ => panic!("no such action: {action}"),
        }
    }
    let happened = stage.world.log.take().join(", ");
    assert_eq!(happened, expected.trim(), "in: {line}");
}

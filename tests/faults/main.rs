//! A fault in every call of foreign code.
//!
//! A gather calls foreign code all the time: a child's poll, drop and cancel hook, closures, wakers. Each course that a
//! gather can take (container × policy × what ends it × what ends its drain × …) is run once without a fault, and each call
//! of foreign code is written down, with the place and the phase in which it came. Then the course is run again for each of
//! these calls and each [`Act`], with that fault in that call. So the matrix is
//!
//! > container × policy × phase × place × act
//!
//! and what is left out of it is left out by the rules of [`Refusal`]. In each run every child, output, error, closure and
//! waker is dropped exactly once, nothing hangs, the gather refuses to be polled after its end, the order of drops after a
//! panic is that of the indices, a source is dropped before the group's hook runs and before the children are dropped, a
//! result that a fault must not change is not changed, and no waiter in an intrusive list is left dangling. Where outputs
//! come one by one, from a stream or to a closure, none comes twice, a report has one of every child, a closure is not
//! called after the cause is set unless the group reports, and its future is dropped after the children. See [`world`] and
//! [`waiter`].
//!
//! `GATHER_FAULTS=all` runs every case, and of those with a second fault one in 2000; `GATHER_FAULTS=1000` about one case in
//! a thousand. Without it every third course is taken, and of those with a stream or a closure every thirteenth; each
//! combination of the matrix that is in these is run at least once, and of all cases one in some more.
//! `GATHER_FAULTS_TRACE=1` prints each case before it is run, for one that ends the process.

#![cfg(feature = "alloc")]

mod course;
mod handle;
mod matrix;
mod parent;
mod parts;
mod source;
mod waiter;
mod walk;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;

use course::{CONTAINERS, Container, Course, DRAIN_ENDS, ENDS, End, GROUPS, Group, NEXTS, Policy, Way};
use matrix::{ACTS, Act, Fault, PHASES, PLACES, Phase, Place, Refusal, Visit};
use parts::KINDS;
use walk::{Run, run};

/// Which cases are run.
#[derive(Clone, Copy)]
enum Sample {
    All,
    /// One in so many, in one course in [`COURSES`].
    OneIn(usize),
    /// Each combination of every third course once, and one in so many.
    EachAndOneIn(usize),
}

// All are coprime to the count of kinds, or a sample would have each child of some kinds only.
const COURSES: usize = 11;
/// Of groups, and of those whose outputs come one by one.
const COURSES_OF_EACH: [usize; 2] = [3, 13];

impl Sample {
    fn of_environment() -> Self {
        match std::env::var("GATHER_FAULTS").as_deref() {
            Ok("all") => Sample::All,
            Ok(number) => {
                let number: usize = number.parse().expect("GATHER_FAULTS is `all` or a number");
                Sample::OneIn(number.div_ceil(COURSES))
            }
            Err(_) => Sample::EachAndOneIn(200),
        }
    }

    /// Whether the case with these numbers, of those that the hasher has seen the first ones of, is run. The same ones are
    /// in each run of the test.
    fn takes(self, scattered: &DefaultHasher, case: impl Hash, is_new: bool) -> bool {
        let mut scattered = scattered.clone();
        case.hash(&mut scattered);
        let is_one_in = |count| scattered.finish() % count as u64 == 0;
        match self {
            Sample::All => true,
            Sample::OneIn(count) => is_one_in(count),
            Sample::EachAndOneIn(count) => is_new || is_one_in(count),
        }
    }
}

fn scattered(case: impl Hash) -> DefaultHasher {
    let mut scattered = DefaultHasher::new();
    case.hash(&mut scattered);
    scattered
}

/// A cell of the matrix, within one container and policy.
type Combination = (Phase, Place, Act);

#[derive(Default)]
struct Counts {
    courses: usize,
    calls: usize,
    cases: usize,
    second_faults: usize,
    would_abort: usize,
    combinations: BTreeMap<Result<(), Refusal>, usize>,
    by_phase: BTreeMap<Phase, usize>,
    by_place: BTreeMap<Place, usize>,
    by_act: BTreeMap<Act, usize>,
    failures: Vec<String>,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        fn add_all<K: Ord>(to: &mut BTreeMap<K, usize>, from: BTreeMap<K, usize>) {
            for (key, count) in from {
                *to.entry(key).or_default() += count;
            }
        }

        self.courses += other.courses;
        self.calls += other.calls;
        self.cases += other.cases;
        self.second_faults += other.second_faults;
        self.would_abort += other.would_abort;
        add_all(&mut self.combinations, other.combinations);
        add_all(&mut self.by_phase, other.by_phase);
        add_all(&mut self.by_place, other.by_place);
        add_all(&mut self.by_act, other.by_act);
        self.failures.extend(other.failures);
    }
}

/// All courses of a container under a policy, scattered, so that the first one in which something happens is any.
fn courses(container: Container, group: Group) -> Vec<Course> {
    let count = container.count();
    let mut all = vec![];
    for end in ENDS {
        for is_early in [false, true] {
            for drain_end in DRAIN_ENDS {
                for (next, in_reverse) in NEXTS.iter().flat_map(|next| [(*next, false), (*next, true)]) {
                    for stopper in [0, count / 2, count - 1] {
                        for shift in 0..KINDS.len() {
                            let course =
                                Course { container, group, end, is_early, drain_end, in_reverse, next, stopper, shift };
                            if course.exists() {
                                all.push(course);
                            }
                        }
                    }
                }
            }
        }
    }
    let step = 61;
    assert!(all.is_empty() || all.len() % step != 0);
    (0..all.len()).map(|turn| all[turn * step % all.len()]).collect()
}

/// Of many children faults happen in those at the edges of the groups and around the one that stops it.
fn is_at_an_edge(course: &Course, visit: &Visit) -> bool {
    let count = course.container.count();
    let edge = if course.container.is_source() { 8 } else { 63 };
    let near = |index: usize, edge: usize| index.abs_diff(edge) <= 1;
    visit.who.child().is_none_or(|index| {
        count <= 3 || near(index, course.stopper) || near(index, edge) || index < 2 || index + 1 == count
    })
}

/// The failures of one case.
fn judge(run: &Run, before: &Run, faults: &[Fault]) -> Vec<String> {
    let mut failures = run.blames.clone();
    let last = faults.last().expect("there is a fault").visit;
    let same = |a: &Visit, b: &Visit| (a.place, a.who) == (b.place, b.who);
    if run.visits.len() <= last || !run.visits[..=last].iter().zip(&before.visits).all(|(a, b)| same(a, b)) {
        failures.push("it took another course before the fault".into());
    }
    if run.fired != faults.len() {
        failures.push(format!("{} faults of {} happened", run.fired, faults.len()));
    }
    let panics = faults.iter().filter(|fault| fault.act == Act::Panic).count();
    if run.caught != panics {
        failures.push(format!("{panics} panics were planted, {} caught", run.caught));
    }
    if faults.iter().all(|fault| fault.act.is_harmless()) && run.shown != before.shown {
        failures.push(format!("the result is {:?}, without the fault {:?}", run.shown, before.shown));
    }
    failures
}

fn run_traced(course: &Course, faults: &[Fault]) -> Run {
    static IS_TRACED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("GATHER_FAULTS_TRACE").is_some());

    if *IS_TRACED {
        eprintln!("{course:?} {faults:?}");
    }
    run(course, faults, faults.is_empty())
}

/// The part of the matrix that has this container and policy.
fn part(container: Container, group: Group, sample: Sample) -> Counts {
    let mut counts = Counts::default();
    let mut seen: BTreeMap<Combination, Result<(), Refusal>> = BTreeMap::new();
    let all = courses(container, group);
    let taken = all.iter().step_by(match sample {
        Sample::All => 1,
        Sample::OneIn(_) => COURSES,
        Sample::EachAndOneIn(_) => COURSES_OF_EACH[usize::from(group.way() != Way::AtOnce)],
    });
    for course in taken {
        let plain = run_traced(course, &[]);
        counts.courses += 1;
        counts.calls += plain.visits.len();
        let mut blames = plain.blames.clone();
        if group.way() != Way::AtOnce && course.end == End::Complete && plain.handed != container.count() {
            blames.push(format!("{} outputs were handed over", plain.handed));
        }
        if !blames.is_empty() {
            counts.failures.push(format!("{course:?}\n  without a fault: {blames:#?}"));
            continue;
        }
        let scattered = scattered(course);
        for (at, visit) in plain.visits.iter().enumerate().filter(|(_, visit)| is_at_an_edge(course, visit)) {
            for act in ACTS {
                let combination = (visit.phase, visit.place, act);
                if let Some(refusal) = visit.refuses(act) {
                    seen.entry(combination).or_insert(Err(refusal));
                    continue;
                }
                let is_new = seen.get(&combination) != Some(&Ok(()));
                if !sample.takes(&scattered, (at, act), is_new) {
                    continue;
                }
                seen.insert(combination, Ok(()));
                counts.cases += 1;
                *counts.by_phase.entry(visit.phase).or_default() += 1;
                *counts.by_place.entry(visit.place).or_default() += 1;
                *counts.by_act.entry(act).or_default() += 1;
                let first = Fault { visit: at, act };
                let faulty = run_traced(course, &[first]);
                let failures = judge(&faulty, &plain, &[first]);
                if failures.is_empty() {
                    second(course, first, &faulty, sample, &mut counts);
                } else {
                    counts.failures.push(format!("{course:?}\n  {act:?} in {visit:?}: {failures:#?}"));
                }
                if counts.failures.len() > 5 {
                    return counts;
                }
            }
        }
    }
    for phase in PHASES {
        for place in PLACES {
            for act in ACTS {
                let result = seen.get(&(phase, place, act)).copied().unwrap_or(Err(Refusal::NotCalled));
                *counts.combinations.entry(result).or_default() += 1;
            }
        }
    }
    counts
}

/// A second fault after the first one, also while that unwinds.
fn second(course: &Course, first: Fault, before: &Run, sample: Sample, counts: &mut Counts) {
    let sample = match sample {
        Sample::All => Sample::OneIn(2000),
        Sample::OneIn(count) | Sample::EachAndOneIn(count) => Sample::OneIn(3 * count),
    };
    let scattered = scattered((course, first));
    let later = before.visits.iter().enumerate().skip(first.visit + 1);
    for (at, visit) in later.filter(|(_, visit)| is_at_an_edge(course, visit)) {
        for act in ACTS {
            let refusal = visit.refuses(act);
            counts.would_abort += usize::from(refusal == Some(Refusal::WouldAbort));
            if refusal.is_some() || !sample.takes(&scattered, (at, act), false) {
                continue;
            }
            counts.second_faults += 1;
            let faults = [first, Fault { visit: at, act }];
            let mut failures = judge(&run_traced(course, &faults), before, &faults);
            // It may change the result together with the first one, as a signal does that comes earlier.
            failures.retain(|failure| !failure.starts_with("the result is"));
            if !failures.is_empty() {
                counts.failures.push(format!("{course:?}\n  {faults:?}, the second in {visit:?}: {failures:#?}"));
            }
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn nothing_breaks_it() {
    world::quiet_hook();
    let sample = Sample::of_environment();
    let parts: Vec<_> = CONTAINERS.iter().flat_map(|container| GROUPS.map(|group| (*container, group))).collect();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Counts::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(|| {
                while let Some((container, group)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = part(*container, *group, sample);
                    total.lock().unwrap().add(counts);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();

    let size = CONTAINERS.len() * GROUPS.len() * PHASES.len() * PLACES.len() * ACTS.len();
    let is_whole = !matches!(sample, Sample::OneIn(_));
    println!("{} courses, {} calls of foreign code in them", total.courses, total.calls);
    if is_whole {
        let count = |result| total.combinations.get(&result).copied().unwrap_or(0);
        println!("{size} combinations of container, policy, phase, place and act:");
        println!("  {:6} were run", count(Ok(())));
        for (refusal, why) in [
            (Refusal::NotCalled, "are none: in no course that place is called in that phase"),
            (Refusal::OutOfReach, "are none: who polls or drops the gather holds it, nobody else reaches it"),
            (Refusal::NothingToDo, "are none: nobody waits there to be woken or signalled"),
        ] {
            println!("  {:6} {why}", count(Err(refusal)));
        }
    }
    println!("{} cases: {:?}", total.cases, total.by_phase);
    println!("  {:?}\n  {:?}", total.by_place, total.by_act);
    println!("{} cases with a second fault; {} left out, which would abort", total.second_faults, total.would_abort);
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));

    if is_whole {
        assert_eq!(total.combinations.values().sum::<usize>(), size);
        let places: BTreeSet<_> = total.by_place.keys().copied().collect();
        assert_eq!(places, PLACES.into_iter().collect(), "a place in which no fault happens");
        assert_eq!(total.by_act.len(), ACTS.len());
        assert_eq!(total.by_phase.len(), PHASES.len());
    }
}

/// A panic that another one follows in its unwind, in some courses.
fn aborting() -> Vec<(Course, [Fault; 2])> {
    let mut all = vec![];
    for container in [Container::Tuple, Container::Array, Container::Vec(3), Container::BoxedSlice] {
        let group = Group::Gather { policy: Policy::FailFast, report: false, way: Way::AtOnce };
        let is_wanted = |course: &&Course| course.end == End::Stop && !course.is_early;
        let course = courses(container, group).into_iter().find(|course| is_wanted(&course)).expect("there is one");
        let plain = run(&course, &[], false);
        let polls = plain.visits.iter().rposition(|visit| visit.place == Place::ChildPoll);
        let first = Fault { visit: polls.expect("a child is polled"), act: Act::Panic };
        let faulty = run(&course, &[first], false);
        let second = faulty.visits.iter().position(|visit| visit.unwinding && visit.place == Place::ChildDrop);
        all.push((course, [first, Fault { visit: second.expect("a child is dropped"), act: Act::Panic }]));
    }
    all
}

/// As everywhere in Rust: it does not go on with half a gather. In processes of their own.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
#[cfg(unix)]
fn a_second_panic_in_an_unwind_aborts() {
    use std::os::unix::process::ExitStatusExt;

    const NAME: &str = "a_second_panic_in_an_unwind_aborts";
    const ABORTED: i32 = 6;

    world::quiet_hook();
    let all = aborting();
    if let Ok(number) = std::env::var("GATHER_FAULTS_ABORT") {
        let (course, faults) = &all[number.parse::<usize>().unwrap()];
        run(course, faults, false);
        println!("went on");
        return;
    }
    for (number, (course, _)) in all.iter().enumerate() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([NAME, "--exact", "--nocapture"]).env("GATHER_FAULTS_ABORT", number.to_string());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.signal(), Some(ABORTED), "{course:?}: {text}");
        assert!(!text.contains("went on"));
    }
}

//! Restarted with what only one can have at a time: a port, the lock of a file.

#![cfg(all(unix, feature = "alloc"))]

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::{self, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gather::{CancelExt, Child, Limit, RestartError, restart};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

/// What takes as long hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// A process that is being started has, for a moment, everything that is open in this one, the ports and locks of the
/// other tests too. So a test that starts processes (a writer) runs alone.
static ALONE: RwLock<()> = RwLock::new(());

/// A service ends when it fails, or is aborted.
type Ended = Result<Infallible, &'static str>;

/// What the tests want of a runtime.
trait Runtime: 'static {
    type Listener: Send + 'static;
    type Stream: Send + 'static;
    type Task: Future;

    /// In a runtime's context, of a listener that does not block.
    fn listener(listener: TcpListener) -> io::Result<Self::Listener>;
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn write(stream: &mut Self::Stream, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    fn spawn(service: impl Future<Output = Ended> + Send + 'static) -> Self::Task;
    fn abort(task: Self::Task);
    /// Aborted when it is cancelled, and waited for.
    fn child(task: Self::Task) -> impl Child<Output = Ended>;

    /// Killed when it is cancelled, and waited for.
    fn process(command: Command, ended: impl FnOnce(ExitStatus) -> Ended) -> impl Child<Output = Ended>;

    fn timeout<F: IntoFuture>(future: F) -> impl Future<Output = F::Output>;
}

struct Tokio;

impl Runtime for Tokio {
    type Listener = tokio::net::TcpListener;
    type Stream = tokio::net::TcpStream;
    type Task = tokio::task::JoinHandle<Ended>;

    fn listener(listener: TcpListener) -> io::Result<Self::Listener> {
        tokio::net::TcpListener::from_std(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        Ok(listener.accept().await?.0)
    }

    async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        tokio::io::AsyncReadExt::read(stream, buffer).await
    }

    async fn write(stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(stream, bytes).await
    }

    fn spawn(service: impl Future<Output = Ended> + Send + 'static) -> Self::Task {
        tokio::spawn(service)
    }

    fn abort(task: Self::Task) {
        task.abort();
    }

    fn child(task: Self::Task) -> impl Child<Output = Ended> {
        task.on_cancel(|task| task.abort()).map(|joined| match joined {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => Err("aborted"),
            Err(error) => panic!("{error}"),
        })
    }

    fn process(command: Command, ended: impl FnOnce(ExitStatus) -> Ended) -> impl Child<Output = Ended> {
        /// The child must be at hand to be killed, and `wait` borrows it.
        struct Process(tokio::process::Child);

        impl Future for Process {
            type Output = io::Result<ExitStatus>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                pin!(self.0.wait()).poll(cx)
            }
        }

        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        Process(child).on_cancel(|mut process| process.0.start_kill().unwrap()).map(|status| ended(status.unwrap()))
    }

    async fn timeout<F: IntoFuture>(future: F) -> F::Output {
        tokio::time::timeout(LIMIT, future).await.expect("it hangs")
    }
}

struct Smol;

impl Runtime for Smol {
    type Listener = smol::net::TcpListener;
    type Stream = smol::net::TcpStream;
    type Task = smol::Task<Ended>;

    fn listener(listener: TcpListener) -> io::Result<Self::Listener> {
        smol::net::TcpListener::try_from(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        Ok(listener.accept().await?.0)
    }

    async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        smol::io::AsyncReadExt::read(stream, buffer).await
    }

    async fn write(stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<()> {
        smol::io::AsyncWriteExt::write_all(stream, bytes).await
    }

    fn spawn(service: impl Future<Output = Ended> + Send + 'static) -> Self::Task {
        smol::spawn(service)
    }

    fn abort(task: Self::Task) {
        drop(task);
    }

    fn child(task: Self::Task) -> impl Child<Output = Ended> {
        /// A task of smol is cancelled by consuming it.
        enum Task {
            Running(Option<smol::Task<Ended>>),
            Cancelling(Pin<Box<dyn Future<Output = Option<Ended>>>>),
        }

        impl Future for Task {
            type Output = Option<Ended>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                match self.get_mut() {
                    Task::Running(task) => Pin::new(task.as_mut().unwrap()).poll(cx).map(Some),
                    Task::Cancelling(cancelling) => cancelling.as_mut().poll(cx),
                }
            }
        }

        let cancel = |mut task: Pin<&mut Task>| {
            if let Task::Running(running) = &mut *task {
                let cancelling = running.take().unwrap().cancel();
                task.set(Task::Cancelling(Box::pin(cancelling)));
            }
        };
        Task::Running(Some(task)).on_cancel(cancel).map(|ended| ended.unwrap_or(Err("aborted")))
    }

    fn process(command: Command, ended: impl FnOnce(ExitStatus) -> Ended) -> impl Child<Output = Ended> {
        let mut child = smol::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        child.status().on_cancel(move |_| child.kill().unwrap()).map(|status| ended(status.unwrap()))
    }

    async fn timeout<F: IntoFuture>(future: F) -> F::Output {
        let hangs = async {
            smol::Timer::after(LIMIT).await;
            panic!("it hangs");
        };
        smol::future::or(future.into_future(), hangs).await
    }
}

fn tokio_current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Two addresses whose ports are free. No two tests have a host in common, nor has it any client: none of them is given
/// the port while its service is gone for a moment.
fn addresses(host: u8) -> [SocketAddr; 2] {
    // Elsewhere the first alone is configured.
    let host = Ipv4Addr::new(127, 0, 0, if cfg!(target_os = "linux") { host } else { 1 });
    [0; 2].map(|port| TcpListener::bind((host, port)).unwrap()).map(|listener| listener.local_addr().unwrap())
}

/// What std and the runtimes set, `SO_REUSEADDR`, lets a port be bound when the connections of its last listener are
/// still being closed, but not while that listener is open.
fn listen<R: Runtime>(address: SocketAddr) -> io::Result<R::Listener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    R::listener(listener)
}

const ASK: u8 = b'?';
const FAIL: u8 = b'!';

/// One client at a time: tells it its name, or fails.
async fn serve<R: Runtime>(listener: R::Listener, name: [u8; 2]) -> Ended {
    loop {
        let mut stream = R::accept(&listener).await.unwrap();
        let mut request = [0];
        while R::read(&mut stream, &mut request).await.unwrap() > 0 {
            match request {
                [ASK] => R::write(&mut stream, &name).await.unwrap(),
                _ => return Err("failed"),
            }
        }
    }
}

const RESTARTS: u8 = 50;

/// The client of both services. In each generation that it is told of: asks both, and makes one fail, while the other is
/// in conversation with it. Returns for how many it did so.
fn client(addresses: [SocketAddr; 2]) -> (Sender<u8>, JoinHandle<usize>) {
    let connect = move |index: u8| {
        let stream = TcpStream::connect_timeout(&addresses[usize::from(index)], LIMIT).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    };
    let ask = |mut stream: &TcpStream| {
        let mut answer = [0; 2];
        stream.write_all(&[ASK]).unwrap();
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    let (generations, told) = channel();
    let each = move |generation| {
        let (failing, sibling) = (generation % 2, (generation + 1) % 2);
        let (mut to_failing, mut to_sibling) = (connect(failing), connect(sibling));
        assert_eq!(ask(&to_failing), [failing, generation]);
        assert_eq!(ask(&to_sibling), [sibling, generation]);
        to_failing.write_all(&[FAIL]).unwrap();
        assert_eq!(to_failing.read(&mut [0]).unwrap(), 0);
        assert_eq!(to_sibling.read(&mut [0]).unwrap(), 0, "the sibling does not outlive the generation");
    };
    (generations, thread::spawn(move || told.into_iter().map(each).count()))
}

async fn ports_are_bound_again<R: Runtime>(host: u8) {
    let addresses = addresses(host);
    let (generations, client) = client(addresses);
    let made = Cell::new(0);
    let failed = RefCell::new(Vec::new());
    let group = restart(Limit::restarts(RESTARTS.into()), || {
        let generation = made.replace(made.get() + 1);
        let children = [0, 1].map(|index| {
            let listener = listen::<R>(addresses[usize::from(index)]).expect("who had the port is gone");
            R::child(R::spawn(serve::<R>(listener, [index, generation])))
        });
        generations.send(generation).unwrap();
        children
    });
    let group = group.observe(|failure| failed.borrow_mut().push(failure.index));
    let given_up = RestartError::LimitReached { restarts: RESTARTS.into(), source: "failed" };
    assert_eq!(R::timeout(group).await, Err(given_up));

    drop(generations);
    assert_eq!(client.join().unwrap(), usize::from(RESTARTS) + 1);
    assert_eq!(*failed.borrow(), (0..=RESTARTS).map(|generation| usize::from(generation % 2)).collect::<Vec<_>>());
    for address in addresses {
        TcpListener::bind(address).expect("the last generation is gone too");
    }
}

/// The same with an abort and no more: how many generations there were, and what the next one failed with.
///
/// The sibling has no chance to close its port: this is run on the only thread of its executor, and does not yield after
/// the abort.
async fn ports_without_waiting<R: Runtime>(host: u8) -> (u8, io::Result<()>, JoinHandle<usize>) {
    let addresses = addresses(host);
    let (generations, client) = client(addresses);
    let mut made = 0;
    let result = async {
        while made <= RESTARTS {
            let [first, second] = addresses.map(listen::<R>);
            let mut tasks = vec![R::spawn(serve::<R>(first?, [0, made])), R::spawn(serve::<R>(second?, [1, made]))];
            generations.send(made).unwrap();
            tasks.swap_remove(usize::from(made % 2)).await;
            tasks.into_iter().for_each(R::abort);
            made += 1;
        }
        Ok(())
    };
    let result = result.await;
    (made, result, client)
}

fn assert_refused((made, result, client): (u8, io::Result<()>, JoinHandle<usize>)) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(made, 1, "the first restart fails");
    assert_eq!(client.join().unwrap(), 1);
}

#[test]
fn ports_are_bound_again_on_tokio_current_thread() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    tokio_current_thread().block_on(ports_are_bound_again::<Tokio>(2));
}

#[test]
fn ports_are_bound_again_on_tokio_multi_thread() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(ports_are_bound_again::<Tokio>(3));
}

#[test]
fn ports_are_bound_again_on_smol() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(ports_are_bound_again::<Smol>(4));
}

#[test]
fn without_waiting_a_port_is_in_use_on_tokio() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let refused = tokio_current_thread().block_on(Tokio::timeout(ports_without_waiting::<Tokio>(5)));
    assert_refused(refused);
}

#[test]
fn without_waiting_a_port_is_in_use_on_smol() {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    // smol's own executor has one thread.
    let refused = smol::block_on(Smol::timeout(smol::spawn(ports_without_waiting::<Smol>(6))));
    assert_refused(refused);
}

/// Locks the file, or fails at once, and starts a process that has the lock for so long. The lock belongs to what was
/// opened, and that is handed on to the process: it is free when the process is gone.
fn lock_for(path: &Path, seconds: &str) -> Command {
    let file = File::create(path).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("who had the lock is gone");
    let mut command = Command::new("sleep");
    command.arg(seconds).stdin(file);
    command
}

async fn locks_are_taken_again<R: Runtime>(name: &str) {
    const RESTARTS: u32 = 20;
    let path = |which| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}-{which}.lock", process::id()));
    let paths: [PathBuf; 2] = ["killed", "ending"].map(path);
    let statuses = RefCell::new(Vec::new());
    let killed = |status: ExitStatus| {
        statuses.borrow_mut().push(status.signal());
        Err("killed")
    };
    let group = restart(Limit::restarts(RESTARTS), || {
        let killed = R::process(lock_for(&paths[0], "60"), killed);
        let ending = R::process(lock_for(&paths[1], "0.01"), |_| Err("ended by itself"));
        (killed, ending)
    });
    let given_up = RestartError::LimitReached { restarts: RESTARTS, source: "ended by itself" };
    assert_eq!(R::timeout(group).await, Err(given_up));
    assert_eq!(*statuses.borrow(), [Some(Signal::KILL.as_raw()); RESTARTS as usize + 1]);
    for path in paths {
        drop(lock_for(&path, "0"));
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn locks_are_taken_again_on_tokio() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    tokio_current_thread().block_on(locks_are_taken_again::<Tokio>("tokio"));
}

#[test]
fn locks_are_taken_again_on_smol() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(locks_are_taken_again::<Smol>("smol"));
}

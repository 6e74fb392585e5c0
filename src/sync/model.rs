//! Models of code that races: [`explore`] runs a model once for each order of its tasks.
//!
//! A model is a function that spawns tasks and calls the code of the product in them. shuttle chooses the task that goes on
//! at each switch. The runtime of the product has one thread, so tasks switch where they wait: [`Switches::Waits`]. The code
//! is written for several threads, so models go further, and switch at each lock and counter too: [`Switches::Locks`].
//!
//! Time is tokio's paused clock. The first task of a model is the only one that moves it: with [`tick`] at any
//! moment, as on a machine that is short of time, or with [`pass`] if all other tasks wait, as on an idle one.

use std::cell::Cell;
use std::env;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner, current};
use tokio::runtime::{Builder, Runtime};
use tokio::time::advance;

/// The number of schedules of each exploration, unless [`VARIABLE`] has another.
const SCHEDULES: usize = 100;

/// The environment variable with the number of schedules.
const VARIABLE: &str = "MODEL_SCHEDULES";

/// The seed of explorations that choose at random. With another number of schedules they go on from there.
const SEED: u64 = 18;

/// The most bytes on the stack of a task: a check in a debug build is deep.
const STACK: usize = 1 << 19;

/// The places at which tasks switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switches {
    /// The places at which a task waits, as in the runtime.
    Waits,
    /// Each lock and each counter too.
    Locks,
}

thread_local! {
    static SWITCHES: Cell<Switches> = const { Cell::new(Switches::Waits) };
    /// `true` while the first task waits for all others to wait.
    static IS_PATIENT: Cell<bool> = const { Cell::new(false) };
    /// `true` while no other task may go on.
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static CLOCK: Cell<Weak<Runtime>> = const { Cell::new(Weak::new()) };
}

/// Runs `model` in every order of its tasks if those are few enough, and else in the first of all, in random ones, and in
/// ones with few switches at unexpected places. `what` says what is explored.
pub(crate) fn explore(switches: Switches, what: &str, model: impl Fn() + Send + Sync + 'static) {
    let most = env::var(VARIABLE).ok().and_then(|most| most.parse().ok()).unwrap_or(SCHEDULES);
    let model = Arc::new(model);
    let run = |switches, scheduler: Box<dyn Scheduler + Send>| runs(switches, scheduler, model.clone());
    let (all, steps) = run(Switches::Waits, Box::new(DfsScheduler::new(Some(most), true)));
    let every = if all < most { "every one" } else { "the first ones" };
    println!("{what}: {all} schedules of up to {steps} steps, {every}");
    if all == most {
        let (random, steps) = run(Switches::Waits, Box::new(RandomScheduler::new_from_seed(SEED, most)));
        println!("{what}: {random} schedules of up to {steps} steps, at random");
    }
    if switches == Switches::Locks {
        let (few, steps) = run(Switches::Locks, Box::new(PctScheduler::new_from_seed(SEED, 3, most)));
        println!("{what}: {few} schedules of up to {steps} steps, with switches at locks");
    }
}

/// Runs a model in the orders of `scheduler`; returns their number, and the steps of the longest.
fn runs(
    switches: Switches,
    scheduler: Box<dyn Scheduler + Send>,
    model: Arc<impl Fn() + Send + Sync + 'static>,
) -> (usize, usize) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.silence_warnings = true;
    let longest = Arc::new(AtomicUsize::new(0));
    let steps = longest.clone();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let runtime = Arc::new(runtime);
    let _entered = runtime.enter();
    SWITCHES.set(switches);
    CLOCK.set(Arc::downgrade(&runtime));
    let number = Runner::new(Patient(scheduler), config).run(move || {
        fastrand::seed(SEED);
        COUNT.set(0);
        IS_PATIENT.set(false);
        model();
        steps.fetch_max(current::context_switches(), Ordering::Relaxed);
    });
    (number, longest.load(Ordering::Relaxed))
}

/// A scheduler by which a task that is alone goes on, and the first one, while it is patient, goes on last.
struct Patient<S>(S);

impl<S: Scheduler> Scheduler for Patient<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(&mut self, tasks: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        if IS_ALONE.get() {
            return current;
        }
        let others: Vec<_> = tasks.iter().copied().filter(|task| task.id() != TaskId::from(0)).collect();
        let tasks = if IS_PATIENT.get() && !others.is_empty() { &others[..] } else { tasks };
        self.0.next_task(tasks, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// `true` in a task of a model.
fn is_running() -> bool {
    current::try_get_current_task().is_some()
}

/// Lets another task go on.
pub(crate) fn switch() {
    shuttle::thread::yield_now();
}

/// Lets other tasks go on until all of them wait.
pub(crate) fn rest() {
    IS_PATIENT.set(true);
    switch();
    IS_PATIENT.set(false);
}

/// Moves the clock, whatever the other tasks do.
pub(crate) fn tick(time: Duration) {
    switch();
    let clock = CLOCK.take();
    clock.upgrade().unwrap().block_on(advance(time));
    CLOCK.set(clock);
}

/// Moves the clock by a millisecond after another, each once all other tasks wait.
pub(crate) fn pass(time: Duration) {
    for _ in 0..time.as_millis() {
        rest();
        tick(Duration::from_millis(1));
    }
    rest();
}

/// `true` in a model that switches at locks.
pub(crate) fn is_at_locks() -> bool {
    SWITCHES.get() == Switches::Locks && is_running()
}

/// In a model that switches at locks: waits until `is_free`, and lets other tasks go on first.
pub(crate) fn wait_until(is_free: impl Fn() -> bool) {
    if is_at_locks() {
        switch();
        while !is_free() {
            switch();
        }
    }
}

/// The twin of the counter that the whole program has: each thread has one of its own, so that tests do not disturb
/// each other.
#[derive(Debug)]
pub(crate) struct Counter;

#[expect(clippy::unused_self, reason = "it has the methods of its twin")]
impl Counter {
    pub(crate) const fn new(_: u64) -> Self {
        Self
    }

    pub(crate) fn load(&self, _: Ordering) -> u64 {
        wait_until(|| true);
        COUNT.get()
    }

    pub(crate) fn fetch_add(&self, more: u64, _: Ordering) -> u64 {
        wait_until(|| true);
        COUNT.replace(COUNT.get() + more)
    }
}

/// The twin of tokio's: in a model, a task of the model.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Spawned {
    if is_running() {
        // tokio's does not wait, so its caller may hold a lock.
        IS_ALONE.set(!is_at_locks());
        let task = shuttle::future::spawn(future);
        IS_ALONE.set(false);
        Spawned::Modeled(task)
    } else {
        Spawned::Real(tokio::spawn(future))
    }
}

/// The end of a task.
#[derive(Debug)]
pub(crate) enum Spawned {
    Modeled(shuttle::future::JoinHandle<()>),
    Real(tokio::task::JoinHandle<()>),
}

impl Future for Spawned {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Modeled(task) => Pin::new(task).poll(cx).map(drop),
            Self::Real(task) => Pin::new(task).poll(cx).map(drop),
        }
    }
}

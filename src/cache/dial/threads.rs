//! [`Threads`]: threads for the system's lookup of names, which blocks.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

/// The system's answer for a name: its addresses, with port 0.
pub(super) type LookupResult = io::Result<Vec<SocketAddr>>;

/// The stack of a thread, in bytes. getaddrinfo(3) needs less than half, and the modules of nsswitch.conf(5) have the rest.
const STACK: usize = 256 * 1024;

/// The most idle threads that wait for another name, and the time for which they wait.
const MOST_IDLE: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(10);

/// Threads that are started when they are needed.
#[derive(Debug, Default)]
pub(super) struct Threads {
    jobs: Mutex<Jobs>,
    another: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    idle: usize,
}

#[derive(Debug)]
struct Job {
    name: Arc<str>,
    found: oneshot::Sender<LookupResult>,
}

impl Threads {
    /// Has a thread look a name up. The error means that no thread could be started.
    pub(super) fn look_up(self: &Arc<Self>, name: &Arc<str>) -> io::Result<oneshot::Receiver<LookupResult>> {
        let (sender, found) = oneshot::channel();
        let mut jobs = self.jobs();
        if jobs.idle <= jobs.waiting.len() {
            let threads = self.clone();
            thread::Builder::new()
                .name("resolver".to_owned())
                .stack_size(STACK)
                .spawn(move || threads.work())?;
            jobs.idle += 1;
        }
        jobs.waiting.push_back(Job { name: name.clone(), found: sender });
        self.another.notify_one();
        Ok(found)
    }

    /// The main loop of a thread. The thread counts as idle before it has begun.
    fn work(&self) {
        while let Some(Job { name, found }) = self.next() {
            // The receiver may be gone, which does not matter.
            let _ = found.send((&*name, 0).to_socket_addrs().map(Iterator::collect));
            let mut jobs = self.jobs();
            if jobs.idle >= MOST_IDLE && jobs.waiting.is_empty() {
                return;
            }
            jobs.idle += 1;
        }
    }

    fn next(&self) -> Option<Job> {
        let has_none = |jobs: &mut Jobs| jobs.waiting.is_empty();
        let waited = self.another.wait_timeout_while(self.jobs(), IDLE_FOR, has_none);
        let (mut jobs, _) = waited.unwrap_or_else(PoisonError::into_inner);
        jobs.idle -= 1;
        jobs.waiting.pop_front()
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

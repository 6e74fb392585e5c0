//! [`Resolver`]: looks names up, so that hung lookups take no thread from other names.
//!
//! The system's lookup blocks a thread for any time, and nothing ends it. Five rules bound the threads of names that hang:
//!
//! 1. A name in `/etc/hosts` needs no thread (`hosts.rs`).
//! 2. All callers share the lookups of a name, for all ports. As long as one waits, another lookup begins each half of the
//!    deadline: a packet may have been lost, and the system waits five seconds for it. So every check has a lookup that
//!    began in its own first half.
//! 3. A lookup that has outlived a turn is late and makes room for two others, so the number of threads doubles each turn.
//! 4. There are three lanes, by the result of the name's last lookup: answered names, new names, and silent names, whose
//!    lookup has outlived the deadline. Silent names have few threads, and each lane leaves some to the lanes before it.
//! 5. The silent name that was looked up least often comes first, even if its check has given up, so each has its turn.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::hosts::HostsFile;
use super::shortage::Shortage;
use super::threads::{LookupResult, Threads};
use crate::budget;
use crate::mutex::Mutex;

/// The most threads. As many are needed only if that many new names hang at once; a thread that waits for a name server has
/// a socket and some 30 kB.
const MOST: usize = 1200;

/// The part of the threads that a lane leaves to each lane before it: one in this many.
const LEFT: usize = 16;

/// The most prompt lookups under way, before late ones make room for more. A name server answers within milliseconds.
const AT_A_TIME: usize = 16;

/// The most lookups of one name at a time. With the usual deadline they begin within six seconds, and from the fifth on the
/// system repeats the first ones.
const OF_ONE_NAME: usize = 16;

/// The most threads for silent names.
const FOR_SILENT: usize = 64;

/// The most names that are remembered. Servers that list others can name any number.
const MOST_REMEMBERED: usize = 16 * 1024;

/// The stage of a lookup.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It waits for a thread.
    Queued,
    UnderWay,
    Over(Resolution),
}

/// The result of a lookup: the addresses, with port 0.
pub(super) type Resolution = Result<Arc<[SocketAddr]>, LookupError>;

/// The reason why a name has no address. With texts, because an [`io::Error`] cannot be shared.
#[derive(Debug, Clone)]
pub(super) enum LookupError {
    /// The system says so.
    Unresolvable(Arc<str>),
    /// The system lacked something for the lookup.
    Shortage(Arc<str>, Shortage),
    /// No thread could be started.
    NoThread(Arc<str>),
}

/// Looks names up. One serves all caches, even after the configuration is reloaded: threads of hung lookups stay.
#[derive(Debug)]
pub(crate) struct Resolver {
    hosts: HostsFile,
    system: System,
    /// The most threads.
    most: usize,
    state: Mutex<ResolverState>,
}

/// The way to the system's lookup.
#[derive(Debug)]
enum System {
    Threads(Arc<Threads>),
    #[cfg(test)]
    Scripted(tests::Script),
}

#[derive(Debug, Default)]
struct ResolverState {
    names: HashMap<Arc<str>, Name>,
    /// In the order in which they are to be looked up.
    queue: BTreeMap<(LookupLane, u64), Arc<str>>,
    queued_so_far: u64,
    /// The number of lookups of each [`LookupState`] that are under way.
    under_way: [usize; 3],
}

/// The result of a name's last lookup, in the order in which lanes are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum LookupLane {
    Answered,
    #[default]
    New,
    /// It has outlived the deadline, so many times in a row.
    Silent(u32),
}

/// The count to which a lookup under way belongs.
#[derive(Debug, Clone, Copy)]
enum LookupState {
    Prompt,
    Late,
    Silent,
}

#[derive(Debug, Default)]
struct Name {
    lane: LookupLane,
    /// The channel on which callers wait; `None` if there was no caller since the last answer.
    asked: Option<watch::Sender<Stage>>,
    is_queued: bool,
    /// The times at which its lookups under way began, at most [`OF_ONE_NAME`].
    began: Vec<Instant>,
}

impl Default for Resolver {
    fn default() -> Self {
        // A lookup has a socket, and most of the allowed files are for connections.
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        let most = files.map_or(MOST, |files| MOST.min(files / 8)).max(1);
        Self {
            hosts: HostsFile::system(),
            system: System::Threads(Arc::default()),
            most,
            state: Mutex::default(),
        }
    }
}

impl Resolver {
    /// The addresses that the system's files give a name.
    pub(super) fn in_files(&self, name: &str) -> Option<Vec<SocketAddr>> {
        self.hosts.addresses(name)
    }

    /// Looks a name up, or joins a lookup of that name, for a check with this deadline.
    pub(super) fn look_up(self: &Arc<Self>, name: &str, deadline: Duration) -> watch::Receiver<Stage> {
        let mut state = self.state.lock();
        let receiver = state.ask(name, deadline);
        self.start(&mut state, deadline);
        receiver
    }

    /// The number of lookups under way.
    pub(super) fn under_way(&self) -> usize {
        self.state.lock().under_way.iter().sum()
    }

    /// Starts the queued lookups for which there is room.
    fn start(self: &Arc<Self>, state: &mut ResolverState, deadline: Duration) {
        while let Some((lane, name)) = state.next(self.most) {
            match self.system.look_up(&name) {
                Ok(found) => {
                    let began = state.begin(&name, lane);
                    tokio::spawn(self.clone().follow(name, began, lane.lookup_state(), found, deadline));
                }
                // A lookup under way leaves its thread to this one.
                Err(_) if state.under_way[LookupState::Prompt as usize] > 0 => {
                    state.queue_up(&name, lane);
                    return;
                }
                Err(error) => state.answer(&name, Err(LookupError::NoThread(error.to_string().into()))),
            }
        }
    }

    /// Starts another lookup for callers that wait for one that is old.
    fn repeat(self: &Arc<Self>, name: &Arc<str>, deadline: Duration) {
        let mut state = self.state.lock();
        state.repeat(name, deadline);
        self.start(&mut state, deadline);
    }

    /// Waits for a lookup that has begun.
    async fn follow(
        self: Arc<Self>,
        name: Arc<str>,
        began: Instant,
        mut lookup_state: LookupState,
        mut found: oneshot::Receiver<LookupResult>,
        deadline: Duration,
    ) {
        let found = if let Ok(found) = timeout(budget::TURN.of(deadline), &mut found).await {
            found
        } else {
            if let LookupState::Prompt = lookup_state {
                let mut state = self.state.lock();
                state.leave(lookup_state);
                lookup_state = LookupState::Late;
                state.enter(lookup_state);
                self.start(&mut state, deadline);
            }
            let again = began + budget::SECOND_LOOKUP.of(deadline);
            if let Ok(found) = timeout_at(again, &mut found).await {
                found
            } else {
                self.repeat(&name, deadline);
                found.await
            }
        };
        let found = found.unwrap_or_else(|_| Err(io::Error::other("the look-up was aborted")));
        let error = |error: io::Error| match Shortage::of(&error) {
            Some(shortage) => LookupError::Shortage(error.to_string().into(), shortage),
            None => LookupError::Unresolvable(error.to_string().into()),
        };
        let mut state = self.state.lock();
        state.leave(lookup_state);
        state.end(&name, began, deadline, found.map(Into::into).map_err(error));
        self.start(&mut state, deadline);
    }
}

impl System {
    fn look_up(&self, name: &Arc<str>) -> io::Result<oneshot::Receiver<LookupResult>> {
        match self {
            Self::Threads(threads) => threads.look_up(name),
            #[cfg(test)]
            Self::Scripted(script) => script.look_up(name),
        }
    }
}

impl LookupLane {
    fn lookup_state(self) -> LookupState {
        match self {
            Self::Answered | Self::New => LookupState::Prompt,
            Self::Silent(_) => LookupState::Silent,
        }
    }

    /// The lane of a name whose lookup in this lane has begun, until it is answered.
    fn unanswered(self) -> Self {
        match self {
            Self::Answered | Self::New => Self::Silent(1),
            Self::Silent(times) => Self::Silent(times.saturating_add(1)),
        }
    }
}

impl ResolverState {
    /// Adds a caller, and a lookup if one is needed.
    fn ask(&mut self, name: &str, deadline: Duration) -> watch::Receiver<Stage> {
        let name = match self.names.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => self.remember(name),
        };
        let known = self.names.entry(name.clone()).or_default();
        let stage = if known.began.is_empty() { Stage::Queued } else { Stage::UnderWay };
        let receiver = known.asked.get_or_insert_with(|| watch::Sender::new(stage)).subscribe();
        if known.needs_another(deadline) {
            let lane = known.lane;
            self.queue_up(&name, lane);
        }
        receiver
    }

    /// Adds a lookup for callers that wait for one that is old.
    fn repeat(&mut self, name: &Arc<str>, deadline: Duration) {
        let known = self.names.get(name).filter(|known| known.is_awaited() && known.needs_another(deadline));
        if let Some(lane) = known.map(|known| known.lane) {
            self.queue_up(name, lane);
        }
    }

    /// Makes room for a new name.
    fn remember(&mut self, name: &str) -> Arc<str> {
        if self.names.len() >= MOST_REMEMBERED {
            self.names.retain(|_, known| known.is_busy() || known.lane == LookupLane::Answered);
        }
        if self.names.len() >= MOST_REMEMBERED {
            self.names.retain(|_, known| known.is_busy());
        }
        name.into()
    }

    fn queue_up(&mut self, name: &Arc<str>, lane: LookupLane) {
        if let Some(known) = self.names.get_mut(name) {
            known.is_queued = true;
            self.queued_so_far += 1;
            self.queue.insert((lane, self.queued_so_far), name.clone());
        }
    }

    /// Takes the next name for which there is a thread from the queue. A name without callers is skipped unless it is silent.
    fn next(&mut self, most: usize) -> Option<(LookupLane, Arc<str>)> {
        loop {
            let key = self.next_key(most)?;
            let name = self.queue.remove(&key)?;
            let known = self.names.get_mut(&name)?;
            known.is_queued = false;
            let (lane, _) = key;
            if known.is_awaited() || matches!(lane, LookupLane::Silent(_)) {
                return Some((lane, name));
            }
        }
    }

    fn next_key(&self, most: usize) -> Option<(LookupLane, u64)> {
        let first_from = |lane| self.queue.range((lane, 0)..).next().map(|(key, _)| *key);
        let mut firsts =
            [LookupLane::Answered, LookupLane::New, LookupLane::Silent(0)].into_iter().filter_map(first_from);
        firsts.find(|(lane, _)| self.has_room(*lane, most))
    }

    /// `true` if one more lookup in this lane may begin.
    fn has_room(&self, lane: LookupLane, most: usize) -> bool {
        let [prompt, overdue, silent] = self.under_way;
        let all = prompt + overdue + silent;
        let is_few = prompt < AT_A_TIME + overdue;
        match lane {
            LookupLane::Answered => is_few && all < most,
            LookupLane::New => is_few && all < most - most / LEFT,
            LookupLane::Silent(_) => silent < FOR_SILENT && all < most - 2 * (most / LEFT),
        }
    }

    fn enter(&mut self, lookup_state: LookupState) {
        self.under_way[lookup_state as usize] += 1;
    }

    fn leave(&mut self, lookup_state: LookupState) {
        self.under_way[lookup_state as usize] -= 1;
    }

    /// A lookup begins, and counts as unanswered until it is answered.
    fn begin(&mut self, name: &Arc<str>, lane: LookupLane) -> Instant {
        let now = Instant::now();
        self.enter(lane.lookup_state());
        if let Some(known) = self.names.get_mut(name) {
            known.began.push(now);
            known.lane = lane.unanswered();
            known.tell(Stage::UnderWay);
        }
        now
    }

    /// Ends the lookup that began at `began`.
    fn end(&mut self, name: &Arc<str>, began: Instant, deadline: Duration, lookup: Resolution) {
        let Some(known) = self.names.get_mut(name) else { return };
        known.began.retain(|at| *at != began);
        if began.elapsed() < deadline {
            known.lane = LookupLane::Answered;
        }
        // The failure of an earlier lookup is ignored while a later one is under way.
        if lookup.is_ok() || known.began.is_empty() {
            self.answer(name, lookup);
        }
    }

    fn answer(&mut self, name: &Arc<str>, lookup: Resolution) {
        if let Some(known) = self.names.get_mut(name) {
            known.tell(Stage::Over(lookup));
            known.asked = None;
        }
    }
}

impl Name {
    /// `true` if there is no lookup that a new caller can join.
    fn needs_another(&self, deadline: Duration) -> bool {
        let is_old = |began: &Instant| began.elapsed() >= budget::SECOND_LOOKUP.of(deadline);
        !self.is_queued && self.began.len() < OF_ONE_NAME && self.began.iter().all(is_old)
    }

    fn is_busy(&self) -> bool {
        self.is_queued || !self.began.is_empty()
    }

    fn is_awaited(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.receiver_count() > 0)
    }

    fn tell(&self, stage: Stage) {
        if let Some(asked) = &self.asked {
            asked.send_replace(stage);
        }
    }
}

#[cfg(test)]
mod tests;

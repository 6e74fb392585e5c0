//! [`View`]: a way into the cache, and the watch on its values.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::ClientRing;
use super::verdict::{CanarySight, Met, Timing, What};
use crate::cache::SetupError;
use crate::cache::memcached::Credentials;
use crate::cache::redis::Requirement;
use crate::canary::{Canary, CanaryVerdict, Key, Read, Unset};
use crate::check::{CheckContext, Server, round_trip, words};
use crate::config::checks::{self, Client};
use crate::config::{Address, Backend, Login, MemcachedServers, RedisServers};
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;
use crate::shard_ring::ShardRing;

/// A way into the cache.
pub(super) struct View {
    pub(super) name: Arc<str>,
    pub(super) servers: Vec<ViewServer>,
    ring: ViewRing,
}

/// The choice of one of its servers for a key.
enum ViewRing {
    Servers(ClientRing),
    Shards(ShardRing),
}

/// One server of a view.
pub(super) struct ViewServer {
    name: Arc<str>,
    server: Server,
    /// Held for a read: the probes of several servers of the alias share one connection.
    turn: Mutex<()>,
}

/// The expected state of one canary in a view.
#[derive(Clone)]
pub(super) struct Expected {
    /// The place of its spot in the look.
    pub(super) place: usize,
    pub(super) canary: Arc<Canary>,
    /// The operation, a write or a delete.
    pub(super) what: What,
    /// The time at which the alias acknowledged that.
    pub(super) acked: Instant,
    /// The time after that within which it must show.
    pub(super) within: Duration,
}

/// The end of the watch on views.
#[derive(Clone, Copy)]
pub(super) struct WatchDeadline {
    /// The extra time after the due time, to measure how long it takes.
    pub(super) over: Duration,
    /// The time after which no further look is begun.
    pub(super) last: Instant,
    /// The time after which no answer is awaited.
    pub(super) end: Instant,
}

/// The result of a server for one expected canary.
pub(super) struct ShownCanary {
    /// The index of the expected canary.
    pub(super) expected: usize,
    pub(super) sight: CanarySight,
    /// The last value that was there.
    pub(super) verdict: CanaryVerdict,
}

/// The pauses between two looks grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl View {
    /// The view that is configured. Nothing is dialed yet.
    pub(super) fn new(
        view: &checks::ViewConfig,
        client: Client,
        context: &CheckContext,
    ) -> Result<Self, SetupError> {
        let mut addresses = Vec::new();
        let mut servers = Vec::new();
        let mut sharded = None;
        let mut add = |address: &Address, server| {
            addresses.push(address.clone());
            servers.push(ViewServer { name: address.to_string().into(), server, turn: Mutex::new(()) });
        };
        match &view.backend {
            Backend::Redis(redis) => {
                let mut add_redis = |address: &Address, login: &Login, tls| {
                    let login = Arc::new(login.clone());
                    let server = context.redis(address, Requirement::Keys, &login, tls)?;
                    add(address, Server::Redis(server));
                    Ok::<_, SetupError>(())
                };
                match &redis.servers {
                    RedisServers::Standalone(address) => {
                        add_redis(address, &redis.login, redis.tls.as_ref())?;
                    }
                    RedisServers::Shards { shards, sharding, .. } => {
                        sharded = sharding.as_ref();
                        for shard in shards {
                            let (login, tls) = redis.way_to(shard);
                            add_redis(&shard.address, login, tls)?;
                        }
                    }
                    // The configuration allows no other topology.
                    RedisServers::Cluster { .. } | RedisServers::Sentinel { .. } => {}
                }
            }
            Backend::Memcached(memcached) => {
                let credentials = memcached.login.clone();
                let credentials =
                    credentials.map(|(username, password)| Arc::new(Credentials { username, password }));
                for server in &memcached.servers {
                    if let MemcachedServers::One(address) = server {
                        let tls = memcached.tls.as_ref();
                        let server = context.memcached(address, None, tls, credentials.as_ref())?;
                        add(address, Server::Memcached(Arc::new(server)));
                    }
                }
            }
            Backend::Unchecked(_) => {}
        }
        let ring = match sharded {
            Some(sharding) => ViewRing::Shards(ShardRing::new(sharding)),
            None => ViewRing::Servers(ClientRing::new(view.client.unwrap_or(client), &addresses)),
        };
        Ok(Self { name: view.name.clone(), servers, ring })
    }

    /// `true` if nothing has come over the kept connections of its servers.
    pub(super) fn is_quiet(&self) -> bool {
        self.servers.iter().all(|server| server.server.cache().is_quiet())
    }

    /// The fault that was met at one of its servers. If it has several, the fault names that one.
    pub(super) fn met(&self, server: usize, fault: &Fault) -> Met {
        let Fault { cause, phase, said, .. } = fault;
        let at =
            if self.servers.len() > 1 { format!("at {} ", self.servers[server].name) } else { String::new() };
        Met { server, cause: *cause, said: format!("{at}in {phase}: {said}") }
    }

    /// The place of the server that a key is on.
    pub(super) fn place(&self, key: &Key) -> Option<usize> {
        match &self.ring {
            ViewRing::Servers(ring) => ring.place(key.as_str()),
            ViewRing::Shards(ring) => ring.place(key.as_str().as_bytes()),
        }
    }
}

impl ViewServer {
    /// Reads the keys of the `expected` canaries here, until all show as they should or their time is up.
    pub(super) async fn watch(
        &self,
        expected: &[(usize, &Expected)],
        until: WatchDeadline,
        progress: &NodeProgress,
    ) -> Result<Vec<ShownCanary>, Fault> {
        let progress = progress.beside(&self.name);
        let watched = self.watch_all(expected, until, &progress).await;
        for (index, expected) in expected {
            let shown = watched.as_ref().map(|shown| shown.iter().find(|shown| shown.expected == *index));
            progress.step(|| self.step(expected, shown));
        }
        watched
    }

    async fn watch_all(
        &self,
        expected: &[(usize, &Expected)],
        until: WatchDeadline,
        progress: &NodeProgress,
    ) -> Result<Vec<ShownCanary>, Fault> {
        let mut shown = Vec::new();
        let mut pending: Vec<_> =
            expected.iter().map(|(index, expected)| (*index, *expected, false)).collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let keys: Vec<_> = pending.iter().map(|(_, expected, _)| expected.canary.key()).collect();
            let began = Instant::now();
            let read = timeout_at(until.end, async {
                let _turn = self.turn.lock().await;
                (Instant::now(), self.read(&keys, progress).await)
            });
            let Ok((asked, reads)) = read.await else {
                let waited = format!("no answer after {} ms", began.elapsed().as_millis());
                return Err(progress.fault(Cause::TimedOut, &waited));
            };
            let now = Instant::now();
            let mut left = Vec::new();
            for ((index, expected, was_late), read) in pending.into_iter().zip(reads?) {
                let verdict = expected.canary.judge(&read);
                let right = expected.what.is_shown_by(&verdict);
                let late = was_late || !right && asked >= expected.due();
                if right || asked >= expected.until(until) {
                    let timing = match (right, late) {
                        (true, false) => Timing::InTime,
                        (true, true) => Timing::Late,
                        (false, _) => Timing::Never,
                    };
                    let lag = now - expected.acked;
                    let odd = match &verdict {
                        CanaryVerdict::Foreign { .. } | CanaryVerdict::Corrupt { .. } => {
                            Some(round_trip::fault(&verdict, progress))
                        }
                        CanaryVerdict::Intact
                        | CanaryVerdict::Masked { .. }
                        | CanaryVerdict::Stale { .. } => None,
                    };
                    let sight = CanarySight { what: expected.what, timing, lag, acked: expected.acked, odd };
                    shown.push(ShownCanary { expected: index, sight, verdict });
                } else {
                    left.push((index, expected, late));
                }
            }
            if left.is_empty() {
                return Ok(shown);
            }
            pending = left;
            // A last look begins when the time is up, for any duration of the one before.
            let moments = pending.iter().flat_map(|(_, expected, _)| [expected.due(), expected.until(until)]);
            let next = moments.filter(|moment| *moment > now).min();
            sleep_until(next.map_or(now + pause, |next| next.min(now + pause))).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn read(&self, keys: &[&Key], progress: &NodeProgress) -> Result<Vec<Read>, Fault> {
        match &self.server {
            Server::Redis(redis) => redis.get_each(keys, progress).await,
            Server::Memcached(memcached) => {
                let mut reads = Vec::new();
                for key in keys {
                    reads.push(memcached.get_first(key, Unset::new(), progress).await?);
                }
                Ok(reads)
            }
        }
    }

    fn step(
        &self,
        expected: &Expected,
        shown: Result<Option<&ShownCanary>, &Fault>,
    ) -> (String, String, String) {
        let get = verb(&self.server, "GET", "get");
        let Expected { canary, what, within, .. } = expected;
        let within = words::time(*within);
        let wanted = match what {
            What::Write => format!("the canary within {within} of its write"),
            What::Delete => format!("nothing within {within} of the delete"),
        };
        let saw = match shown {
            Ok(Some(ShownCanary { sight, verdict, .. })) => {
                format!("{} after {}", found(verdict), words::time(sight.lag))
            }
            Ok(None) => "nothing in time".to_owned(),
            Err(fault) => fault.to_string(),
        };
        (format!("{get} {}", canary.key()), wanted, saw)
    }
}

impl WatchDeadline {
    /// The deadline for the first of two watches: half of the time left, or more if a canary is not due before.
    pub(super) fn half(self, within: Duration) -> Self {
        let now = Instant::now();
        let half = |moment: Instant| now + moment.saturating_duration_since(now) / 2;
        let last = half(self.last).max(now + within).min(self.last);
        let end = half(self.end).max(last + (self.end - self.last));
        Self { over: self.over / 2, last, end }
    }
}

impl ShownCanary {
    /// `true` if it is about the canary at this index, and that was not shown.
    pub(super) fn is_never(&self, expected: usize) -> bool {
        self.expected == expected && self.sight.timing == Timing::Never
    }
}

impl Expected {
    /// The time after which it is late.
    fn due(&self) -> Instant {
        self.acked + self.within
    }

    /// The time after which it is not watched any more.
    fn until(&self, until: WatchDeadline) -> Instant {
        (self.due() + until.over).min(until.last)
    }
}

/// The name of a command.
fn verb(server: &Server, redis: &'static str, memcached: &'static str) -> &'static str {
    match server {
        Server::Redis(_) => redis,
        Server::Memcached(_) => memcached,
    }
}

/// The value under a canary's key, in words for people.
fn found(verdict: &CanaryVerdict) -> &'static str {
    match verdict {
        CanaryVerdict::Intact => "the canary",
        CanaryVerdict::Masked { .. } => "nothing",
        CanaryVerdict::Stale { .. } => "an earlier canary",
        CanaryVerdict::Foreign { .. } => "another instance's canary",
        CanaryVerdict::Corrupt { .. } => "no canary",
    }
}

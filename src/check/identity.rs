//! [`IdentityProbe`]: whether each server still holds the data that it held before.
//!
//! A marker is left on each server, and read in each check. `marker` has its text and judges it, `memory` has those of
//! earlier checks.
//!
//! | the marker | meaning |
//! | --- | --- |
//! | has the number that is configured or remembered | the same data |
//! | has another number, and was made after the last look | `lost`, and written anew by a sidecar that remembers nothing |
//! | has another number otherwise | other data: `wrong_cache` |
//! | is missing, and no number is configured or remembered | a new server |
//! | is missing otherwise | the data is gone: `lost` |
//!
//! A missing marker is written at once, by the first of several sidecars. After a loss it has its earlier number, and
//! the time of the loss: a sidecar that checks later reads both, and comes to the same result.

mod marker;
mod memory;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use redis::{Cmd, Value, cmd};
use tokio::time::Instant;

use super::{CheckContext, Probe, ProbeTarget, Server};
use crate::cache::memcached::Memcached;
use crate::cache::redis::{Redis, answered};
use crate::cache::{Cache as _, spelling};
use crate::canary::{Key, Read, Unset};
use crate::config::checks;
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault};
use crate::progress::{NodeProgress, Progress};
use marker::{Marker, Sight};
use memory::{MarkerMemory, Remembered};

pub(crate) use memory::MarkerMemories;

/// The life of a marker: the longest that memcached takes as a span of time ("Expiration times" in its protocol.txt).
const LIFE: Duration = Duration::from_hours(30 * 24);

/// The interval at which its life is extended, so that almost every check only reads.
const RENEW_EVERY: Duration = Duration::from_hours(24);

/// The most bytes of an answer.
const LIMIT: usize = 4096;

/// The most hash tags that are tried for a primary of a cluster. One with a single slot needs 16,384 on average.
const MOST_TAGS: u32 = 1 << 18;

const EXPECTED: &str = "a marker, or nothing on a new server";

/// The markers on the servers of one alias.
pub(crate) struct IdentityProbe {
    config: checks::IdentityConfig,
    context: CheckContext,
    memory: Arc<MarkerMemory>,
    /// The keys of the markers on the primaries of a cluster.
    keys: Mutex<HashMap<Arc<str>, Key>>,
    /// The markers that this check has found, by server.
    sights: Mutex<BTreeMap<Arc<str>, Sight>>,
}

/// One look at a marker.
struct Look<'a> {
    key: &'a Key,
    /// The marker to write if there is none.
    missing: Marker,
    /// `true` if the life of the marker is to be extended.
    renews: bool,
    progress: &'a NodeProgress,
}

impl IdentityProbe {
    pub(super) fn new(
        config: &checks::IdentityConfig,
        context: &CheckContext,
        memory: Arc<MarkerMemory>,
    ) -> Self {
        let (config, context) = (config.clone(), context.clone());
        Self { config, context, memory, keys: Mutex::default(), sights: Mutex::default() }
    }

    /// The key of a server's marker, and the name by which it is remembered; `None` if the server holds no key.
    ///
    /// A failover changes the address of the server, so a marker is remembered by its key. In a cluster the key moves
    /// with its slot. Only servers that have the same key are told apart by their names.
    fn key(&self, target: &ProbeTarget) -> Option<(Key, Arc<str>)> {
        let key = Key::of_marker(&self.context.prefix, None);
        if matches!(target.server, Server::Memcached(_)) || target.is_shard() {
            return Some((key, target.name.clone()));
        }
        let holds = |key: &Key| target.holds(key.as_str().as_bytes());
        let key = if target.share.is_none() {
            key
        } else {
            let tagged = |tag| Key::of_marker(&self.context.prefix, Some(tag));
            let mut keys = self.keys.lock();
            let known = keys.get(&target.name).filter(|key| holds(key)).cloned();
            let known = known.or_else(|| self.memory.key(holds));
            let key = known.or_else(|| (0..MOST_TAGS).map(tagged).find(holds))?;
            keys.insert(target.name.clone(), key.clone());
            key
        };
        let name = key.as_str().into();
        Some((key, name))
    }

    /// The marker to write where there is none.
    fn missing(&self, before: Option<&Remembered>) -> Marker {
        let (number, now) = (self.config.number, millis(SystemTime::now()));
        let before = before.map(|before| &before.marker);
        let lost_at = if number.is_some() || before.is_some() { now } else { 0 };
        if let Some(before) = before.filter(|before| number.is_none_or(|number| number == before.number)) {
            return Marker { lost_at, ..before.clone() };
        }
        let (number, instance) =
            (number.unwrap_or_else(|| fastrand::u64(..)), self.context.instance.to_string());
        Marker { number, instance, made_at: now, lost_at }
    }
}

impl Look<'_> {
    async fn at_redis(&self, redis: &Redis) -> Result<Marker, Fault> {
        let (key, life) = (self.key.as_str(), LIFE.as_millis().to_string());
        let get = (cmd("GET").arg(key).take(), EXPECTED);
        let expire = (cmd("PEXPIRE").arg(key).arg(&life).take(), "1, or 0 without a marker");
        let steps = [expire.clone(), get.clone()];
        if let Some(marker) = self.ask(redis, &steps[usize::from(!self.renews)..]).await? {
            return Ok(marker);
        }
        let set = cmd("SET").arg(key).arg(self.missing.to_string()).arg("NX").arg("PX").arg(&life).take();
        let set = (set, "OK, or nil if another sidecar was faster");
        self.ask(redis, &[set, expire, get]).await?.ok_or_else(|| self.gone())
    }

    /// Sends commands in one round trip; the last one is `GET`.
    async fn ask(&self, redis: &Redis, steps: &[(Cmd, &str)]) -> Result<Option<Marker>, Fault> {
        let commands: Vec<_> = steps.iter().map(|(command, _)| command.clone()).collect();
        let mut answers = redis.ask_each(&commands, LIMIT, self.progress).await?;
        for ((command, expected), answer) in steps.iter().zip(&answers) {
            let saw = || spelling::answer(answer, self.progress);
            self.progress.step(|| (spelling::command(command), (*expected).to_owned(), saw()));
            answered(answer, self.progress)?;
        }
        match answers.pop() {
            Some(Value::BulkString(bytes)) => self.found(&bytes).map(Some),
            _ => Ok(None),
        }
    }

    async fn at_memcached(&self, memcached: &Arc<Memcached>) -> Result<Marker, Fault> {
        let Self { key, progress, .. } = self;
        let read = memcached.get_first(key, Unset::new(), progress).await?;
        progress.step(|| {
            let saw = match &read {
                Read::Value(bytes) => spelling::text(bytes, progress.redaction()),
                Read::Default(_) => "nothing".to_owned(),
            };
            (format!("get {key}"), EXPECTED.to_owned(), saw)
        });
        if let Read::Value(bytes) = read {
            if self.renews {
                memcached.renew(std::slice::from_ref(key), LIFE).await;
            }
            return self.found(&bytes);
        }
        memcached.add((key, &self.missing.to_string(), LIFE), progress).await?;
        match memcached.get(key, Unset::new(), progress).await? {
            Read::Value(bytes) => self.found(&bytes),
            Read::Default(_) => Err(self.gone()),
        }
    }

    fn found(&self, bytes: &[u8]) -> Result<Marker, Fault> {
        let said = || format!("the read found {} bytes that are not a marker", bytes.len());
        Marker::parse(bytes).ok_or_else(|| self.progress.fault(Cause::Corrupt, &said()))
    }

    fn gone(&self) -> Fault {
        self.progress.fault(Cause::Masked, "the read found no marker, although one was just written")
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Probe for IdentityProbe {
    fn begin(&self, _began: Instant) {
        self.sights.lock().clear();
        self.memory.forget();
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        let Some((key, name)) = self.key(target) else { return Ok(()) };
        let before = self.memory.get(&name);
        let renewed = before.as_ref().map(|before| before.renewed);
        let renewed = renewed.filter(|renewed| renewed.elapsed() < RENEW_EVERY);
        let (missing, renews) = (self.missing(before.as_ref()), renewed.is_none());
        let look = Look { key: &key, missing, renews, progress };
        let found = match &target.server {
            Server::Redis(redis) => match look.at_redis(redis).await {
                Err(fault) => match target.follow(fault, progress) {
                    Ok(importing) => look.at_redis(&importing).await,
                    Err(fault) => Err(fault),
                },
                found => found,
            },
            Server::Memcached(memcached) => look.at_memcached(memcached).await,
        };
        let marker = found.map_err(|fault| fault.needed_for("the identity check"))?;
        let (number, renewed) = (self.config.number, renewed.unwrap_or_else(Instant::now));
        let at = (renewed, millis(SystemTime::now()));
        let sight = self.memory.compare((key, name), marker, before.as_ref(), number, at);
        self.sights.lock().insert(target.name.clone(), sight);
        Ok(())
    }

    fn judge(&self, progress: &Progress) {
        let sights = std::mem::take(&mut *self.sights.lock());
        self.keys.lock().retain(|server, _| sights.contains_key(server));
        let (lost_for, now) = (self.config.lost_for, millis(progress.began_at()));
        for (server, sight) in sights {
            if let Some(found) = marker::judge(&server, &sight, lost_for, now, progress.redaction()) {
                progress.find(found);
            }
        }
    }
}

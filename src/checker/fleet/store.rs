//! [`FleetStore`]: the Redis that verdicts are shared through, asked within a bound.
//!
//! One key an alias, which is a claim while its owner checks, and then the verdict, if that is up. A sidecar that finds
//! the alias not up deletes the key, be it a claim or a verdict. So a verdict that began before a failure was seen
//! cannot be published after it: its claim is gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Value, cmd};
use tokio::time::{Instant, timeout_at};

use super::verdict::{self, FoundEntry, SharedVerdict, StoreEntry, Terms};
use crate::alias::Alias;
use crate::cache::SetupError;
use crate::cache::redis::{Redis, Requirement, answered};
use crate::check::CheckContext;
use crate::config::{self, Backend, CacheConfig, RedisServers};
use crate::mutex::Mutex;
use crate::outcome::{Fault, Role};
use crate::progress::{NodeProgress, Progress};
use crate::redaction::Redaction;

/// A connection to the server of a [`FleetStore`].
pub(super) trait StoreServer: Send + 'static {
    /// The answers to these commands, which have `limit` bytes together at most.
    fn ask_each(
        &self,
        commands: &[Cmd],
        limit: usize,
        progress: &NodeProgress,
    ) -> impl Future<Output = Result<Vec<Value>, Fault>> + Send;
}

impl StoreServer for Redis {
    async fn ask_each(
        &self,
        commands: &[Cmd],
        limit: usize,
        progress: &NodeProgress,
    ) -> Result<Vec<Value>, Fault> {
        Self::ask_each(self, commands, limit, progress).await
    }
}

/// The Redis that verdicts are shared through, by one connection. Several checks ask it one after the other.
pub(super) struct FleetStore<R = Redis> {
    name: Arc<str>,
    alias: Alias,
    instance: String,
    /// Hides credentials in its texts.
    redaction: Redaction,
    server: tokio::sync::Mutex<R>,
    /// The time of this machine.
    clock: fn() -> SystemTime,
    health: Mutex<StoreHealth>,
}

/// The health of the store.
#[derive(Debug, Default)]
struct StoreHealth {
    is_failing: bool,
    /// The time until which it is asked for no verdict.
    rests_until: Option<Instant>,
}

/// The time for which a store that failed is asked for no verdict.
const REST: Duration = Duration::from_secs(1);

/// The most bytes of its answers.
const LIMIT: usize = 4096;

/// Turns a claim that is still its owner's into a verdict. The verdict's life is shortened by all the time that has
/// passed since the claim, by the store's own clock: if this arrives late, the verdict is still no younger than it is.
/// (Redis' documentation, SET, "Patterns", compares an owner in the same way.)
const PUBLISH: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
local life = ARGV[3] + redis.call('PTTL', KEYS[1]) \
if life < 1 then redis.call('DEL', KEYS[1]) return 0 end \
redis.call('SET', KEYS[1], ARGV[2], 'PX', life) \
return 1";

/// The result of asking for a verdict.
#[derive(Debug)]
pub(super) enum StoreReply {
    /// There was none, and this sidecar is to check now.
    Claimed(Claim),
    /// Another sidecar checks.
    Busy,
    /// There is one that may be reused, by its entry in the store.
    Verdict(SharedVerdict),
    /// There is one that may not.
    Unusable,
}

/// The right to publish a verdict.
#[derive(Debug)]
pub(super) struct Claim {
    mark: String,
    /// The time at which it was asked for, which is before the check begins.
    began_at: SystemTime,
    /// The time that it took to get it.
    waited: Duration,
}

impl FleetStore {
    /// The store in `cache`; `None` if that is no Redis server. Nothing is dialed yet.
    pub(super) fn new(
        cache: &CacheConfig,
        instance: &str,
        context: &CheckContext,
    ) -> Result<Option<Self>, SetupError> {
        let Backend::Redis(config::RedisConfig {
            servers: RedisServers::Standalone(address),
            login,
            tls,
            ..
        }) = &cache.backend
        else {
            return Ok(None);
        };
        let server = context.redis(address, Requirement::Keys, &Arc::new(login.clone()), tls.as_ref())?;
        Ok(Some(Self {
            name: address.to_string().into(),
            alias: cache.alias.clone(),
            instance: instance.to_owned(),
            redaction: Redaction::of(&cache.backend, &[]),
            server: tokio::sync::Mutex::new(server),
            clock: SystemTime::now,
            health: Mutex::default(),
        }))
    }
}

impl<R: StoreServer> FleetStore<R> {
    /// Claims the key if it is free, and else returns the entry there; `None` if the store does not answer by `until`.
    pub(super) async fn look(&self, key: &str, terms: &Terms, until: Instant) -> Option<StoreReply> {
        let rests_until = self.health(|health| health.rests_until);
        if rests_until.is_some_and(|rests_until| Instant::now() < rests_until) {
            return None;
        }
        let (began, began_at) = (Instant::now(), (self.clock)());
        let mark =
            StoreEntry::Claim { owner: format!("{}:{:016x}", self.instance, fastrand::u64(..)) }.write();
        let claim = cmd("SET").arg(key).arg(&mark).arg("NX").arg("PX").arg(millis(terms.claim)).take();
        let commands = [claim, cmd("GET").arg(key).take(), cmd("PTTL").arg(key).take()];
        let answers = self.ask(&commands, until).await?;
        let waited = began.elapsed();
        let look = match answers.as_slice() {
            [Value::Okay, ..] => StoreReply::Claimed(Claim { mark, began_at, waited }),
            // It has expired in between.
            [Value::Nil, Value::Nil, _] | [Value::Nil, _, Value::Int(-2)] => StoreReply::Busy,
            [Value::Nil, Value::BulkString(value), Value::Int(ttl)] => {
                match verdict::judge(value, *ttl, waited, (self.clock)(), terms) {
                    FoundEntry::Verdict(SharedVerdict { from, age }) => StoreReply::Verdict(SharedVerdict {
                        from: self.redaction.text(&from).into_owned(),
                        age,
                    }),
                    FoundEntry::Claimed => StoreReply::Busy,
                    FoundEntry::Doubtful => StoreReply::Unusable,
                    FoundEntry::Strange => {
                        // It might stand there for ever.
                        self.remove(key, until).await;
                        StoreReply::Unusable
                    }
                }
            }
            _ => return None,
        };
        Some(look)
    }

    /// Publishes that the check with this claim came out up.
    pub(super) async fn publish(&self, key: &str, claim: &Claim, terms: &Terms, until: Instant) {
        let began_at = claim.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let up = StoreEntry::Up { instance: self.instance.clone(), began_at: millis(began_at) }.write();
        // The rest of the verdict's life, less the rest of the claim's: the script adds the latter. The claim may be as
        // much younger than the check as it took to have it.
        let less = millis(claim.waited).saturating_add(1).saturating_add(millis(terms.claim));
        let rest = i64::try_from(millis(terms.life)).unwrap_or(0) - i64::try_from(less).unwrap_or(i64::MAX);
        let publish = cmd("EVAL").arg(PUBLISH).arg(1).arg(key).arg(&claim.mark).arg(up).arg(rest).take();
        self.ask(&[publish], until).await;
    }

    /// Deletes the entry.
    pub(super) async fn remove(&self, key: &str, until: Instant) {
        self.ask(&[cmd("DEL").arg(key).take()], until).await;
    }

    /// The store's answers by `until`, if none of them is an error.
    async fn ask(&self, commands: &[Cmd], until: Instant) -> Option<Vec<Value>> {
        let progress = Progress::begin();
        progress.conceal(&self.redaction);
        let progress = progress.node(&self.name, Role::Server);
        let asked = async {
            let server = self.server.lock().await;
            server.ask_each(commands, LIMIT, &progress).await.map_err(|fault| fault.to_string())
        };
        let answers = match timeout_at(until, asked).await {
            Ok(answers) => answers,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let answers = answers.and_then(|answers| {
            let fault = answers.iter().find_map(|answer| answered(answer, &progress).err());
            fault.map_or(Ok(answers), |fault| Err(fault.to_string()))
        });
        self.note(answers.as_ref().err());
        answers.ok()
    }

    /// Takes note of an answer, or of a failure; a change is logged.
    fn note(&self, error: Option<&String>) {
        let was_failing = self.health(|health| {
            health.rests_until = error.map(|_| Instant::now() + REST);
            std::mem::replace(&mut health.is_failing, error.is_some())
        });
        match error {
            Some(error) if !was_failing => {
                tracing::warn!(alias = %self.alias, %error, "verdicts are not shared: each sidecar runs its own checks until the store answers again");
            }
            None if was_failing => tracing::info!(alias = %self.alias, "verdicts are shared again"),
            Some(_) | None => {}
        }
    }

    fn health<T>(&self, with: impl FnOnce(&mut StoreHealth) -> T) -> T {
        with(&mut self.health.lock())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl<R> FleetStore<R> {
    /// The store behind `server`, for a sidecar of this name and with this clock.
    fn behind(server: R, instance: &str, clock: fn() -> SystemTime) -> Self {
        Self {
            name: "store:6379".into(),
            alias: Alias::try_from("main").unwrap(),
            instance: instance.to_owned(),
            redaction: Redaction::none(),
            server: tokio::sync::Mutex::new(server),
            clock,
            health: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

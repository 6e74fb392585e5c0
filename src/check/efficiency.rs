//! [`EfficiencyProbe`]: the use of a cache. It judges the hit ratio, the evictions, the memory and connections in use, and
//! the entries whose time to live is longer than promised.
//!
//! `counters` reads a server's counters, `history` compares them with the last look, `sweep` samples the times to live of
//! its entries, and `verdict` judges all of them. The lookups of this program count with the rest, because the server does
//! not tell one client from another.

mod counters;
mod history;
mod sweep;
mod verdict;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value, cmd};
use tokio::time::Instant;

use super::{Probe, ProbeTarget, Server, words};
use crate::cache::memcached::Memcached;
use crate::cache::redis::{Redis, answered};
use crate::config::checks::{self, Ttl};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, advice};
use crate::progress::{NodeProgress, Progress};
use crate::redaction;
use counters::{Counters, Gauge, SECTIONS};
use history::History;
use sweep::{KeyLives, Looked, RawKey, Sweep, TimeToLive};

/// The most bytes of all answers of one round trip: some hundred keys of some kilobytes each.
const LIMIT: usize = 4 * 1024 * 1024;

/// The most steps of SCAN in a check.
const MOST_STEPS: usize = 10;

/// The bounds of SCAN's COUNT. With a large one, a step blocks the server's other clients; with a small one, the scan takes
/// many steps.
const COUNT: std::ops::RangeInclusive<usize> = 10..=500;

/// The time for which an absent server is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// The use of one alias.
pub(crate) struct EfficiencyProbe {
    config: checks::EfficiencyConfig,
    /// The readings of this check, by server.
    readings: Mutex<BTreeMap<Arc<str>, ServerReading>>,
    /// The history from earlier checks, by server.
    servers: Mutex<HashMap<Arc<str>, ServerHistory>>,
}

/// The reading of a server in one look.
struct ServerReading {
    counters: Counters,
    at: Instant,
    looked: Looked,
}

/// The history of a server from earlier checks.
struct ServerHistory {
    history: History,
    sweep: Sweep,
}

impl ServerHistory {
    fn begin(counters: &Counters, now: Instant) -> Self {
        Self { history: History::begin(counters, now), sweep: Sweep::new() }
    }
}

impl EfficiencyProbe {
    pub(super) fn new(config: &checks::EfficiencyConfig) -> Self {
        Self { config: config.clone(), readings: Mutex::default(), servers: Mutex::default() }
    }

    /// Asks a Redis for its counters, and for the times to live of some entries.
    async fn look_at_redis(
        &self,
        redis: &Redis,
        name: &str,
        progress: &NodeProgress,
    ) -> Result<(Counters, Looked), Fault> {
        let mut commands: Vec<_> = SECTIONS.iter().map(|section| cmd("INFO").arg(section).take()).collect();
        let Some(ttl) = &self.config.ttl else {
            let answers = redis.ask_each(&commands, LIMIT, progress).await?;
            return Ok((self.read_info(&answers, progress)?, Looked::default()));
        };
        let known = self.servers.lock().get(name).map(|known| known.sweep.clone());
        let Sweep { cursor, .. } = known.clone().unwrap_or_else(Sweep::new);
        let again = known.map(|sweep| sweep.remembered()).unwrap_or_default();
        let mut walk = Walk::begin(ttl, cursor);
        commands.extend(again.iter().map(|key| ask_ttl(key)));
        commands.push(walk.ask());
        let mut answers = redis.ask_each(&commands, LIMIT, progress).await?;
        let scanned = answers.pop();
        let (info, ttls) = answers.split_at_checked(SECTIONS.len()).unwrap_or_default();
        let counters = self.read_info(info, progress)?;
        let mut looked = Looked { again: lives(again, ttls, ttl, progress)?, steps: Vec::new() };
        let mut keys = walk.read(scanned.as_ref(), progress)?;
        loop {
            let more = walk.goes_on(looked.seen() + keys.len());
            let mut commands: Vec<_> = keys.iter().map(|key| ask_ttl(key)).collect();
            let cursor = walk.cursor.clone();
            if more {
                commands.push(walk.ask());
            }
            // After a last step without keys there is nothing to ask.
            let mut answers = if commands.is_empty() {
                Vec::new()
            } else {
                redis.ask_each(&commands, LIMIT, progress).await?
            };
            let scanned = if more { answers.pop() } else { None };
            looked.steps.push((lives(keys, &answers, ttl, progress)?, cursor));
            if !more {
                return Ok((counters, looked));
            }
            keys = walk.read(scanned.as_ref(), progress)?;
        }
    }

    /// Asks a memcached for its counters.
    async fn look_at_memcached(
        &self,
        memcached: &Memcached,
        progress: &NodeProgress,
    ) -> Result<Counters, Fault> {
        let stats = memcached.stats(progress).await?;
        let counters = Counters::of_stats(&stats);
        let counters = counters
            .ok_or_else(|| progress.fault(Cause::Protocol, "the answer to stats has no hits and misses"))?;
        progress.step(|| {
            let [memory, connections, stats] = self.expected();
            let expected = format!("{memory}; {connections}; {stats}");
            ("stats, stats slabs, stats items".to_owned(), expected, said(&counters).join("; "))
        });
        Ok(counters)
    }

    fn read_info(&self, answers: &[Value], progress: &NodeProgress) -> Result<Counters, Fault> {
        let mut info = String::new();
        for answer in answers {
            match answered(answer, progress).map_err(|fault| fault.needed_for("the efficiency check"))? {
                Value::BulkString(bytes) => info.push_str(&redaction::raw(bytes)),
                Value::VerbatimString { text, .. } => info.push_str(text),
                _ => {}
            }
            info.push('\n');
        }
        let counters = Counters::of_info(&info);
        let counters = counters
            .ok_or_else(|| progress.fault(Cause::Protocol, "the answer to INFO has no hits and misses"))?;
        progress.step(|| {
            let expected = "the run_id of the last check (else counters restart)".to_owned();
            let run = progress.redaction().text(&counters.run);
            let saw = format!("run_id {run}, uptime {} s", counters.uptime);
            ("INFO server".to_owned(), expected, saw)
        });
        for (section, place) in [("clients", 1), ("memory", 0), ("stats", 2)] {
            progress.step(|| {
                let (expected, saw) = (self.expected()[place].clone(), said(&counters)[place].clone());
                (format!("INFO {section}"), expected, saw)
            });
        }
        Ok(counters)
    }

    /// The healthy values for `check --explain`: of memory, of connections, and of the counters.
    fn expected(&self) -> [String; 3] {
        let checks::EfficiencyConfig {
            hit_ratio,
            evictions_per_second,
            evicted_age,
            memory_ratio,
            connections_ratio,
            ttl: _,
        } = &self.config;
        let judged = |said: Option<String>| said.unwrap_or_else(|| "no thresholds".to_owned());
        let memory = words::expected("memory: less than", memory_ratio, words::percent);
        let connections = words::expected("connections: less than", connections_ratio, words::percent);
        let hits = words::expected("hit ratio since the last check: at least", hit_ratio, words::percent);
        let per_second = |rate: f64| format!("{rate} per second");
        let evictions = words::expected("evictions: less than", evictions_per_second, per_second);
        let age = words::expected("age of evicted entries: at least", evicted_age, words::time);
        let counted: Vec<_> = hits.into_iter().chain(evictions).chain(age).collect();
        let counted = Some(counted.join(", ")).filter(|counted| !counted.is_empty());
        [judged(memory), judged(connections), judged(counted)]
    }
}

/// The same for the values that were seen.
fn said(counters: &Counters) -> [String; 3] {
    let Counters { hits, misses, evictions, expired, memory, connections, .. } = counters;
    let gauge = |gauge: &Gauge, say: fn(u64) -> String| match gauge.limit {
        Some(limit) => format!("{} of {}", say(gauge.used), say(limit)),
        None => format!("{}, no limit reported", say(gauge.used)),
    };
    [
        format!("memory {}", gauge(memory, verdict::bytes)),
        format!("connections {}", gauge(connections, |number| number.to_string())),
        format!("hits {hits}, misses {misses}, evictions {evictions}, expired {expired}"),
    ]
}

/// The steps of SCAN of one check.
struct Walk<'a> {
    ttl: &'a Ttl,
    cursor: Vec<u8>,
    /// The number of entries that are still to be found.
    wanted: usize,
    steps: usize,
    /// `true` if the cursor may still pass the end once before all keys were scanned.
    may_begin_again: bool,
}

impl<'a> Walk<'a> {
    fn begin(ttl: &'a Ttl, cursor: Vec<u8>) -> Self {
        let may_begin_again = cursor != Sweep::START;
        Self { ttl, cursor, wanted: ttl.sample, steps: 0, may_begin_again }
    }

    /// The next step.
    fn ask(&mut self) -> Cmd {
        self.steps += 1;
        let mut scan = cmd("SCAN");
        scan.arg(&self.cursor[..]).arg("MATCH").arg(&self.ttl.pattern).arg("COUNT").arg(self.count());
        scan
    }

    fn count(&self) -> usize {
        self.wanted.clamp(*COUNT.start(), *COUNT.end())
    }

    /// Reads the answer to the step ("SCAN" in Redis' documentation): the cursor, and keys.
    fn read(&mut self, answer: Option<&Value>, progress: &NodeProgress) -> Result<Vec<RawKey>, Fault> {
        let unexpected = || progress.fault(Cause::Protocol, "the answer to SCAN is not a cursor and keys");
        let answer = answered(answer.ok_or_else(unexpected)?, progress)
            .map_err(|fault| fault.needed_for("the TTLs of the efficiency check"))?;
        let Value::Array(parts) = answer else { return Err(unexpected()) };
        let [Value::BulkString(cursor), Value::Array(keys)] = &parts[..] else { return Err(unexpected()) };
        let keys = keys.iter().map(|key| match key {
            Value::BulkString(key) => Ok(key.clone()),
            _ => Err(unexpected()),
        });
        let keys = keys.collect::<Result<Vec<_>, Fault>>()?;
        progress.step(|| {
            let text = |bytes| progress.redaction().bytes(bytes).into_owned();
            let (from, to) = (text(&self.cursor), text(cursor));
            let command = format!("SCAN {from} MATCH {} COUNT {}", self.ttl.pattern, self.count());
            (command, "keys whose TTL is read next".to_owned(), format!("{} keys, cursor {to}", keys.len()))
        });
        self.cursor.clone_from(cursor);
        Ok(keys)
    }

    /// `true` if there is to be another step after so many entries were found.
    fn goes_on(&mut self, found: usize) -> bool {
        self.wanted = self.ttl.sample.saturating_sub(found);
        let around = self.cursor == Sweep::START && !std::mem::replace(&mut self.may_begin_again, false);
        self.wanted > 0 && self.steps < MOST_STEPS && !around
    }
}

fn ask_ttl(key: &[u8]) -> Cmd {
    cmd("PTTL").arg(key).take()
}

/// The time to live of each key.
fn lives(
    keys: Vec<RawKey>,
    answers: &[Value],
    ttl: &Ttl,
    progress: &NodeProgress,
) -> Result<KeyLives, Fault> {
    let lives = keys.into_iter().zip(answers).map(|(key, answer)| {
        let life = match answered(answer, progress) {
            Ok(Value::Int(ms)) => TimeToLive::of(*ms),
            // The key is on its way to another primary of a cluster, which is scanned as well.
            Err(fault) if fault.cause == Cause::Redirected => TimeToLive::Gone,
            Err(fault) => return Err(fault),
            Ok(_) => return Err(progress.fault(Cause::Protocol, "the answer to PTTL is not a number")),
        };
        progress.step(|| {
            let saw = match life {
                TimeToLive::Gone => "the key is gone".to_owned(),
                TimeToLive::Endless => "no TTL".to_owned(),
                TimeToLive::Left(left) => words::time(left),
            };
            let command = format!("PTTL {}", progress.redaction().bytes(&key));
            (command, format!("at most {}", words::time(ttl.max)), saw)
        });
        Ok((key, life))
    });
    lives.collect()
}

#[async_trait]
impl Probe for EfficiencyProbe {
    fn begin(&self, _began: Instant) {
        self.readings.lock().clear();
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        let read = match &target.server {
            Server::Redis(redis) => self.look_at_redis(redis, &target.name, progress).await,
            Server::Memcached(memcached) => {
                self.look_at_memcached(memcached, progress).await.map(|read| (read, Looked::default()))
            }
        };
        let (counters, looked) = read.map_err(|fault| {
            if fault.advice == Some(advice::CLOSED_WITHOUT_ANSWER) {
                fault.with_advice(advice::NO_COUNTERS)
            } else {
                fault
            }
        })?;
        let seen = ServerReading { counters, at: Instant::now(), looked };
        self.readings.lock().insert(target.name.clone(), seen);
        Ok(())
    }

    fn judge(&self, progress: &Progress) {
        let mut readings = std::mem::take(&mut *self.readings.lock());
        // A server that is no longer part of the alias is ignored.
        let passed = progress.passed();
        readings.retain(|name, _| passed.contains(name));
        let mut servers = self.servers.lock();
        let now = Instant::now();
        servers.retain(|_, known| now.saturating_duration_since(known.history.at()) < FORGOTTEN_AFTER);
        let (mut sampled, mut names) = (0, Vec::new());
        for (name, ServerReading { counters, at, looked }) in readings {
            let known = servers.entry(name.clone()).or_insert_with(|| ServerHistory::begin(&counters, at));
            let happened = known.history.advance(&counters, at);
            for finding in verdict::judge(&self.config, &name, &counters, &happened) {
                progress.find(finding);
            }
            for measure in verdict::measures(&name, &counters, &happened) {
                progress.measure(measure);
            }
            if let Some(ttl) = &self.config.ttl {
                sampled += looked.seen();
                known.sweep.take_in(looked, ttl.max);
            }
            names.push(name);
        }
        if let Some(ttl) = &self.config.ttl {
            let sweeps = || names.iter().filter_map(|name| Some(&servers.get(name)?.sweep));
            if let Some(finding) = verdict::judge_ttl(ttl, sweeps(), progress.redaction()) {
                progress.find(finding);
            }
            for measure in verdict::measures_of_ttl(ttl, sampled, sweeps()) {
                progress.measure(measure);
            }
        }
    }
}

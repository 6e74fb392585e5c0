//! [`ClockProbe`]: the clocks of a partitioned log. It compares those of its partitions, in a sorted set, with each
//! other and with the present, and the global clock with the least of them.
//!
//! `reading` decodes the values of the keys, and `verdict` judges them.

mod reading;
mod verdict;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{CheckContext, Probe, ProbeTarget, Server, words};
use crate::budget;
use crate::cache::redis::Redis;
use crate::config::checks;
use crate::mutex::Mutex;
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};
use reading::{ClockReadings, Global, LIMIT, Partitions, RANGES, ask_global, ask_partitions};
use verdict::{ClockMemory, ClockSight};

/// The time within which a healthy global clock follows the least of the partitions': after the application has moved a
/// partition's clock, it still has to compute the least.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(50);

/// The clocks of one alias.
pub(crate) struct ClockProbe {
    config: checks::ClockConfig,
    /// The pause before the global clock is read once more.
    pause: Duration,
    reads: Mutex<ClockReads>,
    /// Notified when the global clock was read.
    global_read: Notify,
    memory: Mutex<ClockMemory>,
}

/// The readings of a check so far, and their servers. In a cluster the two keys may be on two servers that are probed
/// concurrently.
#[derive(Default)]
struct ClockReads {
    sight: ClockSight,
    global_at: Option<Holder>,
    partitions_at: Option<Holder>,
    /// The number of reads of the global clock.
    globals: u32,
}

/// The server that holds a key.
#[derive(Clone)]
struct Holder {
    name: Arc<str>,
    server: Redis,
}

impl ClockProbe {
    pub(super) fn new(config: &checks::ClockConfig, context: &CheckContext) -> Self {
        Self {
            config: config.clone(),
            pause: FOLLOWS_WITHIN.min(budget::CLOCK_PAUSE.of(context.timeout())),
            reads: Mutex::default(),
            global_read: Notify::new(),
            memory: Mutex::default(),
        }
    }

    /// Reads both keys, in one round trip, at the server that holds both.
    async fn read_both(&self, key: &str, server: &Redis, progress: &NodeProgress) -> Result<(), Fault> {
        let commands = [ask_global(key), ask_partitions(&self.config.partitions)].concat();
        let answers = server.ask_each(&commands, LIMIT, progress).await?;
        let (first, rest) = answers.split_at_checked(1).unwrap_or_default();
        let global = Self::take_global(key, first, progress)?;
        let partitions = self.take_partitions(rest, progress)?;
        let holder = Holder { name: Arc::clone(progress.name()), server: server.clone() };
        let mut reads = self.reads.lock();
        reads.globals += 1;
        (reads.global_at, reads.partitions_at) = (Some(holder.clone()), Some(holder));
        reads.sight =
            ClockSight { global: Some(global), partitions: Some(partitions), in_order: true, later: None };
        Ok(())
    }

    async fn read_global(&self, key: &str, holder: Holder, progress: &NodeProgress) -> Result<(), Fault> {
        let answers = holder.ask(&ask_global(key), progress).await?;
        let global = Self::take_global(key, &answers, progress)?;
        let mut reads = self.reads.lock();
        reads.globals += 1;
        reads.global_at = Some(holder);
        reads.sight.global = Some(global);
        reads.sight.in_order = false;
        drop(reads);
        self.global_read.notify_waiters();
        Ok(())
    }

    /// Lets the global clock be read first, at another server. The wait is short: that one may be down, or not known yet.
    async fn wait_for_global(&self) {
        let mut read = pin!(self.global_read.notified());
        read.as_mut().enable();
        if self.reads.lock().globals == 0 {
            // If the wait times out, `put_in_order` reads again.
            let _ = timeout(self.pause, read).await;
        }
    }

    async fn read_partitions(&self, holder: Holder, progress: &NodeProgress) -> Result<(), Fault> {
        let before = self.reads.lock().globals;
        let answers = holder.ask(&ask_partitions(&self.config.partitions), progress).await?;
        let partitions = self.take_partitions(&answers, progress)?;
        let mut reads = self.reads.lock();
        reads.partitions_at = Some(holder);
        reads.sight.partitions = Some(partitions);
        reads.sight.in_order = reads.globals == before;
        Ok(())
    }

    /// Reads the partitions' clocks once more if the global one was read after them. The look that ends last does that,
    /// so neither waits for the other.
    async fn put_in_order(&self, progress: &NodeProgress) -> Result<(), Fault> {
        loop {
            let holder = {
                let reads = self.reads.lock();
                let missing = reads.sight.global.is_none() || reads.sight.partitions.is_none();
                if missing || reads.sight.in_order { None } else { reads.partitions_at.clone() }
            };
            let Some(holder) = holder else { return Ok(()) };
            self.read_partitions(holder, progress).await?;
        }
    }

    /// Reads the global clock once more if it seems not to follow: it may just be about to.
    async fn confirm(&self, key: &str, progress: &NodeProgress) -> Result<(), Fault> {
        let holder = {
            let ClockReads { sight, global_at, .. } = &*self.reads.lock();
            let doubtful = sight.in_order && sight.is_doubtful(&self.config);
            if doubtful { global_at.clone() } else { None }
        };
        let Some(holder) = holder else { return Ok(()) };
        sleep(self.pause).await;
        let answers = holder.ask(&ask_global(key), progress).await?;
        let later = Self::take_global(key, &answers, progress)?;
        self.reads.lock().sight.later = Some(later);
        Ok(())
    }

    fn take_global(key: &str, answers: &[Value], progress: &NodeProgress) -> Result<Global, Fault> {
        let global = Global::read(answers, progress).map_err(needed)?;
        progress.step(|| {
            let expected = "the slowest partition's clock".to_owned();
            let saw = match &global {
                Global::At(clock) => clock.to_string(),
                Global::Missing => "nothing".to_owned(),
                Global::NoNumber(text) => format!("{text:?}"),
                Global::OtherType => "not a string".to_owned(),
            };
            (format!("GET {key}"), expected, saw)
        });
        Ok(global)
    }

    fn take_partitions(&self, answers: &[Value], progress: &NodeProgress) -> Result<Partitions, Fault> {
        let partitions = Partitions::read(answers, progress).map_err(needed)?;
        let (key, config) = (&self.config.partitions, &self.config);
        progress.step(|| {
            let expected = config.expected.map_or_else(|| "at least 1".to_owned(), |count| count.to_string());
            let saw = match &partitions {
                Partitions::Clocks(ClockReadings { count, .. }) => count.to_string(),
                Partitions::OtherType => "not a sorted set".to_owned(),
            };
            (format!("ZCARD {key}"), expected, saw)
        });
        if let Some(clocks) = partitions.clocks() {
            for ((from, to), partition) in RANGES.into_iter().zip([clocks.least(), clocks.most()]) {
                progress.step(|| {
                    let lag = words::expected("lag: less than", &config.lag, words::time);
                    let skew = words::expected("skew: less than", &config.skew, words::time);
                    let expected: Vec<_> = lag.into_iter().chain(skew).collect();
                    let expected =
                        if expected.is_empty() { "clocks".to_owned() } else { expected.join(", ") };
                    let saw = partition.map(|first| {
                        format!("{} at {}", progress.redaction().text(&first.name), first.clock)
                    });
                    let saw = saw.unwrap_or_else(|| "nothing".to_owned());
                    (format!("ZRANGE {key} {from} {to} WITHSCORES"), expected, saw)
                });
            }
        }
        Ok(partitions)
    }
}

fn needed(fault: Fault) -> Fault {
    fault.needed_for("the clock check")
}

impl Holder {
    async fn ask(&self, commands: &[redis::Cmd], progress: &NodeProgress) -> Result<Vec<Value>, Fault> {
        let asked = self.server.ask_each(commands, LIMIT, progress).await;
        asked.map_err(|fault| {
            if self.name == *progress.name() {
                return fault;
            }
            fault.saying(&format!("{} at {}", fault.said, self.name))
        })
    }
}

#[async_trait]
impl Probe for ClockProbe {
    fn begin(&self, _began: Instant) {
        *self.reads.lock() = ClockReads::default();
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        // The configuration allows this check for Redis only.
        let Server::Redis(redis) = &target.server else { return Ok(()) };
        let global = self.config.global.as_deref().filter(|key| target.holds(key.as_bytes()));
        let partitions = target.holds(self.config.partitions.as_bytes());
        let mut both = false;
        if let Some(key) = global.filter(|_| partitions) {
            match self.read_both(key, redis, progress).await {
                Ok(()) => both = true,
                // One of the keys may be elsewhere; each is followed by itself.
                Err(fault) => drop(target.follow(fault, progress)?),
            }
        }
        let here = |server: &Redis| Holder { name: Arc::clone(progress.name()), server: server.clone() };
        if let Some(key) = global.filter(|_| !both)
            && let Err(fault) = self.read_global(key, here(redis), progress).await
        {
            self.read_global(key, here(&target.follow(fault, progress)?), progress).await?;
        }
        if partitions && !both && self.config.global.is_some() {
            self.wait_for_global().await;
        }
        if partitions
            && !both
            && let Err(fault) = self.read_partitions(here(redis), progress).await
        {
            self.read_partitions(here(&target.follow(fault, progress)?), progress).await?;
        }
        if global.is_none() && !partitions {
            return Ok(());
        }
        if let Some(key) = &self.config.global {
            self.put_in_order(progress).await?;
            self.confirm(key, progress).await?;
        }
        Ok(())
    }

    fn judge(&self, progress: &Progress) {
        let sight = std::mem::take(&mut self.reads.lock().sight);
        let changes = self.memory.lock().compare(&sight, Instant::now());
        let now = progress.began_at();
        for finding in verdict::judge(&self.config, &sight, &changes, now, progress.redaction()) {
            progress.find(finding);
        }
        for measure in verdict::measures(&self.config, &sight, now) {
            progress.measure(measure);
        }
    }
}

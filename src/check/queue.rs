//! [`QueueProbe`]: the draining of queues. It judges the number of entries of each by state, the age of its oldest entry,
//! a partition's proportion to its siblings, and a lock that is held while nothing is drained.
//!
//! `question` has the commands about a key, `answers` decodes the replies, `reading` combines them, `sum` adds the keys of
//! a queue and `shards` the shards of a key, `verdict` judges it, and `standstill` remembers them from look to look. Only this file does I/O.

mod answers;
mod question;
mod reading;
mod shards;
mod standstill;
mod sum;
mod verdict;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use redis::Cmd;
use tokio::time::Instant;

use super::{Probe, ProbeTarget, Server};
use crate::cache::redis::{Redis, answered};
use crate::config::checks::{self, QueueState};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Figure, Measure};
use crate::progress::{NodeProgress, Progress};
use question::Question;
use reading::{KeyReading, KeyUse, Lock, SeenKey, Shape, Unread};
use standstill::Standstill;
use verdict::{QueueNames, QueueSight};

/// The most passes over a key in a look: its type, then the questions for that type, then those for the groups of a
/// stream, and again if one of these has changed meanwhile. In the steady state there is one pass.
const MOST_PASSES: usize = 5;

/// The most bytes of all answers of a server: a base, more for each key, and a maximum. The first entry of a sorted
/// set or a stream comes whole, and may have any size.
const LIMIT: usize = 1024 * 1024;
const LIMIT_FOR_A_KEY: usize = 8 * 1024;
const MOST_BYTES: usize = 16 * LIMIT;

/// The check of the queues of one alias.
pub(crate) struct QueueProbe {
    config: checks::QueueConfig,
    names: QueueNames,
    /// The keys behind those of the queues: the lock, if there is one, and the witnesses.
    others: Vec<Arc<str>>,
    /// The shapes at the first look.
    shapes: Vec<Shape>,
    state: Mutex<State>,
}

struct State {
    /// The shape of each key, and of the others, at the last look at a shard; an alias without shards has one list.
    shapes: HashMap<Arc<str>, Vec<Shape>>,
    /// The reading of each in this check.
    seen: Vec<Option<SeenKey>>,
    standstill: Standstill,
}

/// A key with open questions.
struct AskedKey {
    number: usize,
    shape: Shape,
    /// `true` if the shape was detected in this look.
    fresh: bool,
}

impl QueueProbe {
    pub(super) fn new(config: &checks::QueueConfig) -> Self {
        let names = QueueNames::of(&config.groups);
        let others = config.lock.iter().chain(&config.witness).map(|key| Arc::from(key.as_str())).collect();
        let keys = names.keys.len();
        let mut shapes = vec![Shape::Unknown; keys];
        shapes.extend(config.lock.as_ref().map(|_| Shape::Lock));
        shapes.resize(shapes.len() + config.witness.len(), Shape::Witness);
        let waiting = names.uses.iter().filter(|of| of.state == QueueState::Waiting).count();
        let (seen, standstill) = (vec![None; shapes.len()], Standstill::new(waiting));
        let state = Mutex::new(State { shapes: HashMap::new(), seen, standstill });
        Self { config: config.clone(), names, others, shapes, state }
    }

    fn key(&self, number: usize) -> &str {
        self.names.keys.iter().chain(&self.others).nth(number).map_or("", |key| key)
    }

    /// The shapes of the keys on a shard.
    fn shapes<'a>(&self, state: &'a mut State, shard: Option<&Arc<str>>) -> &'a mut Vec<Shape> {
        let shard = shard.cloned().unwrap_or_default();
        state.shapes.entry(shard).or_insert_with(|| self.shapes.clone())
    }

    fn used(&self, number: usize) -> &KeyUse {
        self.names.uses.get(number).unwrap_or(&KeyUse::PLAIN)
    }

    /// Asks a server for these keys, until all of them are read. Returns the keys that have moved to another server, each
    /// with the words of the ASK error.
    async fn ask(
        &self,
        redis: &Redis,
        shard: Option<&Arc<str>>,
        mut open: Vec<AskedKey>,
        progress: &NodeProgress,
    ) -> Result<Vec<(String, AskedKey)>, Fault> {
        let mut elsewhere = Vec::new();
        let mut fault = None;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for _ in 0..MOST_PASSES {
            if open.is_empty() {
                break;
            }
            let mut questions = Vec::new();
            let mut counts = Vec::with_capacity(open.len());
            for asked in &open {
                let before = questions.len();
                let number = asked.number;
                asked
                    .shape
                    .questions(self.used(number), now, &mut |question| questions.push((number, question)));
                counts.push(questions.len() - before);
            }
            let commands: Vec<Cmd> =
                questions.iter().map(|(number, question)| question.command(self.key(*number))).collect();
            let limit = (LIMIT + open.len() * LIMIT_FOR_A_KEY).min(MOST_BYTES);
            let answers = redis.ask_each(&commands, limit, progress).await?;
            for ((number, question), answer) in questions.iter().zip(&answers) {
                progress.step(|| self.step(*number, question, answer, progress));
            }
            let mut left = answers.as_slice();
            let mut state = self.state.lock();
            for (asked, count) in std::mem::take(&mut open).into_iter().zip(counts) {
                let (of_key, rest) = left.split_at(count.min(left.len()));
                left = rest;
                let number = asked.number;
                match asked.shape.read(of_key, asked.fresh, self.used(number)) {
                    Ok(KeyReading::Done(seen, shape)) => {
                        let before = state.seen[number].take();
                        state.seen[number] = Some(match (shard, before) {
                            (None, _) => seen,
                            (Some(shard), None) => seen.on(shard),
                            (Some(shard), Some(before)) => before.beside(seen.on(shard)),
                        });
                        self.shapes(&mut state, shard)[number] = shape;
                    }
                    Ok(KeyReading::Again(shape)) => {
                        // A stream's new shape includes its groups, not only its type.
                        let fresh = matches!(asked.shape, Shape::Stream(_));
                        open.push(AskedKey { number, shape, fresh });
                    }
                    Ok(KeyReading::Elsewhere(words)) => elsewhere.push((words, asked)),
                    Err(Unread::Refused(answer)) => {
                        let refused = || answered(answer, progress).err();
                        fault = fault.or_else(|| refused().map(|fault| fault.needed_for("the queue check")));
                    }
                    Err(Unread::Nonsense) => {
                        let said = format!("the answer for key {} has an unexpected type", self.key(number));
                        fault.get_or_insert_with(|| progress.fault(Cause::Protocol, &said));
                    }
                }
            }
        }
        if let Some(asked) = open.first() {
            let said = format!("key {} keeps changing its type", self.key(asked.number));
            fault.get_or_insert_with(|| progress.fault(Cause::Protocol, &said));
        }
        fault.map_or(Ok(elsewhere), Err)
    }

    fn step(
        &self,
        number: usize,
        question: &Question,
        answer: &redis::Value,
        progress: &NodeProgress,
    ) -> (String, String, String) {
        let typed = question.typed(self.key(number), progress.redaction());
        let of = self.used(number);
        (typed, question.expected(&self.config, of), question.saw(answer, of, progress))
    }
}

#[async_trait]
impl Probe for QueueProbe {
    fn begin(&self, _began: Instant) {
        self.state.lock().seen.fill(None);
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        let redis = match &target.server {
            Server::Redis(redis) => redis,
            Server::Memcached(_) => {
                return Err(progress.fault(Cause::Protocol, "memcached has no queues"));
            }
        };
        let shard = target.is_shard().then_some(&target.name);
        let open = {
            let mut state = self.state.lock();
            // A queue may lie on every shard, as Sentry's buffers do, and a lock lies on one.
            let everywhere = |number: usize| shard.is_some() && number < self.names.keys.len();
            let held = |&(number, _): &(usize, &Shape)| {
                everywhere(number) || target.holds(self.key(number).as_bytes())
            };
            let asked =
                |(number, shape): (usize, &Shape)| AskedKey { number, shape: shape.clone(), fresh: false };
            self.shapes(&mut state, shard).iter().enumerate().filter(held).map(asked).collect()
        };
        // Keys by their target; a slot that is on its way may hold several.
        let mut on_their_way: BTreeMap<String, Vec<AskedKey>> = BTreeMap::new();
        for (words, asked) in self.ask(redis, shard, open, progress).await? {
            on_their_way.entry(words).or_default().push(asked);
        }
        for (words, open) in on_their_way {
            let importing = target.share.as_ref().and_then(|share| share.importing(&words));
            let Some(importing) = importing else { return Err(progress.told(Cause::Redirected, &words)) };
            let elsewhere = self.ask(&importing, None, open, progress).await.map_err(|fault| {
                let said = format!("{} (after the redirect {})", fault.said, progress.words(&words));
                fault.saying(&said)
            })?;
            if let Some((words, _)) = elsewhere.first() {
                return Err(progress.told(Cause::Redirected, words));
            }
        }
        Ok(())
    }

    fn judge(&self, progress: &Progress) {
        let mut state = self.state.lock();
        let State { seen, standstill, .. } = &mut *state;
        let (seen, others) = seen.split_at(self.names.keys.len());
        let others: Vec<_> = self.others.iter().cloned().zip(others.iter().cloned()).collect();
        let lock = others.iter().find_map(|(_, lock)| match lock {
            Some(SeenKey::Lock(lock)) => Some(*lock),
            Some(SeenKey::Queue(_) | SeenKey::Other(_) | SeenKey::Witness(_)) | None => None,
        });
        let waiting = self.names.uses.iter().zip(seen).filter(|(of, _)| of.state == QueueState::Waiting);
        let standstill = standstill.observe(waiting.map(|(_, seen)| seen), lock, Instant::now());
        let now = progress.began_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let sight =
            QueueSight { seen, lock, witnesses: &others, standstill, now, redaction: progress.redaction() };
        for finding in verdict::findings(&self.config, &self.names, sight) {
            progress.find(finding);
        }
        for (queue, _, sum) in self.names.sums(&self.config, seen) {
            let number = |number: Option<u64>| number.map(verdict::as_f64);
            let figures = [
                (Figure::QueueLength, number(sum.waiting.as_ref().map(|waiting| waiting.length))),
                (Figure::QueueTaken, number(sum.taken)),
                (Figure::QueueScheduled, number(sum.scheduled)),
                (Figure::QueueFailed, number(sum.failed)),
                (Figure::QueueLost, number(sum.lost)),
                (Figure::QueueOldestAge, sum.age(now).map(|age| age.as_secs_f64())),
            ];
            for (figure, value) in figures {
                let Some(value) = value else { continue };
                progress.measure(Measure { figure, of: Some(Arc::clone(&queue.label)), value });
            }
        }
        if let (Some(name), Some(lock)) = (self.others.first(), lock) {
            let value = match lock {
                Lock::Free => 0.0,
                Lock::Held(_) => 1.0,
            };
            progress.measure(Measure { figure: Figure::QueueLockHeld, of: Some(name.clone()), value });
        }
    }
}

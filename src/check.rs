//! What a check is: something that is done to one node, and writes down in a
//! [`NodeProgress`] what it does and finds. It cannot fail, and it knows no
//! deadline: it is dropped when that strikes.
//!
//! The round trip is done to every node. The other kinds are each a `Look`: it sees the alias' servers one by
//! one, and then says what all of that means.

mod clock;
mod efficiency;
mod makings;
mod queue;
pub mod round_trip;
mod visibility;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::Either;
use tokio::time::Instant;

use crate::cache::memcached::Memcached;
use crate::cache::redis::Redis;
use crate::cache::{Cache, SetupError};
use crate::config::{Backend, checks};
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};
use clock::Clock;
use efficiency::Efficiency;
use queue::Queue;
use round_trip::{RoundTrips, Written};
use visibility::Visibility;

pub(crate) use makings::Makings;

/// A kind of check other than the round trip. Its rounds come one after the other.
#[async_trait]
pub(crate) trait Look: Send + Sync {
    /// Forgets what the last round saw, of which some may be there still where its deadline struck. The check began at
    /// `began`, perhaps long before it was its turn.
    fn begin(&self, began: Instant);

    /// Looks at one server of the alias. May be called once more in a round, where the topology changes meanwhile.
    async fn look(&self, seat: &Seat, progress: &NodeProgress) -> Result<(), Fault>;

    /// Says what the round has seen: findings and figures.
    fn judge(&self, progress: &Progress);

    /// Whether nothing has come over the kept connections of servers that are not the alias' own.
    fn is_quiet(&self) -> bool {
        true
    }
}

/// The look that a check of this kind is, at an alias with this backend. Nothing is dialled yet.
pub(crate) fn open(
    check: &checks::Check,
    backend: &Backend,
    makings: &Makings,
) -> Result<Arc<dyn Look>, SetupError> {
    Ok(match check {
        checks::Check::Visibility(config) => Arc::new(Visibility::new(config, backend, makings)?),
        checks::Check::Queue(config) => Arc::new(Queue::new(config)),
        checks::Check::Clock(config) => Arc::new(Clock::new(config, makings)),
        checks::Check::Efficiency(config) => Arc::new(Efficiency::new(config)),
    })
}

/// One server behind an alias, and what is done to it.
pub(crate) struct Node {
    name: Arc<str>,
    task: Task,
}

enum Task {
    RoundTrips(RoundTrips),
    /// Boxed, since of round trips there may be thousands.
    Look(Box<(Arc<dyn Look>, Seat)>),
}

/// A server as a [`Look`] sees it.
pub(crate) struct Seat {
    /// What it is called: its address.
    pub(crate) name: Arc<str>,
    /// For commands of every kind.
    pub(crate) server: Server,
    /// The same for canaries, with the layers around it that were asked for.
    pub(crate) cache: Box<dyn Cache>,
    /// Its share of the keys, in a Redis cluster.
    pub(crate) share: Option<Box<dyn KeyShare>>,
}

/// A server, whichever kind it is. Its clones are one.
#[derive(Clone)]
pub(crate) enum Server {
    Redis(Redis),
    Memcached(Arc<Memcached>),
}

/// Which keys of a Redis cluster one of its primaries holds.
pub(crate) trait KeyShare: Send + Sync {
    /// Whether this key is one of them.
    fn holds(&self, key: &[u8]) -> bool;

    /// The server that ASK sends to, by the words of that error: `ASK 3999 127.0.0.1:6381`. Every command to it is
    /// preceded by ASKING.
    fn importing(&self, said: &str) -> Option<Redis>;
}

/// What a look keeps, also where a panic has come between.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node did not pass; why stands in its progress.
#[derive(Debug)]
pub(crate) struct Failed;

impl Server {
    /// The cache that it is.
    pub(crate) fn cache(&self) -> Box<dyn Cache> {
        match self {
            Self::Redis(redis) => Box::new(redis.clone()),
            Self::Memcached(memcached) => Box::new(memcached.clone()),
        }
    }
}

impl Seat {
    /// Whether this server is the one that holds a key, where servers share them.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.share.as_ref().is_none_or(|share| share.holds(key))
    }
}

impl Node {
    /// A node to which round trips are made.
    pub(crate) fn round_trips(name: Arc<str>, trips: RoundTrips) -> Self {
        Self { name, task: Task::RoundTrips(trips) }
    }

    /// A node that is looked at.
    pub(crate) fn look(look: Arc<dyn Look>, seat: Seat) -> Self {
        Self { name: seat.name.clone(), task: Task::Look(Box::new((look, seat))) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether nothing has come over its kept connection since it was checked.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.task {
            Task::RoundTrips(trips) => trips.is_quiet(),
            Task::Look(looked_at) => looked_at.1.cache.is_quiet(),
        }
    }

    /// Whether what is done to it depends on which keys it holds.
    pub(crate) fn depends_on_keys(&self) -> bool {
        matches!(self.task, Task::Look(..))
    }

    /// Checks it, and writes that down in `progress`. A round trip that was made returns its canary.
    pub(crate) fn check<'a>(
        &'a self,
        progress: &'a NodeProgress,
    ) -> impl Future<Output = Result<Option<Written>, Failed>> + Send + 'a {
        match &self.task {
            Task::RoundTrips(trips) => Either::Left(trips.make(progress)),
            Task::Look(looked_at) => Either::Right(async {
                let (look, seat) = &**looked_at;
                let verdict = look.look(seat, progress).await;
                let passed = verdict.is_ok();
                progress.conclude(verdict);
                if passed { Ok(None) } else { Err(Failed) }
            }),
        }
    }
}

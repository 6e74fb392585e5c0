//! A Redis cluster: each of its primaries is a node, with canaries in slots that it owns.
//!
//! `slots` is who owns which slots, `view` what one node says of that, `round` a round of checks. Between
//! rounds nothing happens; the map is asked for again in a round that needs it.

mod round;
mod slots;
mod view;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::{Maker, Topology};
use crate::cache::SetupError;
use crate::cache::redis::Redis;
use crate::check::round_trip::Node;
use crate::config::{self, Address, Announce, Login, Tls};
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};
use round::Round;
use slots::{Hosts, SlotMap, Tag};
use view::{Sight, View};

/// A cluster, as it was found by the last round.
pub(super) struct Cluster {
    seeds: Vec<Address>,
    announce: Announce,
    login: Arc<Login>,
    tls: Option<Tls>,
    spray: usize,
    maker: Maker,
    /// None until a round has found a primary.
    known: Mutex<Option<Arc<Known>>>,
}

/// What is known of a cluster.
struct Known {
    /// In short, from the node that told the map.
    sight: Sight,
    map: Arc<SlotMap>,
    /// The primary of each of the map's shards.
    primaries: Vec<Arc<Primary>>,
}

/// A primary, and the node that it is.
struct Primary {
    address: Address,
    server: Redis,
    node: Node,
    /// What puts the canaries into its slots, one for each series.
    tags: Vec<Tag>,
}

/// Somebody to ask for the map, and where that is written down.
struct Candidate {
    address: Address,
    server: Redis,
    progress: Arc<NodeProgress>,
}

/// How many are asked for the map at the same time.
const AT_ONCE: usize = 8;

impl Cluster {
    pub(super) fn new(
        seeds: &[Address],
        announce: Announce,
        redis: &config::Redis,
        maker: Maker,
    ) -> Result<Self, SetupError> {
        let cluster = Self {
            seeds: seeds.to_vec(),
            announce,
            login: Arc::new(redis.login.clone()),
            tls: redis.tls.clone(),
            spray: redis.spray,
            maker,
            known: Mutex::default(),
        };
        // What is wrong with a seed is said at the start.
        for seed in seeds {
            cluster.server(seed)?;
        }
        Ok(cluster)
    }

    fn server(&self, address: &Address) -> Result<Redis, SetupError> {
        self.maker.redis(address, &self.login, self.tls.as_ref())
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the addresses that a node announces are taken.
    fn hosts<'a>(&self, asked: &'a Address) -> Hosts<'a> {
        let asked = match asked {
            Address::Tcp { host, .. } => host.as_str(),
            Address::Unix(_) => "localhost",
        };
        Hosts { announce: self.announce, asked }
    }

    /// Takes in a map. A primary stays the node that it was, with its connection and its series, as long as it
    /// owns the slots of its canaries; slots in `avoided` are left where it has others.
    fn learn(
        &self,
        sight: Sight,
        map: Arc<SlotMap>,
        before: Option<&Known>,
        avoided: &BTreeSet<u16>,
    ) -> Result<Arc<Known>, SetupError> {
        let before: HashMap<&Address, &Arc<Primary>> = before
            .iter()
            .flat_map(|known| &known.primaries)
            .map(|primary| (&primary.address, primary))
            .collect();
        let stays: Vec<_> = map
            .shards
            .iter()
            .map(|shard| {
                let owned = |tag: &Tag| shard.owns(tag.slot) && !avoided.contains(&tag.slot);
                before.get(&shard.primary).filter(|primary| {
                    primary.tags.len() >= self.spray.min(shard.len()) && primary.tags.iter().all(owned)
                })
            })
            .collect();
        let wanted: Vec<_> = stays.iter().map(|stays| if stays.is_some() { 0 } else { self.spray }).collect();
        let mut tags = map.tags(&wanted, avoided);
        // One all of whose slots are to be avoided.
        let left: Vec<_> = wanted
            .iter()
            .zip(&tags)
            .map(|(&wanted, tags)| if tags.is_empty() { wanted } else { 0 })
            .collect();
        if left.iter().any(|&left| left > 0) {
            for (tags, more) in tags.iter_mut().zip(map.tags(&left, &BTreeSet::new())) {
                tags.extend(more);
            }
        }
        let primaries = map.shards.iter().zip(stays).zip(tags).map(|((shard, stays), tags)| {
            if let Some(stays) = stays {
                return Ok(Arc::clone(stays));
            }
            let address = shard.primary.clone();
            let server = match before.get(&address) {
                // With tags that it has had, there is nothing to change.
                Some(earlier) if earlier.tags == tags => return Ok(Arc::clone(earlier)),
                Some(earlier) => earlier.server.clone(),
                None => self.server(&address)?,
            };
            let texts: Vec<_> = tags.iter().map(|tag| tag.text.clone()).collect();
            let node = self.maker.node_in_cluster(&address, server.clone(), &texts);
            Ok(Arc::new(Primary { address, server, node, tags }))
        });
        let primaries = primaries.collect::<Result<Vec<_>, SetupError>>()?;
        let known = Arc::new(Known { sight, map, primaries });
        *self.known() = (!known.primaries.is_empty()).then(|| known.clone());
        Ok(known)
    }

    /// The seeds, each as a node that is written down in `progress`.
    fn seeds(&self, progress: &Progress) -> Vec<Candidate> {
        self.candidates(self.seeds.iter().map(|seed| (seed, None)), progress)
    }

    /// Those of these addresses that can be asked, each once, as nodes in `progress`.
    fn candidates<'a>(
        &self,
        addresses: impl Iterator<Item = (&'a Address, Option<&'a Redis>)>,
        progress: &Progress,
    ) -> Vec<Candidate> {
        let mut listed = HashSet::new();
        let candidates =
            addresses.filter(|(address, _)| listed.insert(*address)).filter_map(|(address, server)| {
                let server = server.map_or_else(|| self.server(address), |server| Ok(server.clone())).ok()?;
                let progress = progress.node(&address.to_string().into(), Role::Server);
                Some(Candidate { address: address.clone(), server, progress })
            });
        candidates.collect()
    }

    /// Asks for the map: some candidates at once, and the next ones when none of those has answered in time,
    /// so that one that hangs costs no more than that. Of several answers the best is taken.
    async fn survey(&self, candidates: Vec<Candidate>) -> Result<View, Fault> {
        let mut rest = candidates.into_iter();
        let mut asked = FuturesUnordered::new();
        let mut fault = Fault::new(Cause::Unreachable, Phase::Resolve, "there is nobody to ask");
        loop {
            for Candidate { address, server, progress } in rest.by_ref().take(AT_ONCE) {
                asked.push(async move {
                    let answer = View::ask(&server, self.hosts(&address), &progress).await;
                    if let Err(fault) = &answer {
                        progress.conclude(Err(fault.clone()));
                    }
                    answer.map(|view| (address, view))
                });
            }
            let mut best: Option<View> = None;
            let mut unowned = Vec::new();
            let mut until = Instant::now() + self.patience();
            loop {
                match timeout_at(until, asked.next()).await {
                    Ok(Some(Ok((address, view)))) => {
                        unowned.push((address, view.map.gaps()));
                        if best.as_ref().is_none_or(|best| view.is_better_than(best)) {
                            best = Some(view);
                        }
                    }
                    Ok(Some(Err(met))) => fault = met,
                    Ok(None) => break,
                    // With nobody else to ask it may take until the deadline.
                    Err(_) if best.is_none() && rest.len() == 0 => until += self.maker.timeout(),
                    Err(_) => break,
                }
            }
            if let Some(mut best) = best {
                for (address, unowned) in &unowned {
                    best.map.deny(address, unowned);
                }
                return Ok(best);
            }
            if rest.len() == 0 {
                return Err(fault);
            }
        }
    }

    /// How long a candidate is waited for before the next ones are asked as well.
    fn patience(&self) -> Duration {
        self.maker.timeout() / 8
    }

    /// How long a primary is waited for before it is found out whether it still is one.
    fn slow(&self) -> Duration {
        self.maker.timeout() / 4
    }

    /// Between two looks at a slot that one primary has let go and another has not taken yet.
    fn pause(&self) -> Duration {
        self.maker.timeout() / 64
    }
}

#[async_trait]
impl Topology for Cluster {
    async fn round(&self, progress: &Progress) {
        let known = self.known().clone();
        Round::new(self, progress).run(known).await;
    }
}

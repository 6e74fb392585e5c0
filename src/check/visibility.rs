//! [`VisibilityProbe`]: whether every way into the cache shows what was written and deleted through the alias.
//!
//! A canary is left standing from one look to the next, which writes a new one beside it and deletes the earlier:
//! every view is to show the one and no longer the other. So a view that was cut off in between is seen to go on
//! showing what was deleted, which a write and a delete within one look would not tell.

mod client;
mod server_probe;
mod verdict;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{CheckContext, Probe, ProbeTarget};
use crate::budget;
use crate::cache::SetupError;
use crate::config::{Backend, MemcachedServers, checks};
use crate::mutex::Mutex;
use crate::outcome::Fault;
use crate::progress::{NodeProgress, Progress};
use client::ClientRing;
use server_probe::{ServerProbe, Spot};
use verdict::{Estranged, SeenByServer, SeenView};
use view::{View, WatchDeadline};

/// Whether every way into the cache shows what was written and deleted through the alias.
pub(crate) struct VisibilityProbe {
    context: CheckContext,
    views: Vec<View>,
    /// Where a client sends keys among several servers of the alias, if it has some.
    ring: Option<ClientRing>,
    write_within: Duration,
    delete_within: Duration,
    canaries: usize,
    /// The canaries of each server of the alias.
    spots: Mutex<HashMap<Arc<str>, Vec<Arc<Spot>>>>,
    /// When this check began.
    began: Mutex<Instant>,
    /// What this check has seen.
    seen: Mutex<SeenByServer>,
    estranged: Mutex<Estranged>,
}

/// How many times a look begins anew because a key was on its way to another server.
const MOST_MOVES: u32 = 8;

impl VisibilityProbe {
    pub(super) fn new(
        config: &checks::VisibilityConfig,
        backend: &Backend,
        context: &CheckContext,
    ) -> Result<Self, SetupError> {
        let checks::VisibilityConfig { views, write_within, delete_within, client, canaries } = config;
        let views = views.iter().map(|view| View::new(view, *client, context));
        let ring = match backend {
            Backend::Memcached(memcached) => {
                let named = memcached.servers.iter().filter_map(|server| match server {
                    MemcachedServers::One(address) => Some(address),
                    MemcachedServers::EveryAddress { .. } | MemcachedServers::Endpoint(_) => None,
                });
                Some(ClientRing::new(*client, named))
            }
            Backend::Redis(_) | Backend::Unchecked(_) => None,
        };
        Ok(Self {
            context: context.clone(),
            views: views.collect::<Result<_, _>>()?,
            ring,
            write_within: *write_within,
            delete_within: *delete_within,
            canaries: *canaries,
            spots: Mutex::default(),
            began: Mutex::new(Instant::now()),
            seen: Mutex::default(),
            estranged: Mutex::default(),
        })
    }

    /// The places for canaries on a server: those that it had, if they are still its own, and new ones for the rest.
    fn spots(&self, target: &ProbeTarget) -> Vec<Arc<Spot>> {
        let place = self.ring.as_ref().and_then(|ring| Some((ring, ring.position(&target.name)?)));
        let mut all = self.spots.lock();
        let spots = all.entry(target.name.clone()).or_default();
        spots.retain(|spot| {
            !spot.leaves() && spot.keys().iter().all(|key| target.holds(key.as_str().as_bytes()))
        });
        while spots.len() < self.canaries {
            let series = self.context.placed_series(&target.name, |key| {
                let key = key.as_str();
                target.holds(key.as_bytes()) && place.is_none_or(|(ring, place)| ring.sends_to(key, place))
            });
            let Some(series) = series else { break };
            spots.push(Arc::new(Spot::new(series)));
        }
        spots.clone()
    }

    fn server_probe<'a>(&'a self, target: &'a ProbeTarget, progress: &'a NodeProgress) -> ServerProbe<'a> {
        let timeout = self.context.timeout();
        // An eighth of the deadline may have passed before the check began, and there is to be time for a verdict.
        let end = *self.began.lock() + budget::VISIBILITY_END.of(timeout);
        ServerProbe {
            target,
            progress,
            views: &self.views,
            spots: self.spots(target),
            until: WatchDeadline {
                over: budget::VISIBILITY_OVER.of(timeout),
                last: end - budget::VISIBILITY_LAST.of(timeout),
                end,
            },
            write_within: self.write_within,
            delete_within: self.delete_within,
            seen: self.views.iter().map(|_| SeenView::default()).collect(),
        }
    }
}

#[async_trait]
impl Probe for VisibilityProbe {
    fn begin(&self, began: Instant) {
        *self.began.lock() = began;
        self.seen.lock().clear();
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        // A server that has a fault is one of the alias all the same.
        self.seen.lock().entry(target.name.clone()).or_default();
        let mut moves = 0;
        loop {
            let mut look = self.server_probe(target, progress);
            match look.make().await {
                Err(_) if moves < MOST_MOVES && look.spots.iter().any(|spot| spot.leaves()) => moves += 1,
                Err(fault) => return Err(fault),
                Ok(()) => {
                    self.seen.lock().insert(target.name.clone(), look.seen);
                    return Ok(());
                }
            }
        }
    }

    fn judge(&self, progress: &Progress) {
        let seen = self.seen.lock();
        self.spots.lock().retain(|server, _| seen.contains_key(server));
        let views: Vec<_> = self.views.iter().map(|view| view.name.clone()).collect();
        let mut estranged = self.estranged.lock();
        let (findings, measures) = verdict::judge(&views, &seen, &mut estranged, Instant::now());
        for finding in findings {
            progress.find(finding);
        }
        for measure in measures {
            progress.measure(measure);
        }
    }

    fn is_quiet(&self) -> bool {
        self.views.iter().all(View::is_quiet)
    }
}

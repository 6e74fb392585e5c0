//! [`VisibilityProbe`]: the visibility of writes and deletes through the alias in every other way into the cache.
//!
//! A canary is left standing from one look to the next, which writes a new one beside it and deletes the earlier:
//! every view is to show the new one and no longer the earlier. So a view that was cut off in between is seen to show
//! the deleted canary still, which a write and a delete within one look would not reveal.

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

/// The check that every way into the cache shows the writes and deletes through the alias.
pub(crate) struct VisibilityProbe {
    context: CheckContext,
    views: Vec<View>,
    /// The ring by which a client spreads keys over several servers of the alias, if it has several.
    ring: Option<ClientRing>,
    write_within: Duration,
    delete_within: Duration,
    canaries: usize,
    /// The canaries of each server of the alias.
    spots: Mutex<HashMap<Arc<str>, Vec<Arc<Spot>>>>,
    /// The time at which this check began.
    began: Mutex<Instant>,
    /// The sights of this check.
    seen: Mutex<SeenByServer>,
    estranged: Mutex<Estranged>,
}

/// The most times that a look starts over because a key was on its way to another server.
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

    /// The places for canaries on a server: its earlier ones, if they are still its own, and new ones for the rest.
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
        // An eighth of the deadline may have passed before the check began, and the verdict needs time.
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
        // A server with a fault still belongs to the alias.
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

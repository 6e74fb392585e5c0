//! The requests for the map of a cluster: the nodes to ask, their order, and the choice among their answers.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::view::ClusterView;
use super::{Cluster, ClusterPrimary, KnownCluster};
use crate::budget;
use crate::cache::redis::{Redis, Requirement};
use crate::config::Address;
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};

/// A node to ask for the map, and the progress of that.
pub(super) struct Candidate {
    address: Address,
    server: Redis,
    pub(super) progress: Arc<NodeProgress>,
}

/// The known primaries, by the results of their checks so far.
#[derive(Default)]
pub(super) struct Groups<'a> {
    /// Primaries that report a change.
    pub(super) telling: Vec<&'a ClusterPrimary>,
    pub(super) well: Vec<&'a ClusterPrimary>,
    /// Primaries that have a fault, or are slow.
    pub(super) faulty: Vec<&'a ClusterPrimary>,
    /// Primaries that have not answered yet, slow or not.
    pub(super) silent: Vec<&'a ClusterPrimary>,
}

/// The best of several answers, and the number of entries of all of them.
pub(super) struct SurveyResult {
    pub(super) view: ClusterView,
    pub(super) entries: usize,
}

/// The number of nodes that are asked for the map at the same time.
const AT_ONCE: usize = 8;

/// The most nodes that are asked in total.
const MOST_ASKED: usize = 4 * AT_ONCE;

/// The number of replicas of primaries in trouble among the first nodes that are asked.
const HEIRS: usize = 4;

/// The number of healthy primaries among the first nodes that are asked.
const WELL: usize = 2;

impl Cluster {
    /// The nodes to ask if the map may have changed, the likeliest to know first.
    pub(super) fn informants<'a>(
        &'a self,
        known: &'a KnownCluster,
        groups: &Groups<'a>,
        progress: &Progress,
    ) -> Vec<Candidate> {
        let Groups { telling, well, faulty, silent } = groups;
        let server = |primary: &&'a ClusterPrimary| (&primary.address, Some(&primary.server));
        let address = |address: &'a Address| (address, None);
        // A replica that takes over is the first to know.
        let heirs = faulty.iter().flat_map(|primary| known.replicas(&primary.address)).take(HEIRS);
        let replicas = known.map.shards.iter().flat_map(|shard| &shard.replicas);
        let order: Vec<_> = heirs
            .map(address)
            .chain(telling.iter().take(AT_ONCE - HEIRS - WELL).map(server))
            .chain(well.iter().take(WELL).map(server))
            .chain(self.seeds.iter().map(address))
            .chain(telling.iter().chain(well).chain(faulty).map(server))
            .chain(replicas.map(address))
            .collect();
        // A node that does not even answer its check would only cost time.
        let silent: HashSet<_> = silent.iter().map(|primary| &primary.address).collect();
        let anybody_else = order.iter().any(|(address, _)| !silent.contains(address));
        let asked = order.iter().filter(|(address, _)| !anybody_else || !silent.contains(address)).copied();
        // A node that is asked does not become a node of the alias.
        let aside = progress.aside();
        self.candidates(asked, &aside)
    }

    /// The seeds, each as a node of `progress`.
    pub(super) fn seeds(&self, progress: &Progress) -> Vec<Candidate> {
        self.candidates(self.seeds.iter().map(|seed| (seed, None)), progress)
    }

    /// The addresses that can be asked, without duplicates, as nodes in `progress`.
    fn candidates<'a>(
        &self,
        addresses: impl Iterator<Item = (&'a Address, Option<&'a Redis>)>,
        progress: &Progress,
    ) -> Vec<Candidate> {
        let mut listed = HashSet::new();
        let candidates = addresses
            .filter(|(address, _)| listed.insert(*address))
            .take(MOST_ASKED)
            .filter_map(|(address, server)| {
                let server = server
                    .map_or_else(|| self.nodes.server(address, Requirement::Any), |server| Ok(server.clone()))
                    .ok()?;
                let progress = progress.node(&self.nodes.factory.name(address), Role::Server);
                Some(Candidate { address: address.clone(), server, progress })
            });
        candidates.collect()
    }

    /// Requests the map from several candidates at once, and from the next ones if none of those has answered in time.
    /// The best of the answers is taken.
    pub(super) async fn survey(&self, candidates: Vec<Candidate>) -> Result<SurveyResult, Fault> {
        let mut rest = candidates.into_iter();
        let mut asked = FuturesUnordered::new();
        let mut fault = Fault::new(Cause::Unreachable, Phase::Resolve, "no node of the cluster is known");
        loop {
            for Candidate { address, server, progress } in rest.by_ref().take(AT_ONCE) {
                asked.push(async move {
                    let answer = ClusterView::ask(&server, self.nodes.hosts(&address), &progress).await;
                    if let Err(fault) = &answer {
                        progress.conclude(Err(fault.clone()));
                    }
                    answer.map(|view| (address, view))
                });
            }
            let mut best: Option<ClusterView> = None;
            let mut entries = 0;
            let mut unowned = Vec::new();
            let max_wait = budget::HANGING.of(self.nodes.factory.timeout());
            let mut until = Instant::now() + max_wait;
            loop {
                match timeout_at(until, asked.next()).await {
                    Ok(Some(Ok((address, view)))) => {
                        if best.is_none() {
                            // The others were asked at the same time.
                            until = until.min(Instant::now() + max_wait / 2);
                        }
                        entries += view.map.entries();
                        unowned.push((address, view.map.unowned()));
                        if best.as_ref().is_none_or(|best| view.is_better_than(best)) {
                            best = Some(view);
                        }
                    }
                    Ok(Some(Err(met))) => fault = met,
                    // If no other candidate is left, the answers may take until the deadline.
                    Err(_) if best.is_none() && rest.len() == 0 => until += self.nodes.factory.timeout(),
                    Ok(None) | Err(_) => break,
                }
            }
            if let Some(mut best) = best {
                for (address, unowned) in &unowned {
                    best.map.deny(address, unowned);
                }
                return Ok(SurveyResult { view: best, entries });
            }
            if rest.len() == 0 {
                return Err(fault);
            }
        }
    }
}

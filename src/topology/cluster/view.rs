//! [`ClusterInfo`] and [`ClusterView`]: one node's view of its cluster.

use std::cmp::Reverse;

use redis::{Cmd, Value, cmd};

use super::slots::{AnnouncedHosts, SlotMap, SlotMapReading};
use crate::cache::redis::{Query, Redis, field};
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;
use crate::topology::announced;

/// The most bytes of an answer to `CLUSTER SLOTS`, in which every slot is a range of its own, each with a primary and a
/// replica in 250 bytes.
const SLOTS_LIMIT: usize = 4 * 1024 * 1024;

/// The most bytes of an answer to `CLUSTER INFO`, which has some 30 short lines.
const INFO_LIMIT: usize = 16 * 1024;

/// A node's summary of its cluster ("CLUSTER INFO").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClusterInfo {
    /// `true` if it takes commands: it reaches enough of the other nodes, and sees every slot that is required.
    pub(super) serves: bool,
    /// The greatest epoch that it has seen. Every failover and every slot that moves makes a greater one.
    epoch: Option<u64>,
    /// The epoch of its own slots, or of its primary's.
    own_epoch: Option<u64>,
    /// The number of primaries that own slots.
    size: Option<u64>,
    /// The number of slots that have an owner.
    assigned: Option<u64>,
}

impl ClusterInfo {
    /// Asks a server as the first thing of a check.
    pub(super) async fn first(server: &Redis, progress: &NodeProgress) -> Result<Self, Fault> {
        let answer = server.ask(&info(&mut cmd("CLUSTER")), progress).await?;
        Self::parse(&answer).ok_or_else(|| progress.fault(Cause::Protocol, NO_STATE))
    }

    /// Asks a server on the connection that its check has just used.
    pub(super) async fn further(server: &Redis, progress: &NodeProgress) -> Result<Self, Fault> {
        let answer = server.ask_further(&info(&mut cmd("CLUSTER")), progress).await?;
        Self::parse(&answer).ok_or_else(|| progress.fault(Cause::Protocol, NO_STATE))
    }

    pub(super) fn parse(answer: &Value) -> Option<Self> {
        let text = announced::text(answer)?;
        // Some servers that speak this protocol lack some of these counts.
        let number = |name: &str| field(text, name)?.parse().ok();
        Some(Self {
            serves: field(text, "cluster_state")? == "ok",
            epoch: number("cluster_current_epoch"),
            own_epoch: number("cluster_my_epoch"),
            size: number("cluster_size"),
            assigned: number("cluster_slots_assigned"),
        })
    }

    /// `true` if nothing need have changed between the two.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.epoch, self.size, self.assigned) == (other.epoch, other.size, other.assigned)
    }
}

/// `CLUSTER INFO`, from a command that has its first word.
fn info(command: &mut Cmd) -> Query<'_> {
    Query {
        command: command.arg("INFO"),
        limit: INFO_LIMIT,
        expected: "cluster_state:ok",
        part: "the state of the cluster",
    }
}

const NO_STATE: &str = "the answer to CLUSTER INFO has no cluster_state";

/// A node's full view of its cluster.
#[derive(Debug)]
pub(super) struct ClusterView {
    pub(super) sight: ClusterInfo,
    pub(super) map: SlotMap,
}

impl ClusterView {
    /// Asks a server.
    pub(super) async fn ask(
        server: &Redis,
        hosts: AnnouncedHosts<'_>,
        progress: &NodeProgress,
    ) -> Result<Self, Fault> {
        // The order matters: the next `ClusterInfo` shows a change in between.
        let sight = ClusterInfo::first(server, progress).await?;
        let mut command = cmd("CLUSTER");
        let slots = Query {
            command: command.arg("SLOTS"),
            limit: SLOTS_LIMIT,
            expected: "an owner of every slot",
            part: "the slot map of the cluster",
        };
        let mut reading = SlotMapReading::default();
        let keep = &mut |entry| {
            reading.add(&entry, hosts);
            // Thousands of entries take several times as much memory as the map made from them.
            if progress.is_explained() { entry } else { Value::Nil }
        };
        let answer = server.ask_for_elements(&slots, progress, keep).await?;
        let map = reading.map(&answer).map_err(|what| progress.fault(Cause::Protocol, what))?;
        Ok(Self { sight, map })
    }

    /// `true` if it is more credible than another. A node that is cut off from the others does not serve. Of those that
    /// serve, the one with the greatest epoch has the latest state. Of several with the same epoch, one that knows more
    /// addresses is of more use, and a newly elected primary knows of its election first.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        let rank = |view: &Self| {
            let ClusterInfo { serves, epoch, own_epoch, .. } = view.sight;
            let lost: usize = view.map.lost.iter().map(ExactSizeIterator::len).sum();
            (!view.map.shards.is_empty(), serves, epoch, Reverse(lost), own_epoch)
        };
        rank(self) > rank(other)
    }

    /// `true` if it would undo a later state: its epoch is less than that of the map that is `known`, which a primary still
    /// confirms. Without that, the cluster may have been created anew.
    pub(super) fn is_outdated(
        &self,
        known: &ClusterInfo,
        confirmed: impl Iterator<Item = ClusterInfo>,
    ) -> bool {
        self.sight.epoch < known.epoch && confirmed.map(|sight| sight.epoch).max() >= Some(known.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(text: &str) -> Option<ClusterInfo> {
        ClusterInfo::parse(&Value::BulkString(text.as_bytes().to_vec()))
    }

    fn view(serves: bool, epoch: u64, own_epoch: u64) -> ClusterView {
        let state = if serves { "ok" } else { "fail" };
        let text = format!(
            "cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\ncluster_my_epoch:{own_epoch}\r\n"
        );
        ClusterView { sight: sight(&text).unwrap(), map: SlotMap::default() }
    }

    #[test]
    fn missing_lines_of_cluster_info_are_none() {
        let said = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_known_nodes:6\r\n\
                    cluster_size:3\r\ncluster_current_epoch:7\r\ncluster_my_epoch:2\r\n";
        let whole = ClusterInfo {
            serves: true,
            epoch: Some(7),
            own_epoch: Some(2),
            size: Some(3),
            assigned: Some(16_384),
        };
        assert_eq!(sight(said), Some(whole));
        let failing = sight("cluster_state:fail\r\ncluster_size:x\r\n").unwrap();
        assert!(!failing.serves && failing.size.is_none());
        assert_eq!(sight("cluster_size:3\r\n"), None);
        assert_eq!(ClusterInfo::parse(&Value::Okay), None);
    }

    #[test]
    fn a_node_that_serves_is_believed_and_of_those_the_one_that_has_seen_most() {
        assert!(view(true, 3, 1).is_better_than(&view(false, 9, 9)));
        assert!(view(true, 4, 1).is_better_than(&view(true, 3, 3)));
        assert!(view(true, 4, 4).is_better_than(&view(true, 4, 3)));
        assert!(!view(true, 4, 4).is_better_than(&view(true, 4, 4)));
        let mut lacks_an_address = view(true, 4, 4);
        lacks_an_address.map.lost = vec![0..=99];
        assert!(view(true, 4, 3).is_better_than(&lacks_an_address));
        assert!(lacks_an_address.is_better_than(&view(true, 3, 3)));
    }

    #[test]
    fn an_older_view_undoes_nothing_that_a_primary_still_confirms() {
        let sight = |epoch| view(true, epoch, 1).sight;
        let is_outdated = |told, confirmed: &[u64]| {
            view(true, told, 1).is_outdated(&sight(7), confirmed.iter().map(|&epoch| sight(epoch)))
        };
        assert!(is_outdated(6, &[6, 7]) && is_outdated(6, &[8]));
        assert!(!is_outdated(7, &[7]) && !is_outdated(8, &[7]));
        assert!(!is_outdated(1, &[]) && !is_outdated(1, &[1, 1]), "the cluster was created anew");
    }
}

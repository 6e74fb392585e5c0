//! The plan of a run: which fault each alias has, when and for how long. Pure: a seed has one plan.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use crate::judge::Time;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL, and a restart at the end.
    Kill,
    /// SIGKILL, and a restart at once.
    Restart,
    /// SIGSTOP, and SIGCONT at the end.
    Stop,
    /// No memory, and no leave to evict.
    Fill,
    /// The server becomes the replica of another one.
    ReadOnly,
    /// `CLIENT PAUSE` of writes.
    PauseWrites,
    /// Another server is made the primary.
    Failover,
    /// Slots move to another node, and back at the end.
    Reshard,
    /// A new password beside the old one, which goes at the end.
    Rotate,
    /// Another password, and no connection left.
    Revoke,
    /// Nothing comes over the link.
    Cut,
    /// All that comes over the link is late.
    Delay,
    /// Most Sentinels are stopped.
    StopSentinels,
}

impl Kind {
    /// `true` if writers may miss the making of the fault or its end: a restart is over soon, and a memcached fills up
    /// by one size of items after the other.
    pub(crate) fn can_be_missed(self) -> bool {
        matches!(self, Self::Restart | Self::Fill)
    }

    /// `true` if the servers disagree for a while that writers do not see: until a failover by hand is over, both primaries
    /// take writes, and one Sentinel or node names the first while another names the second.
    pub(crate) fn divides(self) -> bool {
        matches!(self, Self::Failover)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A fault of one of the servers of an alias: after a rest, for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) rest: Duration,
    pub(crate) kind: Kind,
    /// The number of the server.
    pub(crate) server: usize,
    pub(crate) hold: Duration,
}

/// The faults that an alias can have, each of as many servers.
pub(crate) type Faults = &'static [(Kind, usize)];

/// Shorter times leave no window in which the judge can decide.
const REST: std::ops::Range<u64> = 1100..2800;
const HOLD: std::ops::Range<u64> = 1000..2600;

/// The times at which all callers pause, so that the first request after a change is among the judged ones.
const LULL_EVERY: std::ops::Range<u64> = 4000..9000;
const LULL: std::ops::Range<u64> = 400..1800;

/// More events than fit into the run: each alias has those that its time allows.
pub(crate) fn events(seed: u64, alias: usize, faults: Faults, run: Duration) -> Vec<Event> {
    let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(alias as u64));
    // Each fault of each server comes once before any comes again.
    let all = faults.iter().flat_map(|&(kind, servers)| (0..servers).map(move |server| (kind, server)));
    let mut deck = Vec::new();
    let mut planned = Duration::ZERO;
    let mut events = Vec::new();
    while planned < run {
        if deck.is_empty() {
            deck.extend(all.clone());
            rng.shuffle(&mut deck);
        }
        let [rest, hold] = [REST, HOLD].map(|range| Duration::from_millis(rng.u64(range)));
        planned += rest + hold;
        events.extend(deck.pop().map(|(kind, server)| Event { rest, kind, server, hold }));
    }
    events
}

/// The lulls: from and to.
pub(crate) fn lulls(seed: u64, run: Duration) -> Vec<(Time, Time)> {
    let mut rng = Rng::with_seed(!seed);
    let mut lulls = Vec::new();
    let mut time = Duration::ZERO;
    while time < run {
        time += Duration::from_millis(rng.u64(LULL_EVERY));
        let begin = time;
        time += Duration::from_millis(rng.u64(LULL));
        lulls.push((begin, time));
    }
    lulls
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: Faults = &[(Kind::Kill, 3), (Kind::Stop, 3), (Kind::Failover, 1)];
    const RUN: Duration = Duration::from_mins(1);

    #[test]
    fn a_seed_has_one_plan_and_another_seed_or_alias_has_another() {
        let plan = events(7, 0, FAULTS, RUN);
        assert_eq!(plan, events(7, 0, FAULTS, RUN));
        assert_ne!(plan, events(8, 0, FAULTS, RUN));
        assert_ne!(plan, events(7, 1, FAULTS, RUN));
        assert_eq!(lulls(7, RUN), lulls(7, RUN));
        let of_deck = |events: &[Event]| events.iter().filter(|event| event.kind == Kind::Kill).count();
        assert_eq!(of_deck(&plan[..7]), 3, "each server is killed once: {plan:?}");
    }
}

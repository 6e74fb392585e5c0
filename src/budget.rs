//! The parts of a check's one deadline, in one table. The `deadline` layer alone ends a check. Each wait within it has a
//! [`Part`], so that a server, a name or a Sentinel that hangs leaves enough time for the others.
//!
//! | part | of the deadline | the wait |
//! | --- | --- | --- |
//! | [`SHARED_WAIT`] | 1/8 | of a caller for a running check, before the next one begins; so at most eight checks overlap |
//! | [`STORE`] | 1/8 | for the store of the fleet, at a lookup and at a publication |
//! | [`GLANCE`] | 1/8 | for the nodes of an alias with a verdict from the fleet |
//! | [`GOOD_TIME`] | 1/2 | of this sidecar's own last check, at most, for it to take verdicts from the fleet |
//! | [`BEFORE_CHECK`] | 3/4 | in the queue of the concurrency limit, as far as it counts: a quarter is left for the check |
//! | [`TURN`] | 1/64 | of a check in that queue, or of a lookup of a name, before it makes room for two others |
//! | [`SECOND_LOOKUP`] | 1/2 | for a name, before another lookup of it begins |
//! | [`DIALS`] | 1/2 | for all dials that wait for a place, together |
//! | [`DIAL_TURN`] | 1/8 | for an unanswered dial, before another server's takes its place |
//! | [`PLAIN_PING`] | 1/4 | for an answer to a TLS handshake, before the server is asked without TLS whether it speaks any |
//! | [`PASSWORD`] | 1/2 | for a new password, before the last one is used, or a failure to get one is the verdict |
//! | [`OTHER_SLOTS`] | 1/8 | for a new connection's answers about keys in other slots of a cluster |
//! | [`HANGING`] | 1/8 | for servers that hang: of nodes that begin after them, and of a survey of the cluster map |
//! | [`LAST_BEGUN`] | 1/8 | of what is left of [`HANGING`], for the servers that began last |
//! | [`SENTINEL`] | 1/4 | for a Sentinel, if the primary is known, and for the servers that Sentinels name, if those differ; the rest is left for the primary |
//! | [`SENTINEL_ALONE`] | 1/2 | for a Sentinel, if there is no primary to check without its answer |
//! | [`REMOVED`] | 1/4 | for the known servers, before those of an older configuration of an endpoint are taken |
//! | [`SLOW_PRIMARY`] | 1/4 | for a primary of a cluster, before the map is asked for again |
//! | [`MAP_PAUSE`] | 1/64 | between two looks at a slot that no primary has |
//! | [`CONSENSUS`] | 1/8 | for what nodes say of each other, after the round trips; a check that is dropped meanwhile keeps their verdicts |
//! | [`CLOCK_PAUSE`] | 1/8 | before the global clock is read once more, at most |
//! | [`VISIBILITY_END`] | 3/4 | for all views to show a canary, from the beginning of the round |
//! | [`VISIBILITY_LAST`] | 1/16 | for the answers to the last look, before that end |
//! | [`VISIBILITY_OVER`] | 1/4 | for a view that is late, in order to say how late it is |
//! | [`GRACE`] | 1/8 | after the deadline, if the sidecar itself was held up and the check goes on |
//! | [`DROP_AFTER`] | 1/8 | after the deadline, before a check of many nodes is dropped; by chance up to twice as long |

use std::time::Duration;

/// A part of the deadline: a numerator and a denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part(u32, u32);

pub(crate) const SHARED_WAIT: Part = Part(1, 8);
pub(crate) const STORE: Part = Part(1, 8);
pub(crate) const GLANCE: Part = Part(1, 8);
pub(crate) const GOOD_TIME: Part = Part(1, 2);
pub(crate) const BEFORE_CHECK: Part = Part(3, 4);
pub(crate) const TURN: Part = Part(1, 64);
pub(crate) const SECOND_LOOKUP: Part = Part(1, 2);
pub(crate) const DIALS: Part = Part(1, 2);
pub(crate) const DIAL_TURN: Part = Part(1, 8);
pub(crate) const PLAIN_PING: Part = Part(1, 4);
pub(crate) const PASSWORD: Part = Part(1, 2);
pub(crate) const OTHER_SLOTS: Part = Part(1, 8);
pub(crate) const HANGING: Part = Part(1, 8);
pub(crate) const LAST_BEGUN: Part = Part(1, 8);
pub(crate) const SENTINEL: Part = Part(1, 4);
pub(crate) const SENTINEL_ALONE: Part = Part(1, 2);
pub(crate) const REMOVED: Part = Part(1, 4);
pub(crate) const SLOW_PRIMARY: Part = Part(1, 4);
pub(crate) const MAP_PAUSE: Part = Part(1, 64);
pub(crate) const CONSENSUS: Part = Part(1, 8);
pub(crate) const CLOCK_PAUSE: Part = Part(1, 8);
pub(crate) const VISIBILITY_END: Part = Part(3, 4);
pub(crate) const VISIBILITY_LAST: Part = Part(1, 16);
pub(crate) const VISIBILITY_OVER: Part = Part(1, 4);
pub(crate) const GRACE: Part = Part(1, 8);
pub(crate) const DROP_AFTER: Part = Part(1, 8);

impl Part {
    /// This part of `deadline`.
    pub(crate) fn of(self, deadline: Duration) -> Duration {
        deadline * self.0 / self.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_waits_that_follow_each_other_leave_time_for_the_check() {
        const DEADLINE: Duration = Duration::from_millis(6400);
        let after = |parts: &[Part]| parts.iter().map(|part| part.of(DEADLINE)).sum::<Duration>();
        let quarter = DEADLINE / 4;
        let before_check: [&[Part]; 8] = [
            // A verdict of the fleet that a glance refutes, and then a check with a publication.
            &[SHARED_WAIT, STORE, GLANCE, STORE],
            // Eight doublings of the concurrency limit, or of the threads for names, and then dials that wait for others.
            &[SHARED_WAIT, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, DIALS],
            &[DIALS, DIAL_TURN, OTHER_SLOTS],
            &[SHARED_WAIT, PASSWORD, OTHER_SLOTS],
            // Servers that hang in two surveys of a cluster, then a slow primary.
            &[HANGING, HANGING, SLOW_PRIMARY, MAP_PAUSE],
            // A Sentinel is asked once more after a fault of the primary.
            &[SHARED_WAIT, SENTINEL, SENTINEL],
            &[SHARED_WAIT, SENTINEL_ALONE],
            // An endpoint is asked, and then a server that it removed is silent.
            &[SHARED_WAIT, REMOVED, HANGING],
        ];
        for parts in before_check {
            assert!(after(parts) + quarter <= DEADLINE, "{parts:?}");
        }
        assert_eq!(BEFORE_CHECK.of(DEADLINE), DEADLINE * 3 / 4);
        assert_eq!(after(&[SHARED_WAIT; 8]), DEADLINE, "at most eight checks overlap");
        assert!(after(&[SHARED_WAIT, VISIBILITY_END]) < DEADLINE, "there is time for a verdict");
        assert!(VISIBILITY_LAST.of(DEADLINE) < VISIBILITY_OVER.of(DEADLINE));
        assert!(VISIBILITY_OVER.of(DEADLINE) < VISIBILITY_END.of(DEADLINE));
        assert!(after(&[TURN; 8]) <= SECOND_LOOKUP.of(DEADLINE), "every thread is at work before it");
        assert!(GRACE.of(DEADLINE) <= DROP_AFTER.of(DEADLINE), "a check is dropped after its grace");
    }
}

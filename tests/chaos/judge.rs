//! The judge: an answer of the sidecar's against the operations of independent writers. Pure, no I/O.
//!
//! The writers' attempts show each node of an alias as alive, dead or neither in the window of an answer, which is from
//! the request's start, less `max_age`, to the answer's end. The dead nodes bound the status from below, and the nodes
//! that are not alive bound it from above.

use std::time::Duration;

use crate::writers::LIMIT;

/// A time since the beginning of the run.
pub(crate) type Time = Duration;

/// For how long a verdict may be shared: the product's default.
pub(crate) const MAX_AGE: Duration = Duration::from_millis(100);

/// The longest time between two attempts that still show a node without a break.
const GAP: Duration = Duration::from_millis(300);

/// The time after an answer within which no attempt may succeed at a dead node, on an idle machine: an attempt that was
/// made right after the answer would have succeeded by then.
pub(crate) const ROOM: Duration = Duration::from_millis(400);

/// A slower attempt does not show that a node is alive: the deadline of a check has to hold several of them.
const QUICK: Duration = Duration::from_millis(250);

/// The status of an alias, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Up,
    Degraded,
    Down,
}

/// The statuses that an answer may mean: a format such as gRPC's has one word for two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) best: Status,
    pub(crate) worst: Status,
}

impl Said {
    pub(crate) const UP: Self = Self::just(Status::Up);
    pub(crate) const DEGRADED: Self = Self::just(Status::Degraded);
    pub(crate) const DOWN: Self = Self::just(Status::Down);
    pub(crate) const NOT_DOWN: Self = Self { best: Status::Up, worst: Status::Degraded };

    const fn just(status: Status) -> Self {
        Self { best: status, worst: status }
    }
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Worked,
    Failed,
    /// It shows neither that the node works nor that it does not.
    Unclear,
}

/// A value that was written and read back, or was not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) start: Time,
    pub(crate) end: Time,
    pub(crate) outcome: Outcome,
}

impl Attempt {
    fn took(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// The record of a node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The best status of its alias while the node is dead.
    pub(crate) weight: Status,
    /// The attempts of each writer, by their start.
    pub(crate) writers: Vec<Vec<Attempt>>,
    /// The times at which its server had been killed. No verdict from before such a time counts after it, because the
    /// end of a connection invalidates the verdict.
    pub(crate) kills: Vec<Time>,
}

/// The window of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) asked: Time,
    pub(crate) answered: Time,
    /// What the machine adds to a short request at this time. An attempt has several steps.
    pub(crate) lag: Duration,
}

/// A time in which writers cannot show that all is well, and the worst status that may be right then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsettled {
    pub(crate) begin: Time,
    pub(crate) end: Time,
    pub(crate) worst: Status,
}

/// The statuses that are right in a window, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) best: Status,
    pub(crate) worst: Status,
}

/// The judgment of an answer about one alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// Better than the cache was.
    FalseUp,
    /// Worse than the cache was.
    FalseDown,
    /// More than one status was right.
    Undecided,
}

impl Bounds {
    /// The bounds of an alias with these nodes.
    pub(crate) fn of(nodes: &[Node], unsettled: &[Unsettled], window: Window) -> Self {
        let Window { asked, answered, .. } = window;
        let from = asked.saturating_sub(MAX_AGE);
        let met =
            unsettled.iter().filter(|unsettled| unsettled.begin <= answered && unsettled.end + GAP >= from);
        let unseen = met.map(|unsettled| unsettled.worst).max().unwrap_or(Status::Up);
        let worst = |weights: &mut dyn Iterator<Item = &Node>| {
            weights.map(|node| node.weight).max().unwrap_or(Status::Up)
        };
        Self {
            best: worst(&mut nodes.iter().filter(|node| node.is_dead(window))),
            worst: worst(
                &mut nodes.iter().filter(|node| unseen == Status::Down || !node.is_alive(from, answered)),
            )
            .max(unseen.min(Status::Degraded)),
        }
    }

    /// The bounds of all aliases together.
    pub(crate) fn together(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self { best: Status::Up, worst: Status::Up }, |sum, one| Self {
            best: sum.best.max(one.best),
            worst: sum.worst.max(one.worst),
        })
    }

    pub(crate) fn judge(self, said: Said) -> Verdict {
        if said.worst < self.best {
            Verdict::FalseUp
        } else if said.best > self.worst {
            Verdict::FalseDown
        } else if self.best == self.worst {
            Verdict::Right
        } else {
            Verdict::Undecided
        }
    }
}

impl Node {
    /// `true` if nothing worked in the window: an attempt that did not succeed began before it, others followed without a
    /// break until after it, and none succeeded meanwhile.
    fn is_dead(&self, Window { asked, answered, lag }: Window) -> bool {
        let until = answered + ROOM + 2 * lag;
        let kill = self.kills.iter().copied().filter(|&kill| kill <= asked).max();
        // A check may have worked while an attempt from before it was held up, and then failed.
        let from = asked.saturating_sub(MAX_AGE + 2 * lag).max(kill.unwrap_or_default());
        let within = self.overlapping(from.saturating_sub(2 * GAP), until);
        let succeeded =
            within.iter().filter(|attempt| attempt.outcome != Outcome::Failed && attempt.end <= until);
        let last_success = succeeded.map(|attempt| attempt.end).max();
        if last_success.is_some_and(|last| last >= from) {
            return false;
        }
        let mut tried: Vec<Time> = within.iter().map(|attempt| attempt.start).chain(kill).collect();
        tried.retain(|&start| last_success.is_none_or(|last| start > last));
        tried.sort_unstable();
        covers(&tried, from, answered)
    }

    /// `true` if everything worked in the window and right before and after it, soon, for each writer, without a break.
    fn is_alive(&self, from: Time, answered: Time) -> bool {
        let before = from.saturating_sub(GAP);
        !self.writers.is_empty()
            && self.writers.iter().all(|writer| {
                let within = overlapping(writer, before, answered + GAP);
                let works = |attempt: &Attempt| attempt.outcome == Outcome::Worked && attempt.took() <= QUICK;
                let starts: Vec<Time> = within.iter().map(|attempt| attempt.start).collect();
                within.iter().all(works) && covers(&starts, from, answered)
            })
    }

    fn overlapping(&self, from: Time, to: Time) -> Vec<Attempt> {
        self.writers.iter().flat_map(|writer| overlapping(writer, from, to)).collect()
    }
}

/// `true` if one of these times is at or before `from`, one at or after `to`, and no break is longer than [`GAP`].
fn covers(times: &[Time], from: Time, to: Time) -> bool {
    let begin = times.partition_point(|&time| time <= from);
    let Some(mut last) = begin.checked_sub(1).map(|before| times[before]).filter(|&last| last + GAP >= from)
    else {
        return false;
    };
    for &time in &times[begin..] {
        if last >= to || time > last + GAP {
            break;
        }
        last = time;
    }
    last >= to
}

/// The attempts of a writer that began before `to` and ended after `from`.
fn overlapping(attempts: &[Attempt], from: Time, to: Time) -> Vec<Attempt> {
    // No attempt takes longer than its limit, and the machine's time, so that the search may begin there.
    let first = attempts.partition_point(|attempt| attempt.start + 2 * LIMIT < from);
    let begun = attempts[first..].iter().take_while(|attempt| attempt.start <= to);
    begun.filter(|attempt| attempt.end >= from).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: u64 = 5_000;
    const ANSWERED: u64 = 5_010;

    fn ms(time: u64) -> Time {
        Duration::from_millis(time)
    }

    fn window() -> Window {
        Window { asked: ms(ASKED), answered: ms(ANSWERED), lag: Duration::ZERO }
    }

    /// Two writers that try every 20 ms for ten seconds: `outcome` gives the end and the result of each attempt.
    fn node(outcome: impl Fn(u64) -> (u64, Outcome)) -> Node {
        let writer = |offset| {
            let starts = (offset..10_000).step_by(20);
            let attempt = |start| {
                let (end, outcome) = outcome(start);
                Attempt { start: ms(start), end: ms(end), outcome }
            };
            starts.map(attempt).collect()
        };
        Node { weight: Status::Down, writers: vec![writer(0), writer(7)], kills: Vec::new() }
    }

    /// Dead from `begin` to `end`, refusing at once.
    fn refusing(begin: u64, end: u64) -> Node {
        node(|start| {
            (start + 1, if (begin..end).contains(&start) { Outcome::Failed } else { Outcome::Worked })
        })
    }

    /// Silent from `begin` to `end`: attempts fail after a second, or succeed at the end of the silence.
    fn silent(begin: u64, end: u64) -> Node {
        node(|start| match start {
            _ if !(begin..end).contains(&start) => (start + 1, Outcome::Worked),
            _ if start + 1_000 < end => (start + 1_000, Outcome::Failed),
            _ => (end, Outcome::Worked),
        })
    }

    fn bounds(node: &Node) -> (Status, Status) {
        let bounds = Bounds::of(std::slice::from_ref(node), &[], window());
        (bounds.best, bounds.worst)
    }

    fn judged(node: &Node, said: Said) -> Verdict {
        Bounds::of(std::slice::from_ref(node), &[], window()).judge(said)
    }

    const ALIVE: (Status, Status) = (Status::Up, Status::Up);
    const DEAD: (Status, Status) = (Status::Down, Status::Down);
    const EITHER: (Status, Status) = (Status::Up, Status::Down);

    #[test]
    fn up_while_everything_works_is_right_and_down_or_degraded_is_false() {
        let node = refusing(0, 0);
        assert_eq!(bounds(&node), ALIVE);
        assert_eq!(judged(&node, Said::UP), Verdict::Right);
        assert_eq!(judged(&node, Said::NOT_DOWN), Verdict::Right);
        assert_eq!(judged(&node, Said::DEGRADED), Verdict::FalseDown);
        assert_eq!(judged(&node, Said::DOWN), Verdict::FalseDown);
    }

    #[test]
    fn up_or_degraded_while_nothing_works_is_false_and_down_is_right() {
        for node in [refusing(4_800, 6_000), silent(4_800, 6_000), refusing(0, 10_000), silent(0, 10_000)] {
            assert_eq!(bounds(&node), DEAD);
            assert_eq!(judged(&node, Said::UP), Verdict::FalseUp);
            assert_eq!(judged(&node, Said::DEGRADED), Verdict::FalseUp);
            assert_eq!(judged(&node, Said::NOT_DOWN), Verdict::FalseUp);
            assert_eq!(judged(&node, Said::DOWN), Verdict::Right);
        }
    }

    #[test]
    fn a_fault_that_begins_or_ends_in_the_window_leaves_both_open() {
        for (begin, end) in [(4_910, 6_000), (5_005, 6_000), (4_000, 4_950), (4_000, 5_005)] {
            assert_eq!(bounds(&refusing(begin, end)), EITHER, "{begin} to {end}");
            assert_eq!(bounds(&silent(begin, end)), EITHER, "{begin} to {end}");
        }
    }

    #[test]
    fn a_fault_that_ends_soon_after_the_answer_leaves_both_open() {
        assert_eq!(bounds(&refusing(4_000, 5_200)), EITHER);
        assert_eq!(bounds(&silent(4_000, 5_200)), EITHER);
    }

    #[test]
    fn a_fault_right_after_the_last_attempt_saves_down() {
        assert_eq!(bounds(&refusing(5_005, 6_000)), EITHER);
        assert_eq!(bounds(&refusing(5_012, 6_000)), EITHER, "it may have begun before the answer");
        assert_eq!(bounds(&refusing(5_400, 6_000)), ALIVE);
    }

    #[test]
    fn a_machine_that_lags_needs_a_fault_that_goes_on_for_longer() {
        let window = Window { lag: ms(100), ..window() };
        let best = |end| Bounds::of(&[refusing(4_000, end)], &[], window).best;
        assert_eq!((best(5_500), best(5_700)), (Status::Up, Status::Down));
        let best = |begin| Bounds::of(&[refusing(begin, 7_000)], &[], window).best;
        assert_eq!((best(4_800), best(4_600)), (Status::Up, Status::Down));
    }

    #[test]
    fn after_a_kill_the_verdict_from_before_is_false_at_once() {
        let mut node = refusing(4_990, 6_000);
        assert_eq!(bounds(&node), EITHER, "the fault is younger than a verdict may be");
        node.kills = vec![ms(4_992)];
        assert_eq!(bounds(&node), DEAD);
        node.kills = vec![ms(5_001)];
        assert_eq!(bounds(&node), EITHER, "it was killed after the request");
    }

    #[test]
    fn a_single_success_in_the_window_saves_up() {
        let mut node = refusing(4_000, 6_000);
        let success = Attempt { start: ms(5_002), end: ms(5_004), outcome: Outcome::Worked };
        node.writers.push(vec![success]);
        assert_eq!(bounds(&node), EITHER);
        node.writers[2] = vec![Attempt { outcome: Outcome::Unclear, ..success }];
        assert_eq!(bounds(&node), EITHER, "an attempt that shows nothing is no failure");
    }

    #[test]
    fn a_single_failure_in_the_window_saves_down() {
        let mut node = refusing(0, 0);
        node.writers[1].retain(|attempt| attempt.start != ms(4_987));
        assert_eq!(bounds(&node), ALIVE);
        for outcome in [Outcome::Failed, Outcome::Unclear] {
            node.writers[1].push(Attempt { start: ms(4_987), end: ms(4_988), outcome });
            node.writers[1].sort_by_key(|attempt| attempt.start);
            assert_eq!(bounds(&node), EITHER);
            node.writers[1].retain(|attempt| attempt.start != ms(4_987));
        }
    }

    #[test]
    fn a_break_of_the_writers_decides_nothing() {
        for mut node in [refusing(0, 0), refusing(0, 10_000)] {
            let in_break = |attempt: &Attempt| (ms(4_650)..ms(5_040)).contains(&attempt.start);
            node.writers.iter_mut().for_each(|writer| writer.retain(|attempt| !in_break(attempt)));
            assert_eq!(bounds(&node), EITHER);
        }
        let never_tried = Node { writers: vec![Vec::new()], ..refusing(0, 0) };
        assert_eq!(bounds(&never_tried), EITHER);
    }

    #[test]
    fn a_slow_node_may_be_up_or_down() {
        assert_eq!(bounds(&node(|start| (start + 400, Outcome::Worked))), EITHER);
    }

    #[test]
    fn an_unsettled_time_hides_life_and_not_death() {
        let bounds = |node: Node, worst| {
            let unsettled = Unsettled { begin: ms(4_000), end: ms(4_900), worst };
            Bounds::of(&[node], &[unsettled], window())
        };
        assert_eq!(bounds(refusing(0, 0), Status::Down).judge(Said::DOWN), Verdict::Undecided);
        assert_eq!(bounds(refusing(4_000, 6_000), Status::Down).judge(Said::UP), Verdict::FalseUp);
        assert_eq!(bounds(refusing(0, 0), Status::Degraded).judge(Said::DEGRADED), Verdict::Undecided);
        assert_eq!(bounds(refusing(0, 0), Status::Degraded).judge(Said::DOWN), Verdict::FalseDown);
    }

    #[test]
    fn the_worst_node_counts_and_a_dead_replica_is_degraded() {
        let replica = |node: Node| Node { weight: Status::Degraded, ..node };
        let alias = |nodes: [Node; 2]| Bounds::of(&nodes, &[], window());
        let lost = alias([refusing(0, 0), replica(refusing(4_000, 6_000))]);
        assert_eq!(
            [Said::UP, Said::DEGRADED, Said::DOWN].map(|said| lost.judge(said)),
            [Verdict::FalseUp, Verdict::Right, Verdict::FalseDown]
        );
        let one_of_two = alias([refusing(0, 0), refusing(4_000, 6_000)]);
        assert_eq!(one_of_two.judge(Said::UP), Verdict::FalseUp);
        let slow = alias([refusing(0, 0), replica(node(|start| (start + 400, Outcome::Worked)))]);
        assert_eq!(
            [Said::UP, Said::DEGRADED, Said::DOWN].map(|said| slow.judge(said)),
            [Verdict::Undecided, Verdict::Undecided, Verdict::FalseDown]
        );
    }
}

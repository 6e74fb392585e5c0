//! [`Consensus`]: compares what the nodes of an alias say of each other, over several checks.
//!
//! A comparison asks each node once, one after the other. The first answer is the reference, and of the others only the
//! differences from it are kept. A difference that most nodes have is one of the reference in the end. A node is named if
//! it differs in the same way in two comparisons in a row, so long after each other that it is no news on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::mutex::Mutex;
use crate::outcome::{Cause, Finding, Status};
use crate::progress::{Depth, Progress};

/// What a node says of the others.
pub(super) trait Account: Default {
    fn differences(&self, reference: &Self) -> Vec<Difference>;
}

/// A difference between a node and the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    /// The subject, such as `slots 0-99`.
    pub(super) about: String,
    pub(super) says: String,
    pub(super) others_say: String,
    /// `true` if the node has the greater epoch, which decides if as many nodes say one as the other.
    pub(super) is_newer: bool,
    /// `true` if nodes learn of the subject by and by.
    pub(super) by_gossip: bool,
}

/// The time after which a node must have heard of a change that is told to all at once, such as of a slot's owner.
const NEWS: Duration = Duration::from_secs(1);

/// The same for the rest. A node of a cluster pings each other one at least every half of its `cluster-node-timeout`, 15 s by
/// default; a Sentinel greets every 2 s.
const GOSSIP: Duration = Duration::from_secs(10);

/// The most differences that are kept of a node, and of all nodes.
const MOST_OF_ONE: usize = 16;
const MOST: usize = 256;

/// The comparison in progress, and the nodes that earlier ones have named.
#[derive(Default)]
pub(super) struct Consensus<A> {
    comparison: tokio::sync::Mutex<Comparison<A>>,
    named: Mutex<Vec<Finding>>,
}

#[derive(Default)]
struct Comparison<A> {
    reference: Option<A>,
    /// The nodes that need not be asked any more.
    done: BTreeSet<Arc<str>>,
    /// The nodes that have answered, beginning with the reference.
    answered: Vec<Arc<str>>,
    /// Each difference from the reference, with the places of the nodes that have it.
    found: BTreeMap<Difference, BTreeSet<usize>>,
    /// The nodes that differed in the comparison before, and since when they do.
    suspects: BTreeMap<(Arc<str>, Difference), Instant>,
    /// The node to begin with, since it agrees with most.
    first: Option<Arc<str>>,
}

impl<A: Account> Consensus<A> {
    /// Goes on with the comparison for `limit`, at most to its end, and adds a finding for each node that is named. A node for
    /// which `ask` has no answer says nothing. `kind` is the word for a node.
    pub(super) async fn compare<F: Future<Output = Option<A>>>(
        &self,
        (kind, nodes): (&str, &[Arc<str>]),
        limit: Duration,
        progress: &Progress,
        ask: impl Fn(usize) -> F,
    ) {
        // If the deadline strikes meanwhile, the earlier result stands.
        progress.replace(Cause::SplitView, &self.named.lock());
        if progress.depth() == Depth::Glance {
            return;
        }
        // A check that overlaps with another one leaves the comparison to it.
        let Ok(mut comparison) = self.comparison.try_lock() else { return };
        if comparison.go_on(nodes, Instant::now() + limit, ask).await {
            let named = comparison.conclude(kind);
            progress.replace(Cause::SplitView, &named);
            *self.named.lock() = named;
        }
    }
}

impl<A: Account> Comparison<A> {
    /// Asks the nodes that are left until this time. `true` if none is left.
    async fn go_on<F: Future<Output = Option<A>>>(
        &mut self,
        nodes: &[Arc<str>],
        until: Instant,
        ask: impl Fn(usize) -> F,
    ) -> bool {
        let mut left: Vec<_> = (0..nodes.len()).filter(|&place| !self.done.contains(&nodes[place])).collect();
        left.sort_by_key(|&place| self.first.as_ref() != Some(&nodes[place]));
        for (number, place) in left.into_iter().enumerate() {
            // A node that hangs gets all the time of one check.
            if number > 0 && Instant::now() >= until {
                return false;
            }
            match timeout_at(until, ask(place)).await {
                Ok(Some(account)) => self.take(&nodes[place], account),
                Err(_) if number > 0 => return false,
                Ok(None) | Err(_) => {}
            }
            self.done.insert(nodes[place].clone());
        }
        true
    }

    fn take(&mut self, node: &Arc<str>, account: A) {
        if let Some(reference) = &self.reference {
            for difference in account.differences(reference).into_iter().take(MOST_OF_ONE) {
                if self.found.len() < MOST || self.found.contains_key(&difference) {
                    self.found.entry(difference).or_default().insert(self.answered.len());
                }
            }
        } else {
            self.reference = Some(account);
        }
        self.answered.push(node.clone());
    }

    /// Ends the comparison: the findings on the nodes that are named.
    fn conclude(&mut self, kind: &str) -> Vec<Finding> {
        let (now, Self { answered, found, suspects, mut first, .. }) = (Instant::now(), std::mem::take(self));
        let differing: BTreeSet<_> = found.values().flatten().copied().collect();
        let mut odd = Vec::new();
        for (mut difference, places) in found {
            let rest = answered.len() - places.len();
            let is_newer = std::mem::take(&mut difference.is_newer);
            if (places.len(), is_newer) > (rest, !is_newer) {
                first = places.first().map(|&place| answered[place].clone());
                // Those that differ in another way are judged by the next reference.
                let agree = (0..answered.len()).filter(|place| !differing.contains(place));
                odd.extend(agree.map(|place| (answered[place].clone(), difference.clone().reversed())));
            } else {
                odd.extend(places.iter().map(|&place| (answered[place].clone(), difference.clone())));
            }
        }
        let since = |suspect| {
            let since = suspects.get(&suspect).copied().unwrap_or(now);
            (suspect, since)
        };
        let suspects = odd.into_iter().take(MOST).map(since).collect();
        *self = Self { suspects, first, ..Self::default() };
        let mut named = BTreeMap::<_, Vec<_>>::new();
        for ((node, difference), since) in &self.suspects {
            let honest = if difference.by_gossip { GOSSIP } else { NEWS };
            if since.elapsed() >= honest {
                named.entry(node).or_default().push(difference.words());
            }
        }
        let finding = |(node, said): (_, Vec<_>)| {
            Finding::new(Status::Degraded, Cause::SplitView, &format!("{kind} {node}"), &said.join("; "))
        };
        named.into_iter().map(finding).collect()
    }
}

impl Difference {
    pub(super) fn words(&self) -> String {
        format!("{}: says {}, others say {}", self.about, self.says, self.others_say)
    }

    /// The same, seen from the other side.
    fn reversed(self) -> Self {
        Self { says: self.others_say, others_say: self.says, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::advance;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Needs};

    /// An account of one subject, with an epoch.
    #[derive(Clone, Copy, Default)]
    struct Says(&'static str, u64);

    impl Account for Says {
        fn differences(&self, reference: &Self) -> Vec<Difference> {
            let [says, others_say] = [self.0, reference.0].map(str::to_owned);
            let (about, is_newer) = ("slots 0-99".to_owned(), self.1 > reference.1);
            let difference = Difference { about, says, others_say, is_newer, by_gossip: false };
            (self.0 != reference.0).then_some(difference).into_iter().collect()
        }
    }

    fn names(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|place| format!("{place}").into()).collect()
    }

    const LIMIT: Duration = Duration::from_millis(90);

    /// The findings of a check in which the nodes say this.
    async fn found(consensus: &Consensus<Says>, said: &[Option<Says>]) -> Vec<String> {
        let progress = Progress::begin();
        consensus.compare(("node", &names(said.len())), LIMIT, &progress, |place| ready(said[place])).await;
        findings(&progress)
    }

    fn findings(progress: &Progress) -> Vec<String> {
        let alias = Alias::try_from("main").unwrap();
        let outcome = progress.outcome(alias, CheckKind::RoundTrip, Needs::default());
        outcome.findings().iter().map(ToString::to_string).collect()
    }

    /// The findings of the second comparison, a while after the first one, which has none.
    async fn found_at_last(said: &[Option<Says>]) -> Vec<String> {
        let consensus = Consensus::default();
        assert_eq!(found(&consensus, said).await, Vec::<String>::new());
        assert_eq!(found(&consensus, said).await, Vec::<String>::new(), "news may be on its way");
        advance(NEWS).await;
        found(&consensus, said).await
    }

    const A: Option<Says> = Some(Says("a", 1));
    const B: Option<Says> = Some(Says("b", 1));
    const C: Option<Says> = Some(Says("c", 1));

    #[tokio::test(start_paused = true)]
    async fn a_node_that_contradicts_most_is_named_wherever_it_stands() {
        for odd in 0..4 {
            let said: Vec<_> = (0..4).map(|place| if place == odd { B } else { A }).collect();
            let named = format!("node {odd}: slots 0-99: says b, others say a");
            assert_eq!(found_at_last(&said).await, [named]);
        }
        let two = ["node 0: slots 0-99: says a, others say b", "node 1: slots 0-99: says a, others say b"];
        assert_eq!(found_at_last(&[A, A, B, B, B]).await, two);
        assert_eq!(found_at_last(&[A, None, A]).await, Vec::<String>::new());
        assert_eq!(found_at_last(&[None, None]).await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn of_as_many_nodes_on_both_sides_the_greater_epoch_is_right() {
        let newer = Some(Says("b", 2));
        assert_eq!(found_at_last(&[A, newer]).await, ["node 0: slots 0-99: says a, others say b"]);
        assert_eq!(found_at_last(&[newer, A]).await, ["node 1: slots 0-99: says a, others say b"]);
        assert_eq!(found_at_last(&[A, B]).await, ["node 1: slots 0-99: says b, others say a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_opinion_is_named_by_a_reference_that_agrees_with_most() {
        let consensus = Consensus::default();
        let said = [A, B, B, B, C];
        found(&consensus, &said).await;
        advance(NEWS).await;
        assert_eq!(found(&consensus, &said).await, ["node 0: slots 0-99: says a, others say b"]);
        advance(NEWS).await;
        let third = "node 4: slots 0-99: says c, others say b";
        assert_eq!(found(&consensus, &said).await, ["node 0: slots 0-99: says a, others say b", third]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_difference_that_changes_is_news_and_one_that_ends_is_gone_at_once() {
        let consensus = Consensus::default();
        for said in [B, C, B, C] {
            assert_eq!(found(&consensus, &[A, A, said]).await, Vec::<String>::new());
            advance(NEWS).await;
        }
        assert_eq!(found(&consensus, &[A, A, C]).await.len(), 1);
        assert_eq!(found(&consensus, &[A, A, A]).await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_comparison_goes_on_in_the_next_check_and_a_node_that_hangs_is_passed_over() {
        let (consensus, nodes) = (Consensus::default(), names(4));
        let check = async || {
            let (asked, progress, began) = (Mutex::default(), Progress::begin(), Instant::now());
            let ask = |place: usize| {
                let asked: &Mutex<Vec<usize>> = &asked;
                asked.lock().push(place);
                async move {
                    match place {
                        1 => pending().await,
                        3 => B,
                        _ => A,
                    }
                }
            };
            consensus.compare(("node", &nodes), LIMIT, &progress, ask).await;
            assert!(began.elapsed() <= LIMIT);
            let asked = asked.lock().clone();
            (asked, findings(&progress).len())
        };
        assert_eq!(check().await, (vec![0, 1], 0));
        assert_eq!(check().await, (vec![1], 0), "it has all the time once");
        assert_eq!(check().await, (vec![2, 3], 0));
        advance(NEWS).await;
        for _ in 0..2 {
            assert_eq!(check().await.1, 0);
        }
        assert_eq!(check().await, (vec![2, 3], 1));
        assert_eq!(check().await, (vec![0, 1], 1), "it stays named while the next comparison runs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_glance_reports_the_nodes_that_are_named_and_asks_none() {
        let consensus = Consensus::default();
        for _ in 0..2 {
            found(&consensus, &[A, A, B]).await;
            advance(NEWS).await;
        }
        let glance = Progress::begin_glance();
        let ask = |_: usize| -> std::future::Ready<Option<Says>> { panic!("a glance asks no node") };
        consensus.compare(("node", &names(3)), LIMIT, &glance, ask).await;
        assert_eq!(findings(&glance), ["node 2: slots 0-99: says b, others say a"]);
    }
}

//! [`Progress`]: which phase a running check is in, how long each took, and what is known so far.
//!
//! A check writes down what it does as it goes. When its deadline strikes it is simply dropped, and what
//! stands here is its outcome: a node without a verdict timed out in the phase that it was in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::alias::Alias;
use crate::outcome::{Cause, Fault, NodeOutcome, Outcome, Phase, Phases};

/// What is known of a check of one alias.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    began_at: SystemTime,
    nodes: Vec<NodeProgress>,
}

/// What is known of one node in it.
#[derive(Debug)]
pub struct NodeProgress(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Option<Phase>,
    entered: Instant,
    phases: Phases,
    verdict: Option<(Result<(), Fault>, Instant)>,
}

impl Progress {
    /// The progress of a check of `nodes` nodes, which begins now.
    #[must_use]
    pub fn begin(nodes: usize) -> Self {
        let began = Instant::now();
        Self {
            began,
            began_at: SystemTime::now(),
            nodes: (0..nodes).map(|_| NodeProgress::begin(began)).collect(),
        }
    }

    /// The progress of each node, in the configured order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProgress] {
        &self.nodes
    }

    /// The outcome, from what is known by now. A node without a verdict has timed out.
    #[must_use]
    pub fn outcome<'a>(&self, alias: Alias, names: impl IntoIterator<Item = &'a Arc<str>>) -> Outcome {
        let now = Instant::now();
        let mut end = self.began;
        let nodes = self
            .nodes
            .iter()
            .zip(names)
            .map(|(node, name)| {
                let (outcome, verdict_at) = node.outcome(name, now, self.began);
                end = end.max(verdict_at);
                outcome
            })
            .collect();
        Outcome { alias, began: self.began, began_at: self.began_at, elapsed: end - self.began, nodes }
    }
}

impl NodeProgress {
    fn begin(now: Instant) -> Self {
        let state = State { phase: None, entered: now, phases: Phases::default(), verdict: None };
        Self(Mutex::new(state))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the phase it was in and enters `phase`.
    pub fn enter(&self, phase: Phase) {
        self.state().enter(phase, Instant::now());
    }

    /// The phase it is in; before it enters one, the first.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state().phase()
    }

    /// A fault met in the phase it is in.
    #[must_use]
    pub fn fault(&self, cause: Cause, said: &str) -> Fault {
        Fault::new(cause, self.phase(), said)
    }

    /// Writes down the verdict; a later one, which says more, replaces it but not its time.
    pub fn conclude(&self, verdict: Result<(), Fault>) {
        let mut state = self.state();
        let now = Instant::now();
        if let Some((earlier, _)) = &mut state.verdict {
            *earlier = verdict;
        } else {
            state.leave(now);
            state.verdict = Some((verdict, now));
        }
    }

    fn outcome(&self, name: &Arc<str>, now: Instant, began: Instant) -> (NodeOutcome, Instant) {
        let mut state = self.state();
        if state.verdict.is_none() {
            state.leave(now);
            let waited = format!("no answer after {} ms", (now - began).as_millis());
            let fault = Fault::new(Cause::TimedOut, state.phase(), &waited);
            state.verdict = Some((Err(fault), now));
        }
        let (fault, at) = match &state.verdict {
            Some((verdict, at)) => (verdict.clone().err(), *at),
            None => (None, now),
        };
        (NodeOutcome { node: name.clone(), phases: state.phases, fault }, at)
    }
}

impl State {
    fn phase(&self) -> Phase {
        self.phase.unwrap_or(Phase::Resolve)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        // What is done after the verdict, to say more about it, is no part of the check's time.
        if self.verdict.is_none() {
            self.leave(now);
            self.phase = Some(phase);
        }
    }

    fn leave(&mut self, now: Instant) {
        if let Some(phase) = self.phase {
            self.phases.add(phase, now - self.entered);
        }
        self.entered = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn outcome(progress: &Progress) -> Outcome {
        progress.outcome(Alias::try_from("main").unwrap(), &["one".into(), "two".into()])
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_without_a_verdict_timed_out_in_the_phase_that_it_was_in() {
        let progress = Progress::begin(2);
        let [one, two] = progress.nodes() else { panic!("two nodes") };
        one.enter(Phase::Connect);
        two.enter(Phase::Write);
        tokio::time::advance(ms(10)).await;
        one.enter(Phase::Write);
        tokio::time::advance(ms(5)).await;
        one.enter(Phase::Read);
        tokio::time::advance(ms(1)).await;
        one.conclude(Ok(()));
        tokio::time::advance(ms(34)).await;
        let outcome = outcome(&progress);
        let times = |node: usize| outcome.nodes[node].phases.iter().collect::<Vec<_>>();
        assert_eq!(times(0), [(Phase::Connect, ms(10)), (Phase::Write, ms(5)), (Phase::Read, ms(1))]);
        assert_eq!(outcome.nodes[0].fault, None);
        assert_eq!(times(1), [(Phase::Write, ms(50))]);
        let fault = outcome.nodes[1].fault.as_ref().unwrap();
        assert_eq!(
            (fault.cause, fault.phase, &*fault.said),
            (Cause::TimedOut, Phase::Write, "no answer after 50 ms")
        );
        assert_eq!(outcome.elapsed, ms(50));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_found_after_the_verdict_says_more_and_takes_no_time() {
        let progress = Progress::begin(2);
        for node in progress.nodes() {
            node.enter(Phase::Read);
            node.conclude(Err(node.fault(Cause::Masked, "")));
        }
        tokio::time::advance(ms(20)).await;
        let [one, _] = progress.nodes() else { panic!("two nodes") };
        one.enter(Phase::Write);
        one.conclude(Err(Fault::new(Cause::Stale, Phase::Read, "")));
        let outcome = outcome(&progress);
        assert_eq!(outcome.cause(), Some(Cause::Stale));
        assert_eq!(outcome.elapsed, ms(0));
        assert_eq!(outcome.nodes[0].phases.iter().collect::<Vec<_>>(), [(Phase::Read, ms(0))]);
    }
}

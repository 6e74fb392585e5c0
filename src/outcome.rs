//! What a check came to: [`Cause`], [`Fault`], [`Finding`], [`Outcome`], [`Status`], [`Report`]. Pure, no I/O.

mod cause;
mod figure;
mod finding;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::alias::Alias;

pub use cause::Cause;
pub use figure::Figure;
pub use finding::{Finding, Measure};

/// What is done to an alias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A canary is written to each server and read back.
    #[default]
    RoundTrip,
    /// Whether every way into the cache shows what was written and deleted through the alias.
    Visibility,
    /// Whether queues are drained.
    Queue,
    /// Whether the clocks of a partitioned log are in step.
    Clock,
    /// Whether the cache is of use.
    Efficiency,
}

impl CheckKind {
    /// The stable name, as in the configuration, JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round_trip",
            Self::Visibility => "visibility",
            Self::Queue => "queue",
            Self::Clock => "clock",
            Self::Efficiency => "efficiency",
        }
    }

    /// What this check of `alias` is called where it is plain that these are caches: `main`, or `main.queue`.
    #[must_use]
    pub fn entry(self, alias: &Alias) -> String {
        match self {
            Self::RoundTrip => alias.to_string(),
            Self::Visibility | Self::Queue | Self::Clock | Self::Efficiency => format!("{alias}.{self}"),
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How an alias, or everything that was asked for, is. The worst wins, and what is skipped counts
/// for nothing, so the order of the variants is the order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing was checked: every alias asked for is of a kind that is not checked.
    Skipped,
    /// Every canary was read back.
    Up,
    /// It works, but less well than was asked for.
    Degraded,
    /// An application would meet the fault.
    Down,
}

impl Status {
    /// The status in capitals, as Djblets and Spring Boot's actuator write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "SKIPPED",
            Self::Up => "UP",
            Self::Degraded => "DEGRADED",
            Self::Down => "DOWN",
        }
    }

    /// The status as a word of a sentence, as the page and the labels of metrics have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The steps of a round trip, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A name is turned into addresses.
    Resolve,
    /// A transport connection is made.
    Connect,
    /// TLS is agreed on.
    Tls,
    /// The connection is made ready: credentials are given, the database is chosen, and the dialect found
    /// out.
    Auth,
    /// The canary is written and the answer awaited.
    Write,
    /// The canary is read back.
    Read,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [Self::Resolve, Self::Connect, Self::Tls, Self::Auth, Self::Write, Self::Read];

    /// The stable name, as in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How long each phase took, in microseconds; a phase that was not entered has no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases([u32; Phase::ALL.len()]);

impl Phases {
    /// Stands for a phase that was not entered. No check takes so long: it is more than an hour.
    const NOT_ENTERED: u32 = u32::MAX;

    /// The time that `phase` took, if it was entered.
    #[must_use]
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        match self.0[phase as usize] {
            Self::NOT_ENTERED => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    /// Adds `time` to what `phase` took so far.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        let time = self.get(phase).unwrap_or_default() + time;
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.0[phase as usize] = micros.min(Self::NOT_ENTERED - 1);
    }

    /// The phases that were entered, in order, with their times.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self([Self::NOT_ENTERED; Phase::ALL.len()])
    }
}

/// What went wrong with one node: the cause, the phase it was met in, and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Why, from the closed list.
    pub cause: Cause,
    /// The phase in which it was met.
    pub phase: Phase,
    /// The error's text or the server's words, one line of printable characters, bounded. May hold
    /// addresses, so it is shown only to callers who may see details.
    pub said: Box<str>,
    /// Whether it is a lack of the sidecar's own, which says nothing of the cache.
    pub is_own: bool,
}

/// What somebody said, as one line of bounded length.
pub(crate) fn printable(said: &str) -> Box<str> {
    /// The most characters of it that are kept.
    const MAX_SAID: usize = 240;
    let said = said.trim().chars().take(MAX_SAID);
    said.map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

impl Fault {
    /// A fault with the words that go with it; a server's words may hold anything, so they are cut and
    /// their control characters replaced.
    #[must_use]
    pub fn new(cause: Cause, phase: Phase, said: &str) -> Self {
        Self { cause, phase, said: printable(said), is_own: false }
    }

    /// The same in other words.
    #[must_use]
    pub fn saying(&self, said: &str) -> Self {
        Self { said: printable(said), ..self.clone() }
    }

    /// The same, of a lack of the sidecar's own.
    #[must_use]
    pub(crate) fn of_our_own(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// One sentence that tells the operator where to look.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        const OWN: &str = "cache-canary itself lacks what it needs for the check, so nothing is known of the cache: its own words say what.";
        const NOT_DIALLED: &str = "The deadline passed before a server was dialled: check that name servers answer where the sidecar runs.";
        match (self.cause, self.phase) {
            _ if self.is_own => OWN,
            (Cause::TimedOut, Phase::Resolve) => NOT_DIALLED,
            (cause, _) => cause.hint(),
        }
    }

    /// The same, of so many of the canaries that were written in one round.
    #[must_use]
    pub(crate) fn of_several(self, lost: usize, canaries: usize) -> Self {
        Self { said: format!("{lost} of {canaries} canaries: {}", self.said).into(), ..self }
    }

    /// The same, of a server that answers this command all the same.
    #[must_use]
    pub(crate) fn although_it_answers(self, command: &str) -> Self {
        Self { said: format!("{} (answers {command}, does not hold data)", self.said).into(), ..self }
    }
}

impl fmt::Display for Fault {
    /// `timed_out in write`, or `read_only in write: READONLY You can't write against a read only replica.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.cause, self.phase)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

/// What a node is to its alias, and so what its fault means there. The order of the variants is the order in
/// which nodes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It takes writes: a server by itself, a primary, one of a ring.
    Server,
    /// It follows a primary.
    Replica,
    /// A Redis Sentinel, which tells where the primary is.
    Sentinel,
    /// A configuration endpoint, which tells which servers there are.
    Endpoint,
}

impl Role {
    /// The stable name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Replica => "replica",
            Self::Sentinel => "sentinel",
            Self::Endpoint => "endpoint",
        }
    }
}

/// How many of an alias' servers have to be up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Quorum {
    /// All of them: one that is down is the alias down.
    #[default]
    All,
    /// So many: with fewer the alias is down, with fewer than all it is degraded.
    AtLeast(u32),
}

/// What an alias needs of its nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of its servers.
    pub servers: Quorum,
    /// Whether a faulty replica is the alias down, and not degraded.
    pub every_replica: bool,
}

/// What one check of one node came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutcome {
    /// The node's address, as configured or as it was found, without credentials.
    pub node: Arc<str>,
    /// What it is to the alias.
    pub role: Role,
    /// How long each phase took.
    pub phases: Phases,
    /// What went wrong, if anything.
    pub fault: Option<Fault>,
    /// How long a replica took to show the primary's canary.
    pub lag: Option<Duration>,
}

impl NodeOutcome {
    /// The outcome of a server.
    #[must_use]
    pub fn server(node: &str, phases: Phases, fault: Option<Fault>) -> Self {
        Self { node: node.into(), role: Role::Server, phases, fault, lag: None }
    }

    /// Down with a fault, up without. What that means for the alias is said by [`Outcome::status`].
    #[must_use]
    pub fn status(&self) -> Status {
        if self.fault.is_some() { Status::Down } else { Status::Up }
    }
}

/// What one check of one alias came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The alias that was checked.
    pub alias: Alias,
    /// What was done to it.
    pub kind: CheckKind,
    /// When the check began, for deciding who may share it: a clock that is set back does not matter.
    pub began: Instant,
    /// When the check began, for people.
    pub began_at: SystemTime,
    /// How long the check took, from its beginning to its verdict.
    pub elapsed: Duration,
    /// How many connections it opened, to whomever it asked.
    pub connections: u32,
    /// Each node: the servers, then the replicas, then who tells where those are.
    pub nodes: Vec<NodeOutcome>,
    /// What is needed of them.
    pub needs: Needs,
    /// What there is beyond what the nodes did; boxed, since thousands of round trips have nothing.
    pub extra: Option<Box<OutcomeExtra>>,
}

/// What a check has come to beyond what its nodes did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutcomeExtra {
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// The figures that it was judged by.
    pub measures: Vec<Measure>,
    /// What was done step by step, if that was asked for.
    pub steps: Vec<Step>,
    /// Whose verdict it is, if it is another's.
    pub reused: Option<Reused>,
}

/// A verdict that another sidecar came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reused {
    /// Which one.
    pub from: Box<str>,
    /// How long before it was taken its check had begun.
    pub age: Duration,
}

/// One command of a check, for the person who asks what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The node that it was given to.
    pub node: Arc<str>,
    /// The command, without secrets.
    pub command: String,
    /// What a healthy answer is.
    pub expected: String,
    /// What came back.
    pub saw: String,
}

/// One thing that is wrong with an alias: the fault of a node, or a finding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Problem<'a> {
    /// A node did not do what it was asked.
    Fault(&'a NodeOutcome, &'a Fault),
    /// The servers answer, and what they say is not as it should be.
    Finding(&'a Finding),
}

impl Problem<'_> {
    /// Why.
    #[must_use]
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Fault(_, fault) => fault.cause,
            Self::Finding(finding) => finding.cause,
        }
    }

    /// One sentence that tells the operator where to look.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Fault(_, fault) => fault.hint(),
            Self::Finding(finding) => finding.cause.hint(),
        }
    }

    /// Where it was met, without what was said there: `at replica cache-2:6379 in read`, or `at key b:p:3`.
    #[must_use]
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Fault(node, fault) => {
                let role = match node.role {
                    Role::Server => String::new(),
                    role @ (Role::Replica | Role::Sentinel | Role::Endpoint) => format!("{} ", role.name()),
                };
                format!("at {role}{} in {}", node.node, fault.phase)
            }
            Self::Finding(finding) => format!("at {}", finding.about),
        }
    }
}

impl fmt::Display for Problem<'_> {
    /// Where it was met and what was said: `at mc-1:11211 in connect: Connection refused (os error 111)`, `at replica
    /// cache-2:6379 in read`, or `key b:p:3: 25000 entries, and from 20000 on it is down`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(_, Fault { said, .. }) if said.is_empty() => f.write_str(&self.place()),
            Self::Fault(_, Fault { said, .. }) => write!(f, "{}: {said}", self.place()),
            Self::Finding(finding) => finding.fmt(f),
        }
    }
}

impl Outcome {
    /// The outcome of a check that ended without one, which only a bug of this program's, or its end, can
    /// bring about.
    #[must_use]
    pub fn lost(alias: Alias, kind: CheckKind, began: Instant) -> Self {
        let fault =
            Fault::new(Cause::Unreachable, Phase::Resolve, "the check was given up inside cache-canary");
        let node = NodeOutcome::server("cache-canary", Phases::default(), Some(fault));
        let (began_at, elapsed, needs) = (SystemTime::now(), Duration::ZERO, Needs::default());
        Self::plain(alias, kind, (began, began_at), elapsed, vec![node], needs)
    }

    /// The outcome of a check that found nothing beyond what its nodes did.
    #[must_use]
    pub fn plain(
        alias: Alias,
        kind: CheckKind,
        (began, began_at): (Instant, SystemTime),
        elapsed: Duration,
        nodes: Vec<NodeOutcome>,
        needs: Needs,
    ) -> Self {
        Self { alias, kind, began, began_at, elapsed, connections: 0, nodes, needs, extra: None }
    }

    /// What was found beyond the nodes' faults, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.extra.as_ref().map_or(&[], |extra| &extra.findings)
    }

    /// The figures that it was judged by.
    #[must_use]
    pub fn measures(&self) -> &[Measure] {
        self.extra.as_ref().map_or(&[], |extra| &extra.measures)
    }

    /// What was done step by step, if that was asked for.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.extra.as_ref().map_or(&[], |extra| &extra.steps)
    }

    /// Whose verdict it is, if it is another's.
    #[must_use]
    pub fn reused(&self) -> Option<&Reused> {
        self.extra.as_ref().and_then(|extra| extra.reused.as_ref())
    }

    /// What the nodes that are not up, and what else was found, mean together.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.nodes.is_empty() {
            return Status::Skipped;
        }
        let found = self.findings().iter().map(|finding| finding.status).max();
        self.status_of_nodes().max(found.unwrap_or(Status::Up))
    }

    fn status_of_nodes(&self) -> Status {
        let mut status = Status::Up;
        let (up, all) = self.tally(Role::Server);
        if up < all {
            let enough = match self.needs.servers {
                Quorum::All => false,
                Quorum::AtLeast(least) => up >= least as usize,
            };
            status = status.max(if enough { Status::Degraded } else { Status::Down });
        }
        let (up, all) = self.tally(Role::Replica);
        if up < all {
            status = status.max(if self.needs.every_replica { Status::Down } else { Status::Degraded });
        }
        let (up, all) = self.tally(Role::Sentinel);
        if up < majority(all) {
            status = status.max(Status::Degraded);
        }
        let (up, all) = self.tally(Role::Endpoint);
        if up < all {
            status = status.max(Status::Degraded);
        }
        status
    }

    /// How many of the nodes of this role are up, and how many there are.
    #[must_use]
    pub(crate) fn tally(&self, role: Role) -> (usize, usize) {
        let of_role = || self.nodes.iter().filter(|node| node.role == role);
        (of_role().filter(|node| node.fault.is_none()).count(), of_role().count())
    }

    /// Where nodes are counted, by how many there are too few: `1 of 3 sentinels answers, and a failover needs
    /// 2`.
    #[must_use]
    pub(crate) fn shortfall(&self) -> Option<String> {
        let mut said = Vec::new();
        if let Quorum::AtLeast(least) = self.needs.servers
            && let (up, all) = self.tally(Role::Server)
            && up < all
        {
            said.push(format!("{up} of {all} servers up, and the quorum is {least}"));
        }
        let (up, all) = self.tally(Role::Sentinel);
        if up < majority(all) {
            said.push(format!("{up} of {all} sentinels up, and a failover needs {}", majority(all)));
        }
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// The name of this check in every representation: `cache.main`, or `cache.main.queue`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("cache.{}", self.entry())
    }

    /// The same where it is plain that these are caches: `main`, or `main.queue`.
    #[must_use]
    pub fn entry(&self) -> String {
        self.kind.entry(&self.alias)
    }

    /// What is wrong: the nodes that are not up, in the order in which they are listed, then what was found. There
    /// may be something although the alias is up: one sentinel of three.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem<'_>> {
        let faults = self.nodes.iter().filter_map(|node| Some(Problem::Fault(node, node.fault.as_ref()?)));
        faults.chain(self.findings().iter().map(Problem::Finding))
    }

    /// The cause that stands for an alias that is not up: that of the first node that is not, or of what was found
    /// if that is worse.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.problem().map(|problem| problem.cause())
    }

    /// The one of its problems whose cause that is.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<Problem<'_>> {
        let status = self.status();
        let by_nodes = self.status_of_nodes() == status;
        let stands = |problem: &Problem<'_>| match problem {
            Problem::Fault(..) => by_nodes,
            Problem::Finding(finding) => finding.status == status,
        };
        match status {
            Status::Skipped | Status::Up => None,
            Status::Degraded | Status::Down => self.problems().find(stands),
        }
    }
}

/// More than half, which is how many sentinels it takes to elect the one that fails over ("Redis Sentinel
/// documentation", Fundamental things to know).
pub(crate) fn majority(all: usize) -> usize {
    if all == 0 { 0 } else { all / 2 + 1 }
}

/// Why an alias is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// It lives in the application's own process, where no sidecar can look.
    LocalMemory,
    /// It forwards to another alias, which is checked in its place.
    Forwards {
        /// The alias at the end of the chain.
        to: Alias,
    },
    /// A backend that is no cache server, such as Django's dummy, file and database backends.
    NoServer {
        /// What kind of backend it is, for people: `a database table`.
        kind: &'static str,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalMemory => write!(f, "lives in the application's memory"),
            Self::Forwards { to } => write!(f, "forwards to {to}"),
            Self::NoServer { kind } => write!(f, "is {kind}, not a cache server"),
        }
    }
}

/// An alias that was asked for and is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The alias.
    pub alias: Alias,
    /// Why.
    pub reason: SkipReason,
}

/// Every outcome of one request, in the configured order, and what was skipped.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was checked.
    pub outcomes: Vec<Arc<Outcome>>,
    /// What was not.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// The worst of the outcomes'.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcomes.iter().map(|outcome| outcome.status()).max().unwrap_or(Status::Skipped)
    }

    /// How old it is at `now`: how long ago the first of its checks began. Where nothing was checked, it has no age.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let began = self.outcomes.iter().map(|outcome| outcome.began).min()?;
        Some(now.saturating_duration_since(began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of an alias with so many nodes of each role, up and not.
    fn status(nodes: &[(Role, usize, usize)], needs: Needs) -> Status {
        outcome(nodes, needs).status()
    }

    fn outcome(nodes: &[(Role, usize, usize)], needs: Needs) -> Outcome {
        let node =
            |role, fault| NodeOutcome { role, ..NodeOutcome::server("node", Phases::default(), fault) };
        let fault = || Fault::new(Cause::Refused, Phase::Connect, "");
        let nodes = nodes.iter().flat_map(|&(role, up, down)| {
            let up = (0..up).map(move |_| node(role, None));
            up.chain((0..down).map(move |_| node(role, Some(fault()))))
        });
        let (alias, began_at) = (Alias::try_from("main").unwrap(), SystemTime::now());
        let (began, elapsed) = (Instant::now(), Duration::ZERO);
        Outcome::plain(alias, CheckKind::RoundTrip, (began, began_at), elapsed, nodes.collect(), needs)
    }

    #[test]
    fn the_hint_of_a_fault_blames_no_server_that_was_not_dialled() {
        let hint = |cause, phase| Fault::new(cause, phase, "").hint();
        assert_eq!(hint(Cause::TimedOut, Phase::Write), Cause::TimedOut.hint());
        assert_eq!(hint(Cause::Unresolvable, Phase::Resolve), Cause::Unresolvable.hint());
        assert!(hint(Cause::TimedOut, Phase::Resolve).contains("name servers"));
        let fault = Fault::new(Cause::Unreachable, Phase::Connect, "no files").of_our_own();
        assert!(fault.hint().starts_with("cache-canary itself lacks"));
        let reworded = fault.saying("no files at all").of_several(1, 2).although_it_answers("PING");
        assert!(reworded.is_own);
    }

    #[test]
    fn every_server_has_to_be_up_unless_there_is_a_quorum() {
        let quorum = Needs { servers: Quorum::AtLeast(2), ..Needs::default() };
        for (up, down, all, at_least_two) in [
            (3, 0, Status::Up, Status::Up),
            (2, 1, Status::Down, Status::Degraded),
            (1, 2, Status::Down, Status::Down),
            (0, 3, Status::Down, Status::Down),
        ] {
            assert_eq!(status(&[(Role::Server, up, down)], Needs::default()), all, "{up} {down}");
            assert_eq!(status(&[(Role::Server, up, down)], quorum), at_least_two, "{up} {down}");
        }
    }

    #[test]
    fn a_faulty_replica_is_degraded_unless_every_one_is_needed() {
        let needed = Needs { every_replica: true, ..Needs::default() };
        let nodes = [(Role::Server, 1, 0), (Role::Replica, 1, 1)];
        assert_eq!(status(&nodes, Needs::default()), Status::Degraded);
        assert_eq!(status(&nodes, needed), Status::Down);
        assert_eq!(status(&[(Role::Server, 0, 1), (Role::Replica, 2, 0)], Needs::default()), Status::Down);
    }

    #[test]
    fn too_few_sentinels_are_those_that_elect_nobody() {
        for (up, down, expected) in [
            (3, 0, Status::Up),
            (2, 1, Status::Up),
            (1, 2, Status::Degraded),
            (0, 3, Status::Degraded),
            (1, 1, Status::Degraded),
            (1, 0, Status::Up),
        ] {
            let nodes = [(Role::Server, 1, 0), (Role::Sentinel, up, down)];
            assert_eq!(status(&nodes, Needs::default()), expected, "{up} {down}");
        }
        let one_of_three = outcome(&[(Role::Server, 1, 0), (Role::Sentinel, 1, 2)], Needs::default());
        let shortfall = one_of_three.shortfall();
        assert_eq!(shortfall.as_deref(), Some("1 of 3 sentinels up, and a failover needs 2"));
    }

    #[test]
    fn an_endpoint_without_an_answer_is_degraded() {
        let nodes = [(Role::Server, 2, 0), (Role::Endpoint, 0, 1)];
        assert_eq!(status(&nodes, Needs::default()), Status::Degraded);
    }

    #[test]
    fn an_alias_that_is_up_has_no_cause_whatever_a_sentinel_has() {
        let outcome = outcome(&[(Role::Server, 1, 0), (Role::Sentinel, 2, 1)], Needs::default());
        assert_eq!((outcome.cause(), outcome.problems().count()), (None, 1));
    }
}

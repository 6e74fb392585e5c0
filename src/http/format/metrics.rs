//! Prometheus' metrics, in the classic text or in `OpenMetrics`.
//!
//! Current values come from the report that the scrape has asked for, and counters from the records. Nothing is kept
//! here, so that a node that is gone leaves no series behind.

mod exposition;
mod family;
mod format;
mod process;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::registry::Registry;

use crate::app::{App, Denied, ReloadStatus, RoundClocks, Setup};
use crate::config::Shard;
use crate::http::access::AccessLevel;
use crate::http::transport::places::Traffic;
use crate::outcome::{Expiry, Figure, Measure, Outcome, Phase, Report, Status};
use crate::record::{Lookup, RecordSnapshot, Tally, Through};
use crate::telemetry::{self, Unwritten};
use exposition::Exposition;

pub(crate) use crate::http::transport::idle_timeout::ConnectionState;
pub(crate) use crate::http::transport::places::Reason;
pub use family::{Family, Type};
pub use format::MetricsFormat;
pub use process::{Process, ProcessMemory};

/// The data of one scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The results of the checks of this scrape.
    pub report: Arc<Report>,
    /// The record of each of them, in the order of the report.
    pub known: Vec<RecordSnapshot>,
    /// The progress of the rounds, if there are any.
    pub rounds: Option<RoundClocks>,
    /// The date of the listener's certificate, if it has one.
    pub listener: Option<Expiry>,
    /// The number of targets, if caches come from a list of them.
    pub targets: Option<usize>,
    /// The result of the last fetch of that list, if a server has it.
    pub fetches: Option<ReloadStatus>,
    /// The shard of this replica, if there are shards.
    pub shard: Option<Shard>,
    /// The result of the last reload of the configuration.
    pub reloads: ReloadStatus,
    /// The start of the sidecar.
    pub began_at: SystemTime,
    /// The log lines that were not written.
    pub log: Unwritten,
    /// The resources of the process.
    pub process: Process,
    /// Open connections, and closed and refused ones.
    pub callers: Callers,
    /// The number of denied requests by reason, in the order of `Denied::ALL`.
    pub denied: [u64; Denied::ALL.len()],
}

/// The numbers of open, closed and refused connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Callers {
    /// The number of open connections by state, in the order of `ConnectionState::ALL`.
    pub connections: [usize; ConnectionState::ALL.len()],
    /// The number of closed connections and refused responses by reason, in the order of `Reason::ALL`.
    pub refused: [u64; Reason::ALL.len()],
}

impl From<&Traffic> for Callers {
    fn from(traffic: &Traffic) -> Self {
        Self {
            connections: ConnectionState::ALL.map(|state| traffic.connections(state)),
            refused: Reason::ALL.map(|reason| traffic.refused(reason)),
        }
    }
}

impl Scrape {
    /// The scrape of `report`, the report of everything in `setup`, with all other data.
    #[must_use]
    pub(crate) fn of(report: Arc<Report>, setup: &Setup, app: &App, traffic: Option<&Traffic>) -> Self {
        setup.checker.write_down_sharing();
        Self {
            report,
            known: setup.checker.records(&setup.everything).map(|record| record.known()).collect(),
            rounds: app.clocks(),
            listener: setup.listener_expiry.clone(),
            targets: setup.targets,
            fetches: app.last_targets(),
            shard: setup.shard.clone(),
            reloads: app.last_reload(),
            began_at: app.began_at(),
            log: telemetry::unwritten(),
            process: Process::read(),
            callers: traffic.map(Callers::from).unwrap_or_default(),
            denied: app.denials().counts(),
        }
    }
}

/// The metrics for a caller with access level `view`. The labels `alias` and `check` name the check of a series.
/// Phases, and series that name nodes, keys or views, are only for callers with access to details.
#[must_use]
pub fn body(scrape: Scrape, view: AccessLevel, format: MetricsFormat) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ScrapeCollector { scrape, view, format }));
    let mut text = String::new();
    // A `String` accepts all text.
    let _ = match format {
        MetricsFormat::Text => encode_registry(&mut text, &registry),
        MetricsFormat::OpenMetrics => encode(&mut text, &registry),
    };
    text
}

/// A scrape with its access level, as the registry collects it.
#[derive(Debug)]
struct ScrapeCollector {
    scrape: Scrape,
    view: AccessLevel,
    format: MetricsFormat,
}

impl Collector for ScrapeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { scrape, view, format } = self;
        let outcomes = scrape.report.outcomes.iter().zip(&scrape.known);
        let entries: Vec<_> = outcomes.map(|(outcome, known)| ScrapedCheck { outcome, known }).collect();
        let mut text = Exposition::new(encoder, *format);
        put_verdicts(&mut text, &entries)?;
        put_tallies(&mut text, &entries)?;
        match view {
            AccessLevel::Verdicts => {}
            AccessLevel::Details => put_details(&mut text, &entries)?,
        }
        put_expiries(&mut text, &entries, *view, scrape.listener.as_ref())?;
        let mut skipped = text.series(Family::Skipped);
        for one in &scrape.report.skipped {
            skipped.put(&[("alias", one.alias.as_str()), ("reason", one.reason.name())], 1_u32)?;
        }
        if let Some(rounds) = &scrape.rounds {
            put_rounds(&mut text, rounds)?;
        }
        if let Some(targets) = scrape.targets {
            text.series(Family::Targets).put(&[], targets)?;
        }
        if let Some(fetches) = scrape.fetches {
            text.series(Family::TargetsRefreshSuccess).put(&[], u32::from(fetches.ok))?;
            text.series(Family::TargetsLastRefreshSuccess).put(&[], seconds(fetches.at))?;
        }
        if let Some(shard) = &scrape.shard {
            put_shard(&mut text, shard)?;
        }
        put_own(&mut text, scrape)
    }
}

/// One check of one alias.
struct ScrapedCheck<'a> {
    outcome: &'a Outcome,
    known: &'a RecordSnapshot,
}

impl<'a> ScrapedCheck<'a> {
    /// The labels of a series that each check has once.
    fn labels(&self) -> [(&'static str, &'a str); 2] {
        [("alias", self.outcome.alias.as_str()), ("check", self.outcome.kind.name())]
    }

    /// The same labels and one more.
    fn labels_and(&self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
        let [alias, check] = self.labels();
        [alias, check, (name, value)]
    }
}

/// Writes the results of the checks of this scrape.
fn put_verdicts(text: &mut Exposition<'_>, entries: &[ScrapedCheck<'_>]) -> fmt::Result {
    let mut up = text.series(Family::Up);
    for entry @ ScrapedCheck { outcome, .. } in entries {
        up.put(&entry.labels(), u32::from(outcome.status() < Status::Down))?;
    }
    let mut status = text.series(Family::Status);
    for entry @ ScrapedCheck { outcome, .. } in entries {
        for one in Tally::RESULTS {
            status.put(&entry.labels_and("status", one.word()), u32::from(outcome.status() == one))?;
        }
    }
    let mut not_required = text.series(Family::DownNotRequired);
    for entry @ ScrapedCheck { outcome, .. } in entries.iter().filter(|entry| !entry.outcome.needs.required) {
        not_required.put(&entry.labels(), u32::from(outcome.not_required().is_some()))?;
    }
    let mut began = text.series(Family::CheckTimestamp);
    for entry @ ScrapedCheck { outcome, .. } in entries {
        began.put(&entry.labels(), seconds(outcome.began_at))?;
    }
    Ok(())
}

/// Writes the counters of all checks.
fn put_tallies(text: &mut Exposition<'_>, entries: &[ScrapedCheck<'_>]) -> fmt::Result {
    let mut last_up = text.series(Family::LastUp);
    for entry @ ScrapedCheck { known, .. } in entries {
        if let Some(at) = known.last_up {
            last_up.put(&entry.labels(), seconds(at))?;
        }
    }
    let mut durations = text.series(Family::CheckDuration);
    for entry @ ScrapedCheck { known, .. } in entries {
        durations.put_durations(&entry.labels(), &known.tally)?;
    }
    let mut checks = text.series(Family::Checks);
    for entry @ ScrapedCheck { known, .. } in entries {
        for (result, times) in known.tally.results() {
            checks.put(&entry.labels_and("result", result.word()), times)?;
        }
    }
    let mut failures = text.series(Family::CheckFailures);
    for entry @ ScrapedCheck { known, .. } in entries {
        for (cause, times) in known.tally.failures() {
            failures.put(&entry.labels_and("cause", cause.name()), times)?;
        }
    }
    let mut shared = text.series(Family::ChecksShared);
    for entry @ ScrapedCheck { known, .. } in entries {
        shared
            .put(&entry.labels(), known.sharing.times(Through::Process, Lookup::Hit).unwrap_or_default())?;
    }
    let mut looked_up = text.series(Family::VerdictsShared);
    for entry @ ScrapedCheck { known, .. } in entries {
        for through in Through::ALL {
            for lookup in Lookup::ALL {
                if let Some(times) = known.sharing.times(through, lookup) {
                    let [alias, check] = entry.labels();
                    let labels = [alias, check, ("through", through.name()), ("result", lookup.name())];
                    looked_up.put(&labels, times)?;
                }
            }
        }
    }
    let mut connections = text.series(Family::ConnectionsOpened);
    for entry @ ScrapedCheck { known, .. } in entries {
        connections.put(&entry.labels(), known.tally.connections())?;
    }
    Ok(())
}

/// Writes the details of the checks of this scrape.
fn put_details(text: &mut Exposition<'_>, entries: &[ScrapedCheck<'_>]) -> fmt::Result {
    let mut phases = text.series(Family::CheckPhase);
    for entry @ ScrapedCheck { outcome, .. } in entries {
        for phase in Phase::ALL {
            let longest = outcome.nodes.iter().filter_map(|node| node.phases.get(phase)).max();
            if let Some(time) = longest {
                phases.put(&entry.labels_and("phase", phase.name()), time.as_secs_f64())?;
            }
        }
    }
    let mut node_up = text.series(Family::NodeUp);
    for entry @ ScrapedCheck { outcome, .. } in entries {
        for node in &outcome.nodes {
            node_up.put(&entry.labels_and("node", &node.node), u32::from(node.fault.is_none()))?;
        }
    }
    for &figure in Figure::ALL {
        let mut measured = text.series(figure);
        for entry @ ScrapedCheck { outcome, .. } in entries {
            for Measure { of, value, .. } in outcome.measures().iter().filter(|one| one.figure == figure) {
                match of {
                    Some(of) => measured.put(&entry.labels_and(figure.label(), of), *value)?,
                    None => measured.put(&entry.labels(), *value)?,
                }
            }
        }
    }
    Ok(())
}

/// Writes the dates at which certificates and tokens end.
fn put_expiries(
    text: &mut Exposition<'_>,
    entries: &[ScrapedCheck<'_>],
    view: AccessLevel,
    listener: Option<&Expiry>,
) -> fmt::Result {
    let mut ends = text.series(Family::Expiry);
    match view {
        AccessLevel::Verdicts => {}
        AccessLevel::Details => {
            for outcome in entries.iter().map(|entry| entry.outcome) {
                for (node, date) in outcome.expiries() {
                    let (alias, what) = (("alias", outcome.alias.as_str()), ("what", date.what.name()));
                    match node {
                        Some(node) => ends.put(&[alias, ("node", node), what], seconds(date.at))?,
                        None => ends.put(&[alias, what], seconds(date.at))?,
                    }
                }
            }
        }
    }
    if let Some(date) = listener {
        ends.put(&[("what", date.what.name())], seconds(date.at))?;
    }
    Ok(())
}

/// Writes the progress of the rounds.
fn put_rounds(text: &mut Exposition<'_>, clocks: &RoundClocks) -> fmt::Result {
    if let Some(through) = clocks.through() {
        text.series(Family::RoundClock).put(&[], seconds(through))?;
    }
    let numbered = || clocks.partitions.iter().enumerate().map(|(number, one)| (number.to_string(), one));
    let mut through = text.series(Family::RoundPartitionClock);
    for (number, one) in numbered() {
        if let Some(at) = one.through {
            through.put(&[("partition", &number)], seconds(at))?;
        }
    }
    text.series(Family::Rounds).put(&[], clocks.rounds)?;
    let mut missed = text.series(Family::RoundsMissed);
    for (number, one) in numbered() {
        missed.put(&[("partition", &number)], one.missed)?;
    }
    Ok(())
}

/// Writes the shard of this replica.
fn put_shard(text: &mut Exposition<'_>, shard: &Shard) -> fmt::Result {
    let (index, of) = (shard.index.to_string(), shard.of.to_string());
    text.series(Family::ShardInfo).put(&[("index", &index), ("of", &of)], 1_u32)?;
    text.series(Family::Shards).put(&[], shard.of)?;
    text.series(Family::ShardAliases).put(&[], shard.aliases)?;
    text.series(Family::ShardAliasesConfigured).put(&[], shard.configured)
}

/// Writes the metrics of the sidecar itself.
fn put_own(
    text: &mut Exposition<'_>,
    Scrape { reloads, began_at, log, process, callers, denied, .. }: &Scrape,
) -> fmt::Result {
    let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
    text.series(Family::BuildInfo).put(&build, 1_u32)?;
    text.series(Family::ReloadSuccess).put(&[], u32::from(reloads.ok))?;
    text.series(Family::LastReloadSuccess).put(&[], seconds(reloads.at))?;
    let mut connections = text.series(Family::Connections);
    for (state, count) in ConnectionState::ALL.iter().zip(callers.connections) {
        connections.put(&[("state", state.name())], count)?;
    }
    let mut refused = text.series(Family::Refused);
    for (reason, times) in Reason::ALL.iter().zip(callers.refused) {
        refused.put(&[("reason", reason.name())], times)?;
    }
    let mut denials = text.series(Family::Denied);
    for (reason, &times) in Denied::ALL.iter().zip(denied) {
        denials.put(&[("reason", reason.name())], times)?;
    }
    let &Unwritten { lost, limited } = log;
    text.series(Family::LogLinesLost).put(&[], lost)?;
    text.series(Family::LogLinesLimited).put(&[], limited)?;
    let &Process { cpu, memory, open_fds, max_fds } = process;
    text.series(Family::ProcessCpu).put(&[], cpu.as_secs_f64())?;
    if let Some(ProcessMemory { resident, virtual_size }) = memory {
        text.series(Family::ProcessResidentMemory).put(&[], resident)?;
        text.series(Family::ProcessVirtualMemory).put(&[], virtual_size)?;
    }
    if let Some(open) = open_fds {
        text.series(Family::ProcessOpenFds).put(&[], open)?;
    }
    if let Some(most) = max_fds {
        text.series(Family::ProcessMaxFds).put(&[], most)?;
    }
    text.series(Family::ProcessStartTime).put(&[], seconds(*began_at))
}

/// The commit of this build, if the build names it.
const REVISION: &str = match option_env!("CACHE_CANARY_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    Some(_) | None => "unknown",
};

/// Seconds since 1970; 0 on a machine whose clock is earlier.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

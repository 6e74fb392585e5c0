//! A night of ten caches, as their checks would have recorded it, without waiting for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache_canary::alias::Alias;
use cache_canary::app::App;
use cache_canary::config::{Address, Backend, CacheConfig, Config, RedisConfig, RedisServers, Tls, Verify};
use cache_canary::outcome::{
    Cause, CheckKind, Fault, Figure, Finding, Measure, Needs, NodeOutcome, Outcome, OutcomeExtra, Phase,
    Phases, Report, SkipReason, Status,
};
use tokio::time::Instant;

/// The aliases of the night.
pub const ALIASES: [&str; 10] =
    ["main", "sessions", "carts", "pages", "feeds", "search", "tokens", "limits", "reports", "jobs"];

/// An app with these aliases, each a Redis at `ALIAS.cache.internal:6379` that is never asked.
pub fn app(aliases: &[&str]) -> App {
    let cache = |alias: &str, backend| CacheConfig::new(Alias::try_from(alias).unwrap(), backend);
    let redis = |alias: &&str| {
        let host = format!("{alias}.cache.internal");
        let mut redis = RedisConfig::at(RedisServers::Standalone(Address::Tcp { host, port: 6379 }));
        if *alias == "tokens" {
            redis.tls = Some(Tls { verify: Verify::None, ..Tls::default() });
        }
        cache(alias, Backend::Redis(redis))
    };
    let forwarding = Backend::forwarding_to(Alias::try_from(aliases[0]).unwrap());
    let others =
        [cache("default", forwarding), cache("staticfiles", Backend::Unchecked(SkipReason::LocalMemory))];
    let caches = aliases.iter().map(redis).chain(others).collect();
    App::new(&Config { instance: "web-1".to_owned(), caches, ..Config::default() }).unwrap()
}

/// The last hour of `app`, up to now: its first alias goes down four minutes ago, its fourth has been degraded for
/// twenty. The report is of the last round.
pub fn pass(app: &App) -> Report {
    let setup = app.setup();
    let records: Vec<_> = setup.checker.records(&setup.everything).collect();
    // For the first quarter of the hour nobody asked.
    for round in (0..=90_u32).rev() {
        let before = Duration::from_secs(30) * round;
        for (place, record) in records.iter().enumerate() {
            let status = match place {
                0 if before <= Duration::from_mins(4) || before.as_secs() / 60 == 31 => Status::Down,
                3 if before <= Duration::from_mins(20) => Status::Degraded,
                _ => Status::Up,
            };
            record.note(&Arc::new(outcome(record.alias(), status, before, round)));
        }
    }
    let outcomes = records.iter().filter_map(|record| record.known().latest).collect();
    Report { outcomes, skipped: setup.everything.skipped.clone() }
}

fn outcome(alias: &Alias, status: Status, before: Duration, round: u32) -> Outcome {
    let began = (Instant::now().checked_sub(before).unwrap(), SystemTime::now() - before);
    let micros = 300 + u64::from(round * 7919 % 97) * 4;
    let mut phases = Phases::default();
    for (phase, part) in [(Phase::Resolve, 3), (Phase::Connect, 2), (Phase::Write, 4), (Phase::Read, 3)] {
        phases.add(phase, Duration::from_micros(micros * part / 12));
    }
    let server = |number: u32, phases, fault| {
        NodeOutcome::server(&format!("{alias}-{number}.cache.internal:6379"), phases, fault)
    };
    let (fault, elapsed) = match status {
        Status::Down => {
            phases = Phases::default();
            phases.add(Phase::Resolve, Duration::from_micros(180));
            phases.add(Phase::Connect, Duration::from_micros(240));
            phases.add(Phase::Write, Duration::from_millis(749));
            (Some(Fault::new(Cause::TimedOut, Phase::Write, "")), Duration::from_millis(750))
        }
        Status::Skipped | Status::Up | Status::Degraded => (None, Duration::from_micros(micros)),
    };
    let mut healthy = Phases::default();
    healthy.add(Phase::Write, Duration::from_micros(210));
    healthy.add(Phase::Read, Duration::from_micros(160));
    let nodes = vec![server(1, phases, fault), server(2, healthy, None)];
    let mut outcome =
        Outcome::plain(alias.clone(), CheckKind::RoundTrip, began, elapsed, nodes, Needs::default());
    if status == Status::Degraded {
        let said = "93% of 4 GiB used (degraded at 90% or more)";
        let about = format!("server {alias}-1.cache.internal:6379");
        let finding = Finding::new(Status::Degraded, Cause::MemoryHigh, &about, said);
        let measures =
            [(Figure::MemoryUsed, 3.994e9), (Figure::MemoryLimit, 4.295e9), (Figure::HitRatio, 0.914)];
        let measures = measures.map(|(figure, value)| Measure { figure, of: None, value });
        outcome.extra = Some(Box::new(OutcomeExtra {
            findings: vec![finding],
            measures: measures.into(),
            ..OutcomeExtra::default()
        }));
    }
    outcome
}

/// A server that was dialed and has this cause, or none.
pub fn node(address: &str, cause: Option<Cause>) -> NodeOutcome {
    let mut phases = Phases::default();
    phases.add(Phase::Connect, Duration::from_micros(240));
    NodeOutcome::server(address, phases, cause.map(|cause| Fault::new(cause, Phase::Connect, "")))
}

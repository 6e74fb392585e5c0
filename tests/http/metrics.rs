//! The two texts of metrics, from what is known as a whole: every name, every type, and what is kept from whom.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache_canary::app::{PartitionClock, ReloadStatus, RoundClocks};
use cache_canary::config::Shard;
use cache_canary::http::access::AccessLevel;
use cache_canary::http::metrics::{
    Callers, Family, MetricsFormat, Process, ProcessMemory, Scrape, Type, body,
};
use cache_canary::outcome::{
    Cause, CheckKind, Expiries, Expiring, Expiry, Fault, Figure, Measure, Needs, NodeOutcome, Outcome,
    OutcomeExtra, Phase, Phases, Report, SkipReason, Skipped,
};
use cache_canary::record::{Journal, Lookup, Record, RecordSnapshot, Through};
use cache_canary::telemetry::Unwritten;
use tokio::time::Instant;

use crate::alias;
use crate::support::python;

const FORMATS: [MetricsFormat; 2] = [MetricsFormat::Text, MetricsFormat::OpenMetrics];
const VIEWS: [AccessLevel; 2] = [AccessLevel::Verdicts, AccessLevel::Details];

/// A check that began so many seconds after 1970, took a few milliseconds, and opened two connections.
fn outcome(kind: CheckKind, began: u64, fault: Option<Fault>) -> Outcome {
    let phases = |connect, write| {
        let mut phases = Phases::default();
        phases.add(Phase::Connect, Duration::from_micros(connect));
        phases.add(Phase::Write, Duration::from_micros(write));
        phases
    };
    let nodes = vec![
        NodeOutcome::server("a:6379", phases(100, 4000), None),
        NodeOutcome::server("b:6379", phases(300, 2000), fault),
    ];
    let began = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(began));
    let elapsed = Duration::from_micros(4500);
    let needs = Needs { required: kind == CheckKind::RoundTrip, ..Needs::default() };
    let outcome = Outcome::plain(alias("main"), kind, began, elapsed, nodes, needs);
    Outcome { connections: 2, ..outcome }
}

/// The record after checks that began at 10 s and 20 s, of which the second met this.
fn known(
    kind: CheckKind,
    fault: Option<Fault>,
    beyond: Option<OutcomeExtra>,
) -> (Arc<Outcome>, RecordSnapshot) {
    let record = Record::new(&alias("main"), kind, &Arc::new(Journal::default()));
    record.note(&Arc::new(outcome(kind, 10, None)));
    let latest = Arc::new(Outcome { extra: beyond.map(Box::new), ..outcome(kind, 20, fault) });
    record.note(&latest);
    record.looked_up(Through::Process, Lookup::Hit);
    (latest, record.known())
}

/// A partition that is checked through so many seconds after 1970.
fn partition((through, missed): (u64, u64)) -> PartitionClock {
    PartitionClock { through: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(through)), missed }
}

/// Something that ends so many seconds after 1970.
fn expiry(what: Expiring, seconds: u64) -> Expiry {
    Expiry { what, name: "cache".into(), at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) }
}

/// A round trip that is down, and queues.
fn metrics(view: AccessLevel, format: MetricsFormat) -> String {
    let measure = |figure: Figure, of: &str, value| {
        let of = (!figure.label().is_empty()).then(|| of.into());
        Measure { figure, of, value }
    };
    let mut measures: Vec<_> = Figure::ALL.iter().map(|&figure| measure(figure, "one", 0.5)).collect();
    measures.push(measure(Figure::QueueLength, "a \"b\"\\\n", 25000.0));
    let refused = Fault::new(Cause::Refused, Phase::Connect, "Connection refused: not for everyone");
    let expiries = [
        (Some("a:6379"), Expiring::ServerCertificate, 1_797_000_000),
        (None, Expiring::Token, 1_796_000_000),
    ];
    let expiries = expiries
        .map(|(node, what, at)| Expiries { node: node.map(Into::into), dates: [expiry(what, at)].into() });
    let extra = OutcomeExtra { expiries: expiries.into(), ..OutcomeExtra::default() };
    let known = [
        known(CheckKind::RoundTrip, Some(refused), Some(extra)),
        known(CheckKind::Queue, None, Some(OutcomeExtra { measures, ..OutcomeExtra::default() })),
    ];
    let (outcomes, known) = known.into_iter().unzip();
    let skipped = vec![Skipped { alias: alias("own"), reason: SkipReason::Unknown { what: "backend" } }];
    let report = Arc::new(Report { outcomes, skipped });
    let mut shard = Shard::new(1, 5);
    (shard.aliases, shard.configured) = (21, 100);
    let scrape = Scrape {
        report,
        shard: Some(shard),
        targets: Some(99),
        fetches: Some(ReloadStatus { ok: true, at: SystemTime::UNIX_EPOCH }),
        known,
        listener: Some(expiry(Expiring::ListenerCertificate, 1_798_000_000)),
        rounds: Some(RoundClocks { rounds: 7, partitions: [(70, 0), (60, 3)].map(partition).into() }),
        reloads: ReloadStatus { ok: true, at: SystemTime::UNIX_EPOCH },
        began_at: SystemTime::UNIX_EPOCH,
        log: Unwritten { lost: 12, limited: 37 },
        process: Process {
            cpu: Duration::from_millis(1500),
            memory: Some(ProcessMemory { resident: 4096, virtual_size: 8192 }),
            open_fds: Some(7),
            max_fds: Some(1024),
        },
        callers: Callers { connections: [3, 2, 1], refused: [5, 4, 3, 2, 1] },
        denied: [8, 9],
    };
    body(scrape, view, format)
}

/// The lines of the series with this name.
fn series<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of).collect()
}

#[test]
fn the_series_of_an_alias_have_its_status_and_counts() {
    for format in FORMATS {
        let text = metrics(AccessLevel::Verdicts, format);
        for (name, expected) in [
            (
                "cache_up",
                vec![
                    r#"cache_up{alias="main",check="round_trip"} 0"#,
                    r#"cache_up{alias="main",check="queue"} 1"#,
                ],
            ),
            (
                "cache_status",
                vec![
                    r#"cache_status{alias="main",check="round_trip",status="up"} 0"#,
                    r#"cache_status{alias="main",check="round_trip",status="degraded"} 0"#,
                    r#"cache_status{alias="main",check="round_trip",status="down"} 1"#,
                    r#"cache_status{alias="main",check="queue",status="up"} 1"#,
                    r#"cache_status{alias="main",check="queue",status="degraded"} 0"#,
                    r#"cache_status{alias="main",check="queue",status="down"} 0"#,
                ],
            ),
            ("cache_down_not_required", vec![r#"cache_down_not_required{alias="main",check="queue"} 0"#]),
            (
                "cache_last_up_timestamp_seconds",
                vec![
                    r#"cache_last_up_timestamp_seconds{alias="main",check="round_trip"} 10.0"#,
                    r#"cache_last_up_timestamp_seconds{alias="main",check="queue"} 20.0"#,
                ],
            ),
            (
                "cache_checks_total",
                vec![
                    r#"cache_checks_total{alias="main",check="round_trip",result="up"} 1"#,
                    r#"cache_checks_total{alias="main",check="round_trip",result="degraded"} 0"#,
                    r#"cache_checks_total{alias="main",check="round_trip",result="down"} 1"#,
                    r#"cache_checks_total{alias="main",check="queue",result="up"} 2"#,
                    r#"cache_checks_total{alias="main",check="queue",result="degraded"} 0"#,
                    r#"cache_checks_total{alias="main",check="queue",result="down"} 0"#,
                ],
            ),
            (
                "cache_check_failures_total",
                vec![r#"cache_check_failures_total{alias="main",check="round_trip",cause="refused"} 1"#],
            ),
            (
                "cache_connections_opened_total",
                vec![
                    r#"cache_connections_opened_total{alias="main",check="round_trip"} 4"#,
                    r#"cache_connections_opened_total{alias="main",check="queue"} 4"#,
                ],
            ),
            (
                "cache_check_duration_seconds_sum",
                vec![
                    r#"cache_check_duration_seconds_sum{alias="main",check="round_trip"} 0.009"#,
                    r#"cache_check_duration_seconds_sum{alias="main",check="queue"} 0.009"#,
                ],
            ),
        ] {
            assert_eq!(series(&text, name), expected, "{format:?}");
        }
        let buckets = series(&text, "cache_check_duration_seconds_bucket");
        for expected in [
            r#"cache_check_duration_seconds_bucket{le="0.0025",alias="main",check="round_trip"} 0"#,
            r#"cache_check_duration_seconds_bucket{le="0.005",alias="main",check="round_trip"} 2"#,
            r#"cache_check_duration_seconds_bucket{le="1.0",alias="main",check="round_trip"} 2"#,
            r#"cache_check_duration_seconds_bucket{le="+Inf",alias="main",check="round_trip"} 2"#,
        ] {
            assert!(buckets.contains(&expected), "{expected} in {buckets:#?}");
        }
    }
}

#[test]
fn details_name_nodes_and_keys_and_the_slowest_of_each_phase() {
    let text = metrics(AccessLevel::Details, MetricsFormat::Text);
    assert_eq!(
        series(&text, "cache_check_phase_seconds")[..2],
        [
            r#"cache_check_phase_seconds{alias="main",check="round_trip",phase="connect"} 0.0003"#,
            r#"cache_check_phase_seconds{alias="main",check="round_trip",phase="write"} 0.004"#,
        ]
    );
    assert_eq!(
        series(&text, "cache_node_up")[..2],
        [
            r#"cache_node_up{alias="main",check="round_trip",node="a:6379"} 1"#,
            r#"cache_node_up{alias="main",check="round_trip",node="b:6379"} 0"#
        ]
    );
    assert_eq!(
        series(&text, "cache_expiry_timestamp_seconds"),
        [
            r#"cache_expiry_timestamp_seconds{alias="main",what="token"} 1796000000.0"#,
            r#"cache_expiry_timestamp_seconds{alias="main",node="a:6379",what="server_certificate"} 1797000000.0"#,
            r#"cache_expiry_timestamp_seconds{what="listener_certificate"} 1798000000.0"#,
        ]
    );
    assert_eq!(
        series(&text, "cache_queue_length"),
        [
            r#"cache_queue_length{alias="main",check="queue",key="one"} 0.5"#,
            r#"cache_queue_length{alias="main",check="queue",key="a \"b\"\\\n"} 25000.0"#
        ]
    );
}

#[test]
fn a_caller_without_details_learns_no_node_no_key_no_phase_and_no_word_of_a_server() {
    let kept = |line: &&str| {
        ["6379", "phase", "key=", "node=", "view=", "not for everyone"].iter().any(|word| line.contains(word))
    };
    for format in FORMATS {
        let verdicts = metrics(AccessLevel::Verdicts, format);
        assert_eq!(verdicts.lines().find(kept), None);
        let details = metrics(AccessLevel::Details, format);
        assert!(details.lines().any(|line| kept(&line)), "there is something to keep");
        let lacks = |line: &&str| !details.lines().any(|known| known == *line);
        let lost: Vec<_> = verdicts.lines().filter(lacks).collect();
        assert_eq!(lost, [""; 0], "and details have the rest as well");
    }
}

#[test]
fn every_name_is_there_with_its_type_in_both_formats() {
    for format in FORMATS {
        let text = metrics(AccessLevel::Details, format);
        let families = Family::ALL.iter().map(|family| (family.name(), family.kind()));
        let figures = Figure::ALL
            .iter()
            .map(|figure| (figure.name(), if figure.is_counter() { Type::Counter } else { Type::Gauge }));
        for (name, kind) in families.chain(figures) {
            let is_standard = format == MetricsFormat::OpenMetrics;
            let (ending, word) = match kind {
                Type::Histogram => ("", "histogram"),
                Type::Counter => (if is_standard { "_total" } else { "" }, "counter"),
                Type::Info if is_standard => ("_info", "info"),
                // The classic text knows no such type.
                Type::Gauge | Type::Info => ("", "gauge"),
            };
            let declared = name.strip_suffix(ending).unwrap();
            let series_name = format!("{name}{}", if kind == Type::Histogram { "_bucket" } else { "" });
            let declaration = format!("# TYPE {declared} {word}");
            assert_eq!(text.lines().filter(|line| *line == declaration).count(), 1, "{declaration}\n{text}");
            assert!(!series(&text, &series_name).is_empty(), "{series_name}\n{text}");
        }
        assert_eq!(text.ends_with("\n# EOF\n"), format == MetricsFormat::OpenMetrics);
    }
}

#[test]
fn every_metric_of_the_contract_is_there() {
    let text = metrics(AccessLevel::Details, MetricsFormat::Text);
    for series_of_contract in [
        r#"cache_up{alias=""#,
        r#"cache_status{alias="main",check="round_trip",status=""#,
        r#"cache_node_up{alias="main",check="round_trip",node=""#,
        r#"cache_check_duration_seconds_bucket{le=""#,
        r#"cache_check_duration_seconds_sum{alias=""#,
        r#"cache_check_duration_seconds_count{alias=""#,
        r#"cache_check_phase_seconds{alias="main",check="round_trip",phase=""#,
        r#"cache_checks_total{alias="main",check="round_trip",result=""#,
        r#"cache_check_failures_total{alias="main",check="round_trip",cause=""#,
        r#"cache_checks_shared_total{alias=""#,
        r#"cache_connections_opened_total{alias=""#,
        r#"cache_last_up_timestamp_seconds{alias=""#,
        r#"cache_skipped{alias="own",reason="unknown"} 1"#,
        r#"cache_canary_build_info{version="0"#,
        r#"cache_canary_denied_total{reason="caller"} 8"#,
        r#"cache_canary_denied_total{reason="token"} 9"#,
        "cache_canary_log_lines_lost_total 12",
        "cache_canary_log_lines_limited_total 37",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 4096",
        "process_open_fds 7",
    ] {
        let is_there = text.lines().any(|line| line.starts_with(series_of_contract));
        assert!(is_there, "{series_of_contract}\n{text}");
    }
}

#[test]
fn no_series_is_there_twice() {
    for (view, format) in VIEWS.into_iter().flat_map(|view| FORMATS.map(|format| (view, format))) {
        let text = metrics(view, format);
        let series = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series);
        let mut seen: Vec<_> = series.filter(|series| !series.starts_with('#')).collect();
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all, "{view:?} {format:?}");
    }
}

/// The output of a program about a text, and whether it accepts the text.
fn judged(mut judge: Command, text: &str) -> (bool, String) {
    let judge = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut judge = judge.expect("the program; `tests/run` installs what the tests need");
    judge.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = judge.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn promtool_finds_no_fault_in_the_classic_text() {
    let promtool = |text: &str| {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        judged(promtool, text)
    };
    for view in VIEWS {
        assert_eq!(promtool(&metrics(view, MetricsFormat::Text)), (true, String::new()), "{view:?}");
    }
    let (is_fine, said) =
        promtool("# HELP cache_lost Without an ending.\n# TYPE cache_lost counter\ncache_lost 1\n");
    assert!(!is_fine && said.contains("_total"), "it does look: {said}");
}

#[test]
fn prometheus_own_parsers_read_every_family_of_either_text() {
    let parsed = |format: &str, text: &str| judged(python("http/openmetrics.py", &[format]), text);
    for (format, name) in [(MetricsFormat::Text, "text"), (MetricsFormat::OpenMetrics, "openmetrics")] {
        for view in VIEWS {
            let text = metrics(view, format);
            let (is_fine, families) = parsed(name, &text);
            assert!(is_fine, "{view:?} {families}");
            let declared = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
            assert_eq!(families.lines().count(), declared, "{families}");
            // 13 bounds, and what is beyond; the sum and the count.
            assert!(families.contains("cache_check_duration_seconds histogram 32\n"), "{families}");
        }
    }
    let text = metrics(AccessLevel::Details, MetricsFormat::OpenMetrics);
    let (is_fine, said) = parsed("openmetrics", text.trim_end_matches("# EOF\n"));
    assert!(!is_fine && said.contains("EOF"), "it does look: {said}");
}

//! Reports made by hand, and the whole of what is said of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache_canary::http::access::AccessLevel;
use cache_canary::http::exclusion::Exclusion;
use cache_canary::http::kubernetes::{self, KubernetesProbe, Own};
use cache_canary::http::{Background, djblets, health_json, text};
use cache_canary::outcome::{
    Cause, CheckKind, Fault, Forwarding, Needs, NodeOutcome, Outcome, OutcomeExtra, Phase, Phases, Report,
    Reused, Role, SkipReason, Skipped, Status,
};
use cache_canary::record::{LastSeen, Since, Unchecked};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::alias;

fn node(name: &str, phases: &[(Phase, u64)], fault: Option<Fault>) -> NodeOutcome {
    let mut times = Phases::default();
    for (phase, microseconds) in phases {
        times.add(*phase, Duration::from_micros(*microseconds));
    }
    NodeOutcome::server(name, times, fault)
}

fn outcome(name: &str, began: Instant, nodes: Vec<NodeOutcome>) -> Arc<Outcome> {
    let began_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_344_660_250);
    let elapsed = Duration::from_nanos(412_300);
    let needs = Needs::default();
    Arc::new(Outcome::plain(alias(name), CheckKind::RoundTrip, (began, began_at), elapsed, nodes, needs))
}

/// Two caches, both up, nothing skipped; one was dialed, one was on a kept connection.
pub(crate) fn up(began: Instant) -> Report {
    let dialed = [(Phase::Resolve, 80), (Phase::Connect, 120), (Phase::Write, 100), (Phase::Read, 112)];
    let outcomes = vec![
        outcome("zebra", began, vec![node("cache:6379", &dialed, None)]),
        outcome("ant", began, vec![node("mc:11211", &[(Phase::Write, 20), (Phase::Read, 1)], None)]),
    ];
    Report { outcomes, skipped: Vec::new() }
}

/// Two caches, both up; of one the verdict is another sidecar's.
pub(crate) fn reused(began: Instant) -> Report {
    let mut report = up(began);
    let reused = Reused { from: "web-2".into(), age: Duration::from_millis(840) };
    let mut outcome = (*report.outcomes[1]).clone();
    outcome.extra = Some(Box::new(OutcomeExtra { reused: Some(reused), ..OutcomeExtra::default() }));
    report.outcomes[1] = Arc::new(outcome);
    report
}

/// One cache masked, one ring with two of three nodes down for different causes, one up; one skipped.
pub(crate) fn down(began: Instant) -> Report {
    let masked = Fault::new(Cause::Masked, Phase::Read, "");
    let refused = Fault::new(Cause::Refused, Phase::Connect, "Connection refused (os error 111)");
    let said = Fault::new(Cause::OutOfMemory, Phase::Write, "SERVER_ERROR out of memory storing object.");
    let ring = vec![
        node("mc-1:11211", &[(Phase::Connect, 90)], Some(refused)),
        node("mc-2:11211", &[(Phase::Write, 30), (Phase::Read, 30)], None),
        node("mc-3:11211", &[(Phase::Write, 30)], Some(said)),
    ];
    let outcomes = vec![
        outcome(
            "main",
            began,
            vec![node("cache:6379", &[(Phase::Write, 100), (Phase::Read, 90)], Some(masked))],
        ),
        outcome("sessions", began, ring),
        outcome("pages", began, vec![node("pages:6379", &[], None)]),
    ];
    let reason = SkipReason::Forwards(Forwarding { to: alias("main"), end: alias("main") });
    Report { outcomes, skipped: vec![Skipped { alias: alias("default"), reason }] }
}

pub(crate) fn skipped() -> Report {
    let skipped = Skipped { alias: alias("staticfiles"), reason: SkipReason::LocalMemory };
    Report { outcomes: Vec::new(), skipped: vec![skipped] }
}

#[test]
fn json_of_caches_that_are_up_is_in_the_configured_order() {
    let began = Instant::now();
    let body = djblets::body(&up(began), AccessLevel::Verdicts, began + Duration::from_micros(900));
    let expected = concat!(
        r#"{"status":"UP","checks":{"cache.zebra":"UP","cache.ant":"UP"},"errors":{},"age_ms":0.9}"#,
        "\n"
    );
    assert_eq!(body, expected);
}

#[test]
fn json_details_have_time_place_and_duration() {
    let began = Instant::now();
    let body = djblets::body(&up(began), AccessLevel::Details, began + Duration::from_micros(12_500));
    let expected = concat!(
        r#"{"status":"UP","checks":{"cache.zebra":"UP","cache.ant":"UP"},"errors":{},"age_ms":12.5,"details":{"#,
        r#""cache.zebra":{"elapsed_ms":0.412,"age_ms":12.5,"began_at":"2026-11-22T10:51:00.250Z","nodes":["#,
        r#"{"node":"cache:6379","role":"server","status":"UP","#,
        r#""phases_ms":{"resolve":0.08,"connect":0.12,"write":0.1,"read":0.112}}]},"#,
        r#""cache.ant":{"elapsed_ms":0.412,"age_ms":12.5,"began_at":"2026-11-22T10:51:00.250Z","nodes":["#,
        r#"{"node":"mc:11211","role":"server","status":"UP","phases_ms":{"write":0.02,"read":0.001}}]}}}"#,
        "\n",
    );
    assert_eq!(body, expected);
}

#[test]
fn json_without_details_gives_causes_hints_and_counts_but_no_address_and_no_server_s_words() {
    let began = Instant::now();
    let body = djblets::body(&down(began), AccessLevel::Verdicts, began);
    let expected = concat!(
        r#"{"status":"DOWN","#,
        r#""checks":{"cache.main":"DOWN","cache.sessions":"DOWN","cache.pages":"UP"},"#,
        r#""errors":{"#,
        r#""cache.main":"masked: {masked}","#,
        r#""cache.sessions":"refused: {refused} (1 of 3 nodes) | out_of_memory: {out_of_memory} (1 of 3 nodes)"},"#,
        r#""skipped":{"default":"forwards to main"},"age_ms":0.0}"#,
        "\n",
    );
    assert_eq!(body, with_hints(expected));
}

#[test]
fn json_with_details_gives_nodes_phases_and_words_and_then_the_hint() {
    let began = Instant::now();
    let body: Value =
        serde_json::from_str(&djblets::body(&down(began), AccessLevel::Details, began)).unwrap();
    assert_eq!(body["errors"]["cache.main"], with_hints("masked: at cache:6379 in read. {masked}"));
    let sessions = concat!(
        "refused: at mc-1:11211 in connect: Connection refused (os error 111). {refused} | ",
        "out_of_memory: at mc-3:11211 in write: SERVER_ERROR out of memory storing object. {out_of_memory}"
    );
    assert_eq!(body["errors"]["cache.sessions"], with_hints(sessions));
    assert_eq!(body["errors"]["cache.pages"], Value::Null);
    assert_eq!(
        body["details"]["cache.sessions"]["nodes"],
        json!([
            {"node": "mc-1:11211", "role": "server", "status": "DOWN", "cause": "refused", "phase": "connect",
             "said": "Connection refused (os error 111)", "next": "nc -vz -w 2 mc-1 11211", "phases_ms": {"connect": 0.09}},
            {"node": "mc-2:11211", "role": "server", "status": "UP", "phases_ms": {"write": 0.03, "read": 0.03}},
            {"node": "mc-3:11211", "role": "server", "status": "DOWN", "cause": "out_of_memory", "phase": "write",
             "said": "SERVER_ERROR out of memory storing object.", "next": "redis-cli -h mc-3 -p 11211 INFO memory",
             "phases_ms": {"write": 0.03}},
        ])
    );
}

#[test]
fn nodes_that_fail_alike_share_one_hint() {
    let refused = || Some(Fault::new(Cause::Refused, Phase::Connect, "Connection refused"));
    let ring = vec![node("mc-1:11211", &[], refused()), node("mc-2:11211", &[], refused())];
    let report = Report { outcomes: vec![outcome("ring", Instant::now(), ring)], skipped: Vec::new() };
    let error = |view| {
        let body: Value = serde_json::from_str(&djblets::body(&report, view, Instant::now())).unwrap();
        body["errors"]["cache.ring"].as_str().unwrap().to_owned()
    };
    let expected = concat!(
        "refused: at mc-1:11211 in connect: Connection refused; ",
        "at mc-2:11211 in connect: Connection refused. {refused}"
    );
    assert_eq!(error(AccessLevel::Details), with_hints(expected));
    assert_eq!(error(AccessLevel::Verdicts), with_hints("refused: {refused} (2 of 2 nodes)"));
}

/// A primary that is up, with a replica that lags behind, another that does not, and two of three Sentinels that
/// are gone.
pub(crate) fn degraded(began: Instant) -> Report {
    let with_role = |role, node: NodeOutcome| NodeOutcome { role, ..node };
    let gone = || Some(Fault::new(Cause::Refused, Phase::Connect, ""));
    let behind = Some(Fault::new(Cause::Behind, Phase::Read, "the read found no value"));
    let shown = with_role(Role::Replica, node("cache-3:6379", &[(Phase::Read, 40)], None));
    let nodes = vec![
        node("cache-1:6379", &[(Phase::Write, 30), (Phase::Read, 20)], None),
        with_role(Role::Replica, node("cache-2:6379", &[(Phase::Read, 50)], behind)),
        NodeOutcome { lag: Some(Duration::from_micros(1_500)), ..shown },
        with_role(Role::Sentinel, node("s1:26379", &[], None)),
        with_role(Role::Sentinel, node("s2:26379", &[], gone())),
        with_role(Role::Sentinel, node("s3:26379", &[], gone())),
    ];
    Report { outcomes: vec![outcome("main", began, nodes)], skipped: Vec::new() }
}

#[test]
fn json_of_a_degraded_alias_names_roles_and_says_how_many_are_missing() {
    let began = Instant::now();
    let body =
        |view| -> Value { serde_json::from_str(&djblets::body(&degraded(began), view, began)).unwrap() };
    let all = body(AccessLevel::Details);
    assert_eq!((&all["status"], &all["checks"]["cache.main"]), (&json!("DEGRADED"), &json!("DEGRADED")));
    let error = concat!(
        "behind: at replica cache-2:6379 in read: the read found no value. {behind} | ",
        "refused: at sentinel s2:26379 in connect; at sentinel s3:26379 in connect. {refused} | ",
        "1 of 3 sentinels up, and a failover needs 2",
    );
    assert_eq!(all["errors"]["cache.main"], with_hints(error));
    let nodes = &all["details"]["cache.main"]["nodes"];
    let replica = json!({"node": "cache-3:6379", "role": "replica", "status": "UP", "lag_ms": 1.5,
                         "phases_ms": {"read": 0.04}});
    assert_eq!(nodes[2], replica);
    assert_eq!((&nodes[0]["role"], &nodes[3]["role"]), (&json!("server"), &json!("sentinel")));
    let error = concat!(
        "behind: {behind} (1 of 6 nodes) | refused: {refused} (2 of 6 nodes) | ",
        "1 of 3 sentinels up, and a failover needs 2",
    );
    assert_eq!(body(AccessLevel::Verdicts)["errors"]["cache.main"], with_hints(error));
}

#[test]
fn one_sentinel_of_three_that_is_gone_is_shown_and_is_no_error() {
    let began = Instant::now();
    let mut report = degraded(began);
    let mut outcome = (*report.outcomes[0]).clone();
    outcome.nodes[1].fault = None;
    outcome.nodes[4].fault = None;
    report.outcomes = vec![Arc::new(outcome)];
    let body: Value = serde_json::from_str(&djblets::body(&report, AccessLevel::Details, began)).unwrap();
    assert_eq!((&body["status"], &body["errors"]), (&json!("UP"), &json!({})));
    assert_eq!(body["details"]["cache.main"]["nodes"][5]["status"], "DOWN");
}

#[test]
fn json_of_a_skipped_alias_has_the_reason() {
    let expected = concat!(
        r#"{"status":"SKIPPED","checks":{},"errors":{},"#,
        r#""skipped":{"staticfiles":"lives in the application's memory"}}"#,
        "\n"
    );
    assert_eq!(djblets::body(&skipped(), AccessLevel::Details, Instant::now()), expected);
}

#[test]
fn json_of_a_check_that_began_before_1970_is_still_json() {
    let began_at = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let outcome = outcome("main", Instant::now(), vec![node("cache:6379", &[], None)]);
    let outcome = Outcome { began_at, ..Outcome::clone(&outcome) };
    let report = Report { outcomes: vec![Arc::new(outcome)], skipped: Vec::new() };
    let body: Value =
        serde_json::from_str(&djblets::body(&report, AccessLevel::Details, Instant::now())).unwrap();
    assert_eq!(body["details"]["cache.main"]["began_at"], "1970-01-01T00:00:00.000Z");
}

#[test]
fn text_is_a_line_an_alias_in_columns_and_then_the_age() {
    let began = Instant::now();
    let expected = "UP\nzebra  UP\nant    UP\nchecked 12.5 ms ago\n";
    assert_eq!(text::body(&up(began), AccessLevel::Details, began + Duration::from_micros(12_500)), expected);
    let expected = concat!(
        "DOWN\n",
        "main      DOWN     masked: {masked}\n",
        "sessions  DOWN     refused: {refused} (1 of 3 nodes) | out_of_memory: {out_of_memory} (1 of 3 nodes)\n",
        "pages     UP\n",
        "default   SKIPPED  forwards to main\n",
        "checked 2.5 s ago\n",
    );
    let body = text::body(&down(began), AccessLevel::Verdicts, began + Duration::from_millis(2_540));
    assert_eq!(body, with_hints(expected));
}

#[test]
fn the_age_is_that_of_the_oldest_check() {
    let now = Instant::now() + Duration::from_secs(10);
    let mut report = up(now - Duration::from_secs(1));
    assert_eq!(report.age(now), Some(Duration::from_secs(1)));
    report.outcomes.extend(up(now - Duration::from_secs(3)).outcomes);
    assert_eq!(report.age(now), Some(Duration::from_secs(3)));
    assert_eq!(skipped().age(now), None);
    let body: Value = serde_json::from_str(&djblets::body(&report, AccessLevel::Verdicts, now)).unwrap();
    assert_eq!(body["age_ms"], 3000.0);
}

#[test]
fn details_have_the_start_of_a_status_unless_it_has_changed_meanwhile() {
    let began = Instant::now();
    let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_340_000 + second);
    let since = |status| Since { status, began, began_at: at(0), before: None, unchecked: None };
    let length = Duration::from_hours(3);
    let unchecked = Some(Unchecked { from: at(60), to: at(60) + length, length });
    let before = Some(LastSeen { status: Status::Up, at: at(0) - Duration::from_secs(8) });
    let known = vec![
        Some(Since { before, unchecked, ..since(Status::Down) }),
        Some(since(Status::Degraded)),
        Some(since(Status::Up)),
    ];
    let background = Background { since: known, instance: Some("web-1") };
    let body = djblets::body_before(&down(began), &background, AccessLevel::Details, began);
    let body: Value = serde_json::from_str(&body).unwrap();
    let of = |check: &str| {
        ["since", "since_first_check", "last_up", "unchecked"].map(|key| body["details"][check][key].clone())
    };
    let unchecked = json!({"from": "2026-11-22T09:34:20.000Z", "to": "2026-11-22T12:34:20.000Z"});
    assert_eq!(
        of("cache.main"),
        [json!("2026-11-22T09:33:20.000Z"), json!(false), json!("2026-11-22T09:33:12.000Z"), unchecked]
    );
    assert_eq!(of("cache.sessions"), [const { Value::Null }; 4], "it is degraded by now");
    assert_eq!(of("cache.pages"), [json!("2026-11-22T09:33:20.000Z"), json!(true), Value::Null, Value::Null]);
    assert_eq!(body["instance"], "web-1");

    let text = text::body_before(&down(began), &background, AccessLevel::Verdicts, began);
    let lines: Vec<_> = text.lines().collect();
    let start = "main      DOWN     since 2026-11-22T09:33:20Z, last seen up 2026-11-22T09:33:12Z, \
                 not checked from 2026-11-22T09:34:20Z to 2026-11-22T12:34:20Z; masked: ";
    assert!(lines[1].starts_with(start), "{text}");
    let start =
        "pages     UP       at least since 2026-11-22T09:33:20Z, the first check after this sidecar started";
    assert_eq!(lines[3], start);
    assert_eq!(lines[5], "checked 0.0 ms ago");
}

#[test]
fn text_with_details_names_the_nodes() {
    let body = text::body(&down(Instant::now()), AccessLevel::Details, Instant::now());
    let line = with_hints("main      DOWN     masked: at cache:6379 in read. {masked}");
    assert_eq!(body.lines().nth(1), Some(line.as_str()));
}

/// The response of `/readyz` for a report that is 0.9 ms old.
fn readyz(report: impl Fn(Instant) -> Report, verbose: bool) -> String {
    let began = Instant::now();
    kubernetes::body(&readiness(None), &report(began), verbose, began + Duration::from_micros(900))
}

pub(crate) fn readiness(wrong: Option<&str>) -> KubernetesProbe {
    let own = Own { name: "sidecar", wrong: wrong.map(ToOwned::to_owned) };
    KubernetesProbe { own: Some(own), ..KubernetesProbe::of_caches("readyz") }
}

#[test]
fn kubernetes_text_is_ok_or_lists_the_failures() {
    assert_eq!(readyz(up, false), "ok\n");
    assert_eq!(
        readyz(down, false),
        "[-]cache.main failed: masked\n[-]cache.sessions failed: refused\nreadyz check failed\n"
    );
}

#[test]
fn kubernetes_verbose_text_lists_everything_and_the_age() {
    assert_eq!(
        readyz(up, true),
        "[+]sidecar ok\n[+]cache.zebra ok\n[+]cache.ant ok\nchecked 0.9 ms ago\nreadyz check passed\n"
    );
    let expected = concat!(
        "[+]sidecar ok\n",
        "[-]cache.main failed: masked\n",
        "[-]cache.sessions failed: refused\n",
        "[+]cache.pages ok\n",
        "[+]cache.default skipped: forwards to main\n",
        "checked 0.9 ms ago\n",
        "readyz check failed\n",
    );
    assert_eq!(readyz(down, true), expected);
    assert_eq!(
        readyz(|_| skipped(), true),
        "[+]sidecar ok\n[+]cache.staticfiles skipped: lives in the application's memory\nreadyz check passed\n"
    );
}

#[test]
fn kubernetes_text_lists_excluded_checks_and_warns_of_unknown_ones_in_the_api_server_s_words() {
    let exclusion = |own| Exclusion {
        own,
        listed: vec!["cache.pages".to_owned()],
        unmatched: vec!["a\"b\n".to_owned(), "mian".to_owned()],
    };
    let probe = |own, wrong| KubernetesProbe { exclusion: exclusion(own), ..readiness(wrong) };
    let began = Instant::now();
    let body =
        |own, wrong, report: &Report, verbose| kubernetes::body(&probe(own, wrong), report, verbose, began);
    let warning =
        r#"warn: some health checks cannot be excluded: no matches for "a\"b\n","mian""#.to_owned() + "\n";
    let expected = format!(
        "[+]sidecar ok\n[+]cache.zebra ok\n[+]cache.ant ok\n[+]cache.pages excluded: ok\n{warning}checked 0.0 ms ago\n\
         readyz check passed\n"
    );
    assert_eq!(body(false, None, &up(began), true), expected);
    assert_eq!(body(false, None, &up(began), false), "ok\n");
    let draining = Some("draining");
    let expected = format!("[-]sidecar failed: draining\n{warning}readyz check failed\n");
    assert_eq!(body(false, draining, &Report::default(), false), expected);
    let without_own = body(true, draining, &up(began), true);
    assert!(without_own.starts_with("[+]sidecar excluded: ok\n[+]cache.zebra ok\n"), "{without_own}");
    assert!(without_own.ends_with("readyz check passed\n"), "{without_own}");
}

#[test]
fn a_sidecar_that_is_not_ready_reports_its_stage_of_life() {
    let expected = "[-]sidecar failed: draining\nreadyz check failed\n";
    let probe = readiness(Some("draining"));
    assert_eq!(kubernetes::body(&probe, &Report::default(), false, Instant::now()), expected);
    assert_eq!(
        djblets::unready("sidecar", "starting"),
        "{\"status\":\"DOWN\",\"checks\":{},\"errors\":{\"sidecar\":\"starting\"}}\n"
    );
    let body: Value = serde_json::from_str(&health_json::unready("sidecar", "starting")).unwrap();
    assert_eq!((&body["status"], &body["output"]), (&json!("fail"), &json!("sidecar: starting")));
}

/// Replaces `{cause}` by the cause's hint, whose wording is the table's own affair.
fn with_hints(text: &str) -> String {
    let hints = Cause::ALL.iter();
    hints.fold(text.to_owned(), |text, cause| text.replace(&format!("{{{cause}}}"), cause.hint()))
}

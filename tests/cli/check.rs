//! `check`: one round, without a server.

use std::process::Output;

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::outcome::Cause;
use serde_json::Value;

use crate::{cache_canary, no_cache, stderr, stdout};

/// The output of `check` for the cache at `url`, with these arguments. It runs beside the runtime that serves the
/// cache.
async fn check(url: &str, arguments: &[&str]) -> Output {
    let mut command = cache_canary();
    command.arg("check").args(arguments).env("CACHE_URL", url);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_cache_that_works_exits_0_and_one_that_does_not_1() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let url = format!("redis://{}/0", cache.addr());
    let up = check(&url, &["default"]).await;
    assert_eq!(up.status.code(), Some(0));
    let words: Vec<_> = stdout(&up).split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        (&words[..2], &words[3..]),
        (&["default".to_owned(), "UP".to_owned()][..], &["ms".to_owned()][..])
    );

    cache.set_fault(InjectedFault::Masking).unwrap();
    let down = check(&url, &["default"]).await;
    assert_eq!(down.status.code(), Some(1));
    let line = stdout(&down);
    assert!(line.starts_with("default  DOWN  "), "{line}");
    assert!(line.contains(&format!(" ms  masked at {} in read", cache.addr())), "{line}");
    assert!(line.contains(Cause::Masked.hint()), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(stderr(&down), "");
}

#[tokio::test]
async fn json_is_the_response_of_health_with_details() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let up = check(&format!("redis://{}/0", cache.addr()), &["--format", "json"]).await;
    let up: Value = serde_json::from_str(&stdout(&up)).unwrap();
    assert_eq!(up["status"], "UP");
    assert_eq!(up["details"]["cache.default"]["nodes"][0]["node"], cache.addr().to_string());
    let down = check(&no_cache(), &["--format", "json"]).await;
    assert_eq!(down.status.code(), Some(1));
    let down: Value = serde_json::from_str(&stdout(&down)).unwrap();
    assert_eq!(down["details"]["cache.default"]["nodes"][0]["cause"], "refused");
}

#[tokio::test]
async fn a_pipe_gets_no_color_and_no_head() {
    let output = check(&no_cache(), &[]).await;
    assert!(!stdout(&output).contains('\u{1b}'), "{}", stdout(&output));
    assert!(!stdout(&output).contains("STATUS"), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("default "), "{}", stdout(&output));
}

#[test]
fn a_check_of_an_unknown_alias_exits_2_and_names_the_configured_ones() {
    let output = cache_canary().args(["check", "nope"]).env("CACHE_URL", no_cache()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).starts_with("error: no cache is named `nope`; the configured ones are default"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_monitoring_system_gets_a_line_with_figures_and_the_exit_code_of_a_plugin() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let url = format!("redis://{}/0", cache.addr());
    let up = check(&url, &["--format", "nagios"]).await;
    let line = stdout(&up);
    assert_eq!(up.status.code(), Some(0), "{line}");
    let figure =
        line.strip_prefix("CACHE OK - 1 up | 'default'=").and_then(|rest| rest.strip_suffix("ms;;;0\n"));
    assert!(figure.is_some_and(|figure| figure.parse::<f64>().unwrap() > 0.0), "{line}");

    cache.set_fault(InjectedFault::Masking).unwrap();
    let down = check(&url, &["--format", "nagios"]).await;
    assert_eq!(down.status.code(), Some(2));
    let said = stdout(&down);
    let alarm = format!("CACHE CRITICAL - default down: masked at {} in read", cache.addr());
    assert!(said.starts_with(&alarm), "{said}");
    assert!(said.lines().nth(1).unwrap().ends_with(Cause::Masked.hint()), "{said}");
}

#[test]
fn a_monitoring_system_gets_the_error_on_stdout() {
    let nagios = |arguments: &[&str], url: &str| {
        let output = cache_canary().arg("check").args(arguments).env("CACHE_URL", url).output().unwrap();
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(3), ""), "{arguments:?}");
        let said = stdout(&output);
        assert!(said.starts_with("CACHE UNKNOWN - "), "{said}");
        said
    };
    let said = nagios(&["--format", "nagios", "nope"], &no_cache());
    assert_eq!(said, "CACHE UNKNOWN - no cache is named `nope`; the configured ones are default\n");
    assert!(nagios(&["--format=nagios"], "nonsense").contains("CACHE_URL"));
    for arguments in [
        ["--format", "nagios", "--nope"],
        ["--format=nagios", "--nope", "x"],
        ["-f", "nagios", "--nope"],
        ["-fnagios", "--nope", "x"],
    ] {
        let said = nagios(&arguments, &no_cache());
        assert!(said.starts_with("CACHE UNKNOWN - unexpected argument '--nope' found"), "{said}");
    }
    assert!(nagios(&["-fnagios", "--watch"], &no_cache()).contains("remove one of the two options"));
    let output = cache_canary().args(["check", "--format", "json", "--nope"]).output().unwrap();
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""));
}

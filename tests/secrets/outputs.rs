//! [`Outputs`]: everything that the program said, and the ways to make it speak.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::sync::Mutex;

use super::marks::Marks;
use super::serving::{Environment, Serving, run};

/// The most leaks that a failure lists, and the most characters of a line that it shows.
const MOST_LEAKS: usize = 20;
const MOST_SHOWN: usize = 300;

/// The outputs so far, each with its occasion.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Mutex<Vec<(String, Vec<u8>)>>);

impl Outputs {
    pub(crate) fn add(&self, occasion: impl Into<String>, said: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().push((occasion.into(), said.into()));
    }

    fn add_run(&self, occasion: &str, Output { stdout, stderr, .. }: Output) {
        self.add(format!("{occasion}, output"), stdout);
        self.add(format!("{occasion}, errors"), stderr);
    }

    /// Wants none of them to show a secret, and enough of them to be searched.
    pub(crate) fn expect_no_leak(self, marks: &Marks, at_least: usize) {
        let (outputs, search) = (self.0.into_inner().unwrap(), marks.search());
        let bytes: usize = outputs.iter().map(|(_, said)| said.len()).sum();
        let searched = format!(
            "{} secrets, {} outputs, {bytes} bytes, SECRETS_SEED={}",
            marks.count(),
            outputs.len(),
            marks.seed()
        );
        assert!(outputs.len() >= at_least, "at least {at_least} outputs were wanted: {searched}");
        let mut leaks = BTreeSet::new();
        for (occasion, said) in outputs.iter().filter(|(_, said)| !search.leaks(said).is_empty()) {
            let said = String::from_utf8_lossy(said);
            for line in said.lines().filter(|line| !search.leaks(line.as_bytes()).is_empty()) {
                let places: Vec<_> = search.leaks(line.as_bytes()).into_iter().collect();
                let shown: String = line.chars().take(MOST_SHOWN).collect();
                leaks.insert(format!("{occasion}: {}: {shown}", places.join(", ")));
            }
        }
        let shown: Vec<_> = leaks.iter().take(MOST_LEAKS).cloned().collect();
        assert!(leaks.is_empty(), "{} leaks in {searched}:\n{}", leaks.len(), shown.join("\n"));
        let _ = writeln!(io::stdout(), "secrets: 0 leaks in {searched}");
    }
}

/// The formats of a report.
const FORMATS: [&str; 5] = ["json", "health-json", "text", "html", "kubernetes"];

/// Asks for every path in every representation, as a caller that sees details and as one that does not.
pub(crate) fn ask_everything(
    outputs: &Outputs,
    occasion: &str,
    serving: &Serving,
    token: &str,
    aliases: &[String],
) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let mut targets: Vec<String> = [
        "/",
        "/health",
        "/healthz",
        "/livez?verbose",
        "/readyz?verbose",
        "/startupz?verbose",
        "/health/group/web",
        "/metrics",
        "/transitions",
        "/openapi.json",
        "/nowhere",
        "/health/nowhere",
        "/health?format=none",
    ]
    .map(str::to_owned)
    .into();
    targets.extend(FORMATS.map(|format| format!("/health?format={format}")));
    targets.extend(aliases.iter().map(|alias| format!("/health/{alias}")));
    for target in &targets {
        outputs.add(format!("{occasion}: GET {target}"), serving.get(target, &bearer));
    }
    for target in ["/", "/health", "/transitions", "/metrics"] {
        outputs.add(format!("{occasion}: GET {target} without a token"), serving.get(target, ""));
    }
    let open_metrics = format!("{bearer}Accept: application/openmetrics-text\r\n");
    outputs.add(format!("{occasion}: OpenMetrics"), serving.get("/metrics", &open_metrics));
    outputs.add(format!("{occasion}: /events"), first_event(serving, &bearer));
    for service in ["", "refused"] {
        outputs.add(format!("{occasion}: gRPC"), grpc(serving, service, token));
    }
}

/// The representations that show the words of servers.
pub(crate) fn ask_for_words(outputs: &Outputs, occasion: &str, serving: &Serving, token: &str) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for target in ["/health", "/health?format=text", "/health?format=html", "/readyz?verbose"] {
        outputs.add(format!("{occasion}: GET {target}"), serving.get(target, &bearer));
    }
}

/// What the live feed of the page begins with.
fn first_event(serving: &Serving, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(serving.addr()).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n{head}\r\n").unwrap();
    let (mut events, mut first) = (BufReader::new(stream), Vec::new());
    while !first.ends_with(b"\n\n") && events.read_until(b'\n', &mut first).unwrap() > 0 {}
    first
}

/// The answer to a `Check` of gRPC's health protocol, with its head and its trailers.
pub(crate) fn grpc(serving: &Serving, service: &str, token: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let length = u8::try_from(service.len()).unwrap();
    let name = if service.is_empty() { Vec::new() } else { [&[10, length], service.as_bytes()].concat() };
    let message = [&[0, 0, 0, 0, u8::try_from(name.len()).unwrap()], &name[..]].concat();
    let file = folder.path().join("message");
    std::fs::write(&file, message).unwrap();
    let url = format!("http://{}/grpc.health.v1.Health/Check", serving.addr());
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-i",
        "-m",
        "10",
        "--http2-prior-knowledge",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
    ]);
    curl.args(["-H", &format!("authorization: Bearer {token}"), "--data-binary"])
        .arg(format!("@{}", file.display()));
    let output = curl.arg(url).output().unwrap();
    assert!(output.stdout.starts_with(b"HTTP/2 200"), "{output:?}");
    output.stdout
}

/// Runs every command that ends by itself.
pub(crate) fn run_everything(
    outputs: &Outputs,
    occasion: &str,
    config: Option<&str>,
    environment: &Environment,
) {
    for command in [
        &["check"][..],
        &["check", "--format", "json"],
        &["check", "--format", "nagios"],
        &["check", "--explain"],
        &["config", "check"],
        &["config", "show"],
        &["acl"],
    ] {
        outputs.add_run(&format!("{occasion}: {command:?}"), run(command, config, environment));
    }
}

/// Runs the commands that say most of a configuration.
pub(crate) fn run_in_short(
    outputs: &Outputs,
    occasion: &str,
    config: Option<&str>,
    environment: &Environment,
) {
    for command in [&["check"][..], &["config", "show"]] {
        outputs.add_run(&format!("{occasion}: {command:?}"), run(command, config, environment));
    }
}

/// Runs the commands that read a configuration that is wrong; `serve` and `check` end there too.
pub(crate) fn run_in_vain(
    outputs: &Outputs,
    occasion: &str,
    config: Option<&str>,
    environment: &Environment,
) {
    for command in [&["config", "check"][..], &["config", "show"], &["acl"], &["check"], &["serve"]] {
        let output = run(command, config, environment);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {output:?}");
        outputs.add_run(&format!("{occasion}: {command:?}"), output);
    }
}

/// Runs the commands that read the files of a configuration, one of which is wrong.
pub(crate) fn run_with_its_files(outputs: &Outputs, occasion: &str, config: &str) {
    let environment = vec![("CACHE_CANARY_LOG".to_owned(), "debug".to_owned())];
    for command in [&["config", "check"][..], &["check"], &["serve"]] {
        let output = run(command, Some(config), &environment);
        assert!(!output.status.success(), "{command:?}: {output:?}");
        outputs.add_run(&format!("{occasion}: {command:?}"), output);
    }
}

/// Runs one command.
pub(crate) fn run_one(outputs: &Outputs, arguments: &[&str], environment: &Environment) {
    outputs.add_run(&format!("{:?}", &arguments[..1]), run(arguments, None, environment));
}

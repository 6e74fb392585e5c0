//! Certificates and tokens that end soon are named with their dates, on a new connection and on a kept one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::openssl::{OpenSsl, RSA};
use crate::support::{Authority, Identity, Memcached, Redis, Sidecar, eventually, run};

const DAY: Duration = Duration::from_hours(24);

/// A time that is so many days away all the while that a test runs.
fn in_days(days: u32) -> SystemTime {
    SystemTime::now() + DAY * days + Duration::from_hours(1)
}

/// The setting that every test but one has.
const WITHIN: &str = "expires_within = \"14d\"";

/// The alias `main` at this port of `localhost`, with these TLS settings beside the trusted certificate.
fn main_at(scheme: &str, port: u16, ca_file: &str, more: &str) -> String {
    format!("[caches.main]\nurl = \"{scheme}://localhost:{port}\"\ntls = {{ ca_file = \"{ca_file}\"{more} }}")
}

/// The findings of a sidecar that is degraded because something ends soon: `ABOUT: SAID`.
fn expiring(sidecar: &Sidecar) -> Vec<String> {
    let body = sidecar.health().body;
    assert_eq!(body["status"], "DEGRADED", "{body:#}");
    let findings = body["details"]["cache.main"]["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["cause"] == "expiring"), "{body:#}");
    let said = |finding: &Value| {
        format!("{}: {}", finding["about"].as_str().unwrap(), finding["said"].as_str().unwrap())
    };
    findings.iter().map(said).collect()
}

/// The dates in the details of `main`, each with its kind.
fn dates(sidecar: &Sidecar) -> Vec<(String, String)> {
    let body = sidecar.health().body;
    let dates = body["details"]["cache.main"]["expiries"].as_array().unwrap_or_else(|| panic!("{body:#}"));
    let text = |date: &Value, key: &str| date[key].as_str().unwrap().to_owned();
    dates.iter().map(|date| (text(date, "what"), text(date, "at"))).collect()
}

fn shown(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A server whose certificate is replaced while it is stopped.
trait Server {
    fn start(identity: &Identity) -> Self;
    fn port(&self) -> u16;
    fn renew(&mut self, identity: &Identity);
}

macro_rules! server {
    ($server:ty) => {
        impl Server for $server {
            fn start(identity: &Identity) -> Self {
                Self::start_tls(identity, None)
            }

            fn port(&self) -> u16 {
                self.port()
            }

            fn renew(&mut self, identity: &Identity) {
                self.kill();
                self.install(identity);
                self.restart();
            }
        }
    };
}

server!(Redis);
server!(Memcached);

fn a_certificate_that_ends_soon_is_a_finding_until_it_is_renewed<S: Server>(scheme: &str) {
    let (authority, files) = (Authority::new(), OpenSsl::new());
    let ca_file = files.write("ca.pem", authority.certificate());
    let (good, end) = (authority.issue(&["localhost"]), in_days(3));
    let mut server = S::start(&good);
    let caches = main_at(scheme, server.port(), ca_file.to_str().unwrap(), "");
    let sidecar = Sidecar::start_with(WITHIN, &caches);
    let unasked = Sidecar::start(&caches);
    let excepted = Sidecar::start_with(WITHIN, format!("{caches}\nexpires_within = \"1d\""));
    [&sidecar, &unasked, &excepted].into_iter().for_each(Sidecar::expect_up);

    server.renew(&authority.issue_until(&["localhost"], end));
    for kept in [false, true, true] {
        let expected = format!(
            "server certificate \"localhost\" of localhost:{}: ends at {}, in 3 d 0 h (degraded within 14d)",
            server.port(),
            shown(end)
        );
        assert_eq!(expiring(&sidecar), [expected]);
        let phases = &sidecar.health().body["details"]["cache.main"]["nodes"][0]["phases_ms"];
        assert!(!kept || phases["tls"].is_null(), "{phases}");
    }
    let series = format!(
        "cache_expiry_timestamp_seconds{{alias=\"main\",node=\"localhost:{}\",what=\"server_certificate\"}} ",
        server.port()
    );
    for other in [&unasked, &excepted] {
        other.expect_up();
        assert_eq!(dates(other), [("server_certificate".to_owned(), shown(end))]);
        let metrics = other.raw("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap();
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let expected = Duration::from_secs(seconds).as_secs_f64();
        assert!((value.parse::<f64>().unwrap() - expected).abs() < 0.5, "{metrics}");
    }

    server.renew(&good);
    [&sidecar, &unasked, &excepted].into_iter().for_each(Sidecar::expect_up);
}

#[test]
fn a_certificate_of_redis_that_ends_soon_is_a_finding_until_it_is_renewed() {
    a_certificate_that_ends_soon_is_a_finding_until_it_is_renewed::<Redis>("rediss");
}

#[test]
fn a_certificate_of_memcached_that_ends_soon_is_a_finding_until_it_is_renewed() {
    a_certificate_that_ends_soon_is_a_finding_until_it_is_renewed::<Memcached>("memcacheds");
}

#[test]
fn every_representation_names_what_ends_soon_and_hides_it_from_a_caller_without_details() {
    let (authority, files) = (Authority::new(), OpenSsl::new());
    let ca_file = files.write("ca.pem", authority.certificate());
    let redis = Redis::start_tls(&authority.issue_until(&["localhost"], in_days(3)), None);
    let config = main_at("rediss", redis.port(), ca_file.to_str().unwrap(), "");
    let sidecar = Sidecar::start_with(WITHIN, &config);
    let named = "server certificate \"localhost\" of localhost:";
    for path in ["/health?format=text", "/health", "/health?format=health-json", "/"] {
        let answer = sidecar.raw(path).replace("\\\"", "\"").replace("&quot;", "\"").replace("<wbr>", "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains("expiring") && answer.contains(named), "{path}: {answer}");
        assert!(answer.contains(", in 3 d 0 h"), "{path}: {answer}");
    }
    assert!(sidecar.raw("/").contains("<h2>Certificates and tokens</h2>"));
    let ready = sidecar.raw("/readyz?verbose");
    assert!(ready.contains("[+]cache.main ok: degraded"), "{ready}");
    let failures = "cache_check_failures_total{alias=\"main\",check=\"round_trip\",cause=\"expiring\"}";
    assert!(sidecar.raw("/metrics").contains(failures));

    let config = format!("{WITHIN}\n{config}");
    for (format, code, beginning) in [("table", 0, ""), ("nagios", 1, "CACHE WARNING")] {
        let output = run(&["check", "--format", format], &config);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with(beginning) && said.contains("expiring") && said.contains(named), "{said}");
    }

    let strangers = Sidecar::start_with(&format!("{WITHIN}\naccess.details = []"), &config[WITHIN.len()..]);
    for path in ["/health?format=text", "/health", "/health?format=health-json", "/", "/metrics"] {
        let answer = strangers.raw(path);
        assert!(answer.contains("expiring"), "{path}: {answer}");
        for hidden in ["localhost:", "in 3 d", "certificate \"localhost\"", "expiry_timestamp_seconds{"] {
            assert!(!answer.contains(hidden), "{path}: {hidden}: {answer}");
        }
    }
}

#[test]
fn of_a_chain_the_first_certificate_to_end_is_named() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let chain = |name: &str, days: u32| {
        let own = format!("{name}-own");
        let authority = "basicConstraints=critical,CA:TRUE";
        files.issue(name, "ca", RSA, authority, &format!("-days {days}"));
        let leaf = files.issue(&own, name, RSA, "subjectAltName=DNS:localhost", "");
        let chain =
            [&leaf, &files.identity(name), &files.identity("ca")].map(|one| one.certificate().to_owned());
        Identity::of(chain.concat(), leaf.key().to_owned())
    };
    let (good, short) = (chain("good", 30), chain("short", 3));
    let mut redis = Redis::start_tls(&good, None);
    let ca_file = files.path("ca.pem");
    let caches = main_at("rediss", redis.port(), ca_file.to_str().unwrap(), "");
    let sidecar = Sidecar::start_with(WITHIN, caches);
    sidecar.expect_up();
    redis.renew(&short);
    let found = expiring(&sidecar);
    assert_eq!(found.len(), 1, "{found:?}");
    let beginning = format!("certificate \"localhost\" in the server's chain of localhost:{}", redis.port());
    assert!(found[0].starts_with(&beginning) && found[0].contains("in 2 d 23 h"), "{found:?}");
    let kinds: Vec<_> = dates(&sidecar).into_iter().map(|(what, _)| what).collect();
    assert_eq!(kinds, ["chain", "server_certificate"], "the nearest first");
    redis.renew(&good);
    sidecar.expect_up();
}

#[test]
fn the_client_certificate_is_of_the_alias_and_is_read_again_when_it_is_renewed() {
    let (authority, files) = (Authority::new(), OpenSsl::new());
    let ca_file = files.write("ca.pem", authority.certificate());
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), Some(&authority));
    let write = |identity: &Identity| {
        let [cert, key] = [("client.pem", identity.certificate()), ("client.key", identity.key())]
            .map(|(name, pem)| files.write(name, pem));
        format!(", cert_file = {cert:?}, key_file = {key:?}")
    };
    let good = authority.issue(&["canary"]);
    let more = write(&good);
    let caches = main_at("rediss", redis.port(), ca_file.to_str().unwrap(), &more);
    let sidecar = Sidecar::start_with(WITHIN, caches);
    sidecar.expect_up();
    let end = in_days(5);
    write(&authority.issue_until(&["canary"], end));
    sidecar.signal(Signal::HUP);
    eventually("the certificate is read", || sidecar.health().body["status"] == "DEGRADED");
    let expected =
        format!("client certificate \"canary\": ends at {}, in 5 d 0 h (degraded within 14d)", shown(end));
    assert_eq!(expiring(&sidecar), [expected]);
    let series = "cache_expiry_timestamp_seconds{alias=\"main\",what=\"client_certificate\"}";
    assert!(sidecar.raw("/metrics").contains(series));
    write(&good);
    sidecar.signal(Signal::HUP);
    eventually("the renewed one is read", || sidecar.health().body["status"] == "UP");
}

#[test]
fn a_password_that_is_a_token_ends_with_it_and_is_not_shown() {
    let token = |end: SystemTime| {
        let exp = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = encoded(&format!("{{\"sub\":\"canary\",\"exp\":{exp}}}"));
        format!("{}.{claims}.{}", encoded("{\"alg\":\"HS256\"}"), encoded("not verified"))
    };
    let redis = Redis::start(&[]);
    let files = OpenSsl::new();
    let (good, end) = (token(in_days(30)), in_days(2));
    let short = token(end);
    let password_file = files.write("password", &good);
    let login = |password: &str| {
        redis.require_password(password);
        fs::write(&password_file, password).unwrap();
    };
    login(&good);
    let caches =
        format!("[caches.main]\nurl = \"redis://{}\"\npassword_file = {password_file:?}", redis.addr());
    let sidecar = Sidecar::start_with(WITHIN, caches);
    sidecar.expect_up();
    login(&short);
    sidecar.signal(Signal::HUP);
    eventually("the token is read", || sidecar.health().body["status"] == "DEGRADED");
    let expected = format!("token (password): ends at {}, in 2 d 0 h (degraded within 14d)", shown(end));
    assert_eq!(expiring(&sidecar), [expected]);
    for path in ["/health", "/", "/metrics"] {
        let answer = sidecar.raw(path);
        assert!(short.split('.').all(|part| !answer.contains(part)), "{path}: {answer}");
    }
    login(&good);
    sidecar.signal(Signal::HUP);
    eventually("the renewed one is read", || sidecar.health().body["status"] == "UP");
}

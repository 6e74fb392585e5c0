//! Tokens of AWS IAM as passwords: the endpoints of credentials are servers of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::{Authority, Redis, Relay, Sidecar, https, python};

/// Every check dials.
const DIAL: &str = "reconnect_every = \"0s\"";

const SESSION: &str = "made//up+session==";

/// The lines, each with the token that botocore signs for its parts at its end.
fn signed_by_botocore(lines: &str) -> String {
    let mut command = python("redis/aws_token.py", &[]);
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    script.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// An endpoint of credentials, which keeps the last request and answers what a test wants.
struct Endpoint {
    addr: SocketAddr,
    /// The response, and the last request with its body.
    state: Arc<Mutex<(String, String)>>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self { addr: listener.local_addr().unwrap(), state: Arc::default() };
        let state = endpoint.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") {
                    assert!(stream.read_line(&mut request).unwrap() > 0, "{request}");
                }
                let length = request.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                request.push_str(std::str::from_utf8(&body).unwrap());
                let mut state = state.lock().unwrap();
                state.1 = request;
                stream.get_mut().write_all(state.0.as_bytes()).unwrap();
            }
        });
        endpoint
    }

    fn answers(&self, status: &str, body: &str) {
        self.state.lock().unwrap().0 = response(status, body);
    }

    fn request(&self) -> String {
        self.state.lock().unwrap().1.clone()
    }

    fn url(&self) -> PathBuf {
        format!("http://{}/credentials?of=this", self.addr).into()
    }
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Credentials as containers get them, which expire so much later than now.
fn of_container(lasts: Duration) -> String {
    let expires = humantime::format_rfc3339_seconds(SystemTime::now() + lasts);
    format!(
        r#"{{"AccessKeyId": "AKIDCONTAINER", "SecretAccessKey": "made/up+secret", "Token": "{SESSION}",
           "Expiration": "{expires}"}}"#
    )
}

/// Credentials as STS gives them.
fn of_sts() -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
         <AssumeRoleWithWebIdentityResult><Credentials>\n<SessionToken>{SESSION}</SessionToken>\n\
         <SecretAccessKey>made/up+secret</SecretAccessKey>\n<Expiration>2999-11-30T12:00:00Z</Expiration>\n\
         <AccessKeyId>AKIDOFSTS</AccessKeyId>\n</Credentials></AssumeRoleWithWebIdentityResult>\n\
         </AssumeRoleWithWebIdentityResponse>"
    )
}

/// A Redis that lets in the user `canary` with any password, and a relay before it that keeps the last one.
struct Seen {
    redis: Redis,
    relay: Relay,
    token: Arc<Mutex<String>>,
    /// The answer to a GET, in place of the server's.
    lie: Arc<Mutex<Option<String>>>,
}

impl Seen {
    fn start() -> Self {
        let redis = Redis::start(&[]);
        let (token, lie) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<Option<String>>>::default());
        let (kept, told) = (token.clone(), lie.clone());
        let before = move |piece: &[u8]| {
            let piece = String::from_utf8_lossy(piece);
            if let Some(at) = piece.find("AUTH\r\n$6\r\ncanary\r\n") {
                piece[at..].split("\r\n").nth(4).unwrap().clone_into(&mut kept.lock().unwrap());
            }
            true
        };
        // The value that is read is the only answer that begins so.
        let lie_about = move |answer: &[u8]| {
            let lie =
                told.lock().unwrap().clone().filter(|_| answer.starts_with(b"+OK") && answer.len() == 5);
            Some(lie.map_or_else(|| answer.to_vec(), String::into_bytes))
        };
        let relay = Relay::start_lying(redis.addr(), before, lie_about);
        let seen = Self { redis, relay, token, lie };
        seen.lets_in("nopass");
        seen
    }

    fn lets_in(&self, password: &str) {
        self.redis.set_user("canary", &format!("on {password} ~* +@all"));
    }

    fn cache(&self, more: &str) -> String {
        let aws = "auth.aws.cluster = \"my-cache\"\nauth.aws.user = \"canary\"";
        format!("[caches.main]\nurl = \"redis://{}\"\n{aws}\n{more}", self.relay.addr())
    }

    /// The last token, once botocore has signed the same one with these parts at its time.
    fn token(&self, parts: &str) -> String {
        let token = self.token.lock().unwrap().clone();
        let (_, at) = token.split_once("X-Amz-Date=").unwrap();
        let at = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &at[..4],
            &at[4..6],
            &at[6..8],
            &at[9..11],
            &at[11..13],
            &at[13..15]
        );
        let line = format!("{parts} {at}");
        assert_eq!(format!("{line} {token}\n"), signed_by_botocore(&line));
        token
    }
}

fn keys(session: &str) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".into()),
        ("AWS_SECRET_ACCESS_KEY", "made/up+secret".into()),
        ("AWS_SESSION_TOKEN", session.into()),
        ("AWS_DEFAULT_REGION", "eu-west-1".into()),
    ]
}

#[test]
fn the_recorded_tokens_are_those_of_botocore() {
    let recorded = include_str!("aws_tokens.txt");
    let parts: Vec<_> = recorded.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(signed_by_botocore(&parts.join("\n")), recorded);
}

#[test]
fn credentials_of_a_container_that_are_refused_are_down_with_the_words_until_they_are_given() {
    let (seen, endpoint, folder) = (Seen::start(), Endpoint::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("token");
    fs::write(&file, "made-up-authorization\n").unwrap();
    endpoint.answers("200 OK", &of_container(Duration::from_hours(1)));
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
        ("AWS_REGION", "eu-west-1".into()),
    ];
    let sidecar = Sidecar::launch(DIAL, seen.cache(""), &environment);
    sidecar.expect_up();
    let request = endpoint.request();
    assert!(request.starts_with("GET /credentials?of=this HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nauthorization: made-up-authorization\r\n"), "{request}");
    let parts =
        format!("elasticache my-cache canary eu-west-1 cluster AKIDCONTAINER made/up+secret {SESSION}");
    let token = seen.token(&parts);
    // From here on only this token is let in.
    seen.lets_in(&format!(">{token}"));
    sidecar.expect_up();
    endpoint.answers("403 Forbidden", "{\"message\": \"no role for made-up-authorization\"}\n");
    sidecar.expect_up();
    seen.lets_in(">another");
    let words = sidecar.expect_down("auth");
    let expected =
        "auth auth.aws got status 403 from 127.0.0.1, not credentials: {\"message\": \"no role for ***\"}";
    assert!(words.ends_with(expected), "{words}");
    assert!(sidecar.raw("/health?format=text").contains("No token could be signed"));
    endpoint.answers("200 OK", &of_container(Duration::from_hours(1)));
    seen.lets_in("nopass");
    sidecar.expect_up();
    seen.token(&parts);
    let shown = sidecar.log() + &sidecar.raw("/health") + &sidecar.raw("/metrics");
    for secret in ["up-auth", "up+secret", "up+session", "Signature"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[test]
fn a_web_identity_becomes_credentials_at_sts_and_its_token_is_sent_again_for_each() {
    let (seen, sts, folder) = (Seen::start(), Endpoint::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("identity");
    fs::write(&file, "made.up.identity").unwrap();
    sts.answers("200 OK", &of_sts());
    let environment = [
        ("AWS_ENDPOINT_URL_STS", format!("http://{}", sts.addr).into()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.clone()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/canary".into()),
        ("AWS_ROLE_SESSION_NAME", "sidecar".into()),
    ];
    let more = "auth.aws.service = \"memorydb\"\nauth.aws.region = \"eu-central-1\"";
    let sidecar = Sidecar::launch(DIAL, seen.cache(more), &environment);
    sidecar.expect_up();
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
                &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fcanary&RoleSessionName=sidecar&WebIdentityToken=";
    let request = sts.request();
    assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(&format!("\r\n\r\n{form}made.up.identity")), "{request}");
    let parts = format!("memorydb my-cache canary eu-central-1 cluster AKIDOFSTS made/up+secret {SESSION}");
    seen.token(&parts);
    let denied = "<ErrorResponse>\n  <Error>\n    <Code>AccessDenied</Code>\n\
                  <Message>made.up.another is not allowed</Message>\n</Error></ErrorResponse>";
    sts.answers("403 Forbidden", denied);
    fs::write(&file, "made.up.another").unwrap();
    seen.lets_in(">another");
    let words = sidecar.expect_down("auth");
    let expected = "auth.aws got status 403 from 127.0.0.1, not credentials: *** is not allowed";
    assert!(words.ends_with(expected), "{words}");
    assert!(sts.request().ends_with(&format!("{form}made.up.another")));
    sts.answers("200 OK", &of_sts());
    seen.lets_in("nopass");
    sidecar.expect_up();
}

#[test]
fn sts_is_asked_over_tls_and_only_with_a_certificate_that_is_trusted() {
    let (seen, folder) = (Seen::start(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let authority = Authority::new();
    let answer = response("200 OK", &of_sts()).leak().as_bytes();
    let sts = https::serve(&authority.issue(&["127.0.0.1"]), None, answer);
    let mut environment = vec![
        ("AWS_ENDPOINT_URL", format!("https://{sts}").into()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file("identity", "made.up.identity")),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/canary".into()),
        ("AWS_REGION", "eu-west-1".into()),
    ];
    let sidecar = Sidecar::launch(DIAL, seen.cache(""), &environment);
    let words = sidecar.expect_down("auth");
    let expected =
        "auth.aws cannot get credentials from 127.0.0.1: the server's certificate is of an unknown issuer";
    assert!(words.contains(expected), "{words}");
    environment.push(("AWS_CA_BUNDLE", file("authority.pem", &authority.certificate())));
    let sidecar = Sidecar::launch(DIAL, seen.cache(""), &environment);
    sidecar.expect_up();
    seen.token(&format!("elasticache my-cache canary eu-west-1 cluster AKIDOFSTS made/up+secret {SESSION}"));
}

#[test]
fn keys_of_the_environment_sign_for_a_serverless_cache() {
    for session in ["", SESSION] {
        let seen = Seen::start();
        let sidecar = Sidecar::launch(DIAL, seen.cache("auth.aws.serverless = true"), &keys(session));
        sidecar.expect_up();
        let session = if session.is_empty() { "-" } else { session };
        let parts = "elasticache my-cache canary eu-west-1 serverless AKIDEXAMPLE made/up+secret";
        seen.token(&format!("{parts} {session}"));
        let dates = sidecar.raw("/health/main");
        assert!(dates.contains("auth.aws"), "the end of the token is among the dates: {dates}");
    }
}

#[test]
fn a_server_that_quotes_a_token_shows_its_words_and_not_its_secrets() {
    let seen = Seen::start();
    let sidecar = Sidecar::launch(DIAL, seen.cache(""), &keys(SESSION));
    sidecar.expect_up();
    let token = seen.token.lock().unwrap().clone();
    *seen.lie.lock().unwrap() = Some(format!("-ERR no connection for {}\r\n", &token[token.len() - 200..]));
    let words = sidecar.health().fault_of("cache.main").unwrap().1;
    assert!(words.contains("no connection for"), "{words}");
    assert!(words.contains("X-Amz-Signature=***"), "{words}");
    assert!(!words.contains("made") && !words.contains(&token[token.len() - 5..]), "{words}");
}

#[test]
fn a_token_ends_with_its_credentials_and_a_response_without_any_is_described() {
    let (seen, endpoint) = (Seen::start(), Endpoint::start());
    let environment =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url()), ("AWS_REGION", "eu-west-1".into())];
    let credentials = of_container(Duration::from_mins(5));
    endpoint.answers("200 OK", &credentials);
    let sidecar = Sidecar::launch(DIAL, seen.cache(""), &environment);
    sidecar.expect_up();
    let (_, expires) = credentials.split_once("\"Expiration\": \"").unwrap();
    let dates = sidecar.raw("/health/main");
    assert!(dates.contains(&expires[..20]), "{expires} in {dates}");
    for (status, body, expected) in [
        ("200 OK", "{}", "got a response without credentials from 127.0.0.1"),
        ("200 OK", "made//up+session", "got a response without credentials from 127.0.0.1"),
        (
            "200 OK",
            &"made//up+session".repeat(5000),
            "cannot get credentials from 127.0.0.1: length limit exceeded",
        ),
        ("200 OK", &of_container(Duration::ZERO), "gave a password that expired at "),
        ("500 Error", "", "got status 500 from 127.0.0.1, not credentials"),
    ] {
        endpoint.answers(status, body);
        seen.lets_in(">another");
        let words = sidecar.expect_down("auth");
        assert!(words.contains(&format!("auth.aws {expected}")) && !words.contains("made"), "{words}");
        endpoint.answers("200 OK", &credentials);
        seen.lets_in("nopass");
        sidecar.expect_up();
    }
}

#[test]
fn an_environment_that_is_not_complete_is_named() {
    let seen = Seen::start();
    let region = ("AWS_REGION", "eu-west-1");
    for (environment, expected) in [
        (vec![], "has no region; set `region` beside `cluster`, or AWS_REGION in the environment"),
        (vec![region], "has no credentials; set AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE or"),
        (vec![region, ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")], "has a key ID without AWS_SECRET_ACCESS_KEY"),
        (
            vec![region, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/identity"), ("AWS_ROLE_ARN", "arn")],
            "cannot read /nowhere/identity: No such file or directory",
        ),
        (
            vec![region, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/credentials")],
            "asks 192.0.2.1 for no credentials without TLS; begin the URL with https://",
        ),
        (
            vec![region, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "credentials")],
            "has a variable for credentials that is no http or https URL",
        ),
    ] {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.into())).collect();
        let sidecar = Sidecar::launch(DIAL, seen.cache(""), &environment);
        let words = sidecar.expect_down("auth");
        assert!(words.contains(&format!("auth.aws {expected}")), "{words}");
    }
}

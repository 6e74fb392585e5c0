//! The properties of memcached's answers.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::discovery::{self, Configuration};
use super::{Credentials, Dialect, Memcached, StoreRefusal, fault};
use crate::cache::Cache as _;
use crate::cache::connection::scripted::{
    Cut, End, ScriptedServer, conversation, expect_round_trips, link_target, within,
};
use crate::cache::connection::{ANSWER_LIMIT, Connection};
use crate::canary::fuzzing::{first_canary, is_proof, named_series};
use crate::canary::{Canary, CanaryVerdict, Unset};
use crate::embedded::fuzzing as embedded;
use crate::outcome::Role;
use crate::progress::Progress;
use crate::redaction::Redaction;

const DIALECTS: [Dialect; 3] = [Dialect::Meta, Dialect::Classic, Dialect::Binary];

/// A command whose answer is read.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Store,
    Find,
    Stats,
    Configuration,
}

impl Ask {
    /// The answer in words.
    async fn answer(
        self,
        server: &Memcached,
        canary: &Canary,
        connection: &mut Connection,
    ) -> Result<String, StoreRefusal> {
        Ok(match self {
            Self::Store => format!("{:?}", server.store(connection, canary).await?),
            Self::Find => format!("{:?}", server.find(connection, canary.key()).await?),
            Self::Stats => format!("{:?}", server.stats_of(connection, "").await?),
            Self::Configuration => format!("{:?}", discovery::ask(connection, server.dialect()).await?),
        })
    }
}

const PASSWORD: &str = "Jq8-Vw3%kX\"n5Tz";

fn server(dialect: Dialect, has_credentials: bool) -> Memcached {
    let (target, dialer) = link_target();
    let credentials = Credentials { username: "canary".to_owned(), password: PASSWORD.into() };
    let credentials = has_credentials.then(|| Arc::new(credentials));
    let server = Memcached::new(target, credentials.as_ref(), &dialer);
    server.remember(dialect);
    server
}

/// Answers in each of memcached's protocols. The first byte of the input decides where the others are cut.
///
/// An answer is the same at any cut, and has no more bytes than its command allows. A round of commands ends if the server
/// does, shows no password, and passes only if the canary came back. An embedded server takes any commands, and a canary at
/// it is intact.
pub fn memcached(input: &[u8]) {
    let Some((&seed, answer)) = input.split_first() else { return };
    let canary = first_canary();
    for dialect in DIALECTS {
        for ask in [Ask::Store, Ask::Find, Ask::Stats, Ask::Configuration] {
            let whole = read(dialect, ask, &canary, answer, Cut::Whole);
            for cut in [Cut::Bytes, Cut::Random(seed)] {
                assert_eq!(read(dialect, ask, &canary, answer, cut), whole, "{dialect:?}, {ask:?}, {cut:?}");
            }
        }
        check(dialect, answer, Cut::Random(seed));
    }
    greet(answer, Cut::Random(seed));
    embedded::memcached()(answer);
    round_trips(answer, Cut::Random(seed));
    if let Ok(Configuration { members, .. }) = discovery::parse(answer) {
        assert!((1..=discovery::MAX_MEMBERS).contains(&members.len()));
    }
}

/// A request with a number that the server has to repeat, in an answer that was recorded.
fn with_opaque(request: &[u8], mut answer: Vec<u8>) -> Vec<u8> {
    if let ([0x80, ..], Some(opaque), Some(0x81)) = (request, request.get(12..16), answer.first())
        && let Some(place) = answer.get_mut(12..16)
    {
        place.copy_from_slice(opaque);
    }
    answer
}

fn read(dialect: Dialect, ask: Ask, canary: &Canary, answer: &[u8], cut: Cut) -> String {
    let server = server(dialect, false);
    let filled_in = canary.filled_in(answer);
    let length = filled_in.len();
    let answered = move |request: &[u8]| with_opaque(request, filled_in.clone());
    let (mut connection, read) = ScriptedServer::new(cut, End::Closed, answered).connect();
    let answer = within(64 * length + 64, ask.answer(&server, canary, &mut connection));
    let answer = answer.expect("the connection is closed, so there is nothing to wait for");
    // Two commands at most.
    let read = read.load(Ordering::Relaxed);
    assert!(read <= 2 * ANSWER_LIMIT, "{ask:?} has read {read} bytes");
    answer.unwrap_or_else(|refusal| {
        fault(&refusal, &Progress::begin().node(&"node".into(), Role::Server)).cause.to_string()
    })
}

/// A round trip over a kept connection.
fn check(dialect: Dialect, answer: &[u8], cut: Cut) {
    let (server, canary) = (Arc::new(server(dialect, false)), first_canary());
    let (connection, _) = conversation(&canary.filled_in(answer), cut, with_opaque).connect();
    let node = Progress::begin().node(&"node".into(), Role::Server);
    let round = async {
        server.link.keep(connection).ok()?;
        server.set(&canary, &node).await.ok()?;
        let read = server.get(canary.key(), Unset::new(), &node).await.ok()?;
        server.delete(canary.key(), &node).await.ok();
        Some(canary.judge(&read))
    };
    let verdict = within(64 * answer.len() + 64, round).expect("the connection is closed");
    assert!(verdict != Some(CanaryVerdict::Intact) || is_proof(answer), "nobody wrote the canary");
}

/// The commands before the first canary.
fn greet(answer: &[u8], cut: Cut) {
    for (dialect, has_credentials) in
        DIALECTS.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)])
    {
        let server = server(dialect, has_credentials);
        let (connection, _) = conversation(answer, cut, with_opaque).connect();
        let progress = Progress::begin_explained();
        progress.conceal(&Redaction::of_secret(PASSWORD.into()));
        let node = progress.node(&"node".into(), Role::Server);
        let greeted = async {
            match dialect {
                Dialect::Binary => server.begin_in_binary(connection, &node).await.map(drop),
                Dialect::Meta | Dialect::Classic => server.begin_in_text(connection, &node).await.map(drop),
            }
        };
        let greeted = within(64 * answer.len() + 64, greeted);
        if let Err(fault) = greeted.expect("the connection is closed, so there is nothing to wait for") {
            assert!(!fault.said.contains(PASSWORD), "{fault}");
        }
    }
}

/// Canaries under any names, written to an embedded server.
fn round_trips(names: &[u8], cut: Cut) {
    for dialect in [Dialect::Meta, Dialect::Classic] {
        let server = Arc::new(server(dialect, false));
        let mut answers = embedded::memcached();
        let answer = move |command: &[u8]| answers(command).0;
        let (connection, _) = ScriptedServer::new(cut, End::Open, answer).connect();
        assert!(server.link.keep(connection).is_ok());
        expect_round_trips(&server, &named_series(names));
    }
}

//! A storm: a thousand callers on kept connections, while their cache is killed and restarted twice. A caller during
//! an outage gets DOWN, one that asks when it is back gets UP, and neither the sidecar nor the cache is any worse
//! for it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::flood::raise_limit_of_files;
use crate::support::{MAX_WAIT, Memcached, Redis, Sidecar, alone, eventually};

const CALLERS: u32 = 1000;

/// How long a caller waits after an answer, so that two cores hold callers, sidecar and cache, debug builds all.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a verdict may be shared: the product's default.
const MAX_AGE: Duration = Duration::from_millis(100);

/// The deadline of a check. A busy machine must not make a healthy cache slower than this.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most that a busy machine may add to it.
const SCHEDULING: Duration = Duration::from_secs(3);

/// How many more writes a server may have seen than a check for each `max_age`: the first check of its life, one that
/// finds its connection closed, and memcached's second write where there is nothing to replace under either key.
const MORE_WRITES: u128 = 5;

/// How long the cache lives before each of its deaths and after the last, and how long it is dead, at the least: each goes
/// on until so many have asked and were answered in it, which takes a busy machine longer.
const LIVES: Duration = Duration::from_millis(2400);
const DEAD: Duration = Duration::from_millis(1400);
const ANSWERS: usize = 200;

/// The most memory that an open connection may take of the sidecar.
const CONNECTION_KIB: usize = 64;

/// The most growth of memory while the callers stay the same.
const SLACK_KIB: usize = 4 * 1024;

/// The buffers of a connection that is asked on. It gives them back between two requests, and an outage has all callers
/// wait at once.
const BUFFERS_KIB: usize = 18;

/// The answer to a caller.
struct Answer {
    asked: Instant,
    answered: Instant,
    is_up: bool,
}

/// From one moment to another.
#[derive(Clone, Copy)]
struct Span(Instant, Instant);

impl Span {
    /// Whether it was asked and answered within, but not in the first `grace` of it.
    fn holds(self, answer: &Answer, grace: Duration) -> bool {
        let Self(from, to) = self;
        answer.asked >= from + grace && answer.answered <= to
    }
}

/// A cache that can be killed and restarted, and counts the canaries that were written to it in this life.
trait Mortal {
    fn kill(&mut self);
    fn restart(&mut self);
    fn written(&self) -> u128;
}

impl Mortal for Redis {
    fn kill(&mut self) {
        Redis::kill(self);
    }

    fn restart(&mut self) {
        Redis::restart(self);
    }

    fn written(&self) -> u128 {
        let stats = self.command(&["INFO", "commandstats"]);
        let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
        set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }
}

impl Mortal for Memcached {
    fn kill(&mut self) {
        Memcached::kill(self);
    }

    fn restart(&mut self) {
        Memcached::restart(self);
    }

    fn written(&self) -> u128 {
        self.stat("cmd_set").parse().unwrap()
    }
}

#[test]
fn a_thousand_callers_while_a_redis_is_killed_and_restarted_twice() {
    let redis = Redis::start(&[]);
    let url = format!("redis://{}", redis.addr());
    storm(redis, &url);
}

#[test]
fn a_thousand_callers_while_a_memcached_is_killed_and_restarted_twice() {
    let memcached = Memcached::start(&[]);
    let url = format!("memcached://{}", memcached.addr());
    storm(memcached, &url);
}

fn storm(mut cache: impl Mortal, url: &str) {
    let _turn = alone();
    raise_limit_of_files();
    let settings =
        format!("max_age = \"{}ms\"\ntimeout = \"{}ms\"", MAX_AGE.as_millis(), TIMEOUT.as_millis());
    let sidecar = Sidecar::start_with(&settings, format!("[caches.main]\nurl = \"{url}\""));
    sidecar.expect_up();
    let (idle_kib, idle_files) = (sidecar.own_kib(), sidecar.open_files());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller =
            call(sidecar.addr().to_owned(), PAUSE / CALLERS * number, answers.clone(), is_over.clone());
        callers.spawn_on(caller, runtime.handle());
    }
    // A connection that has ended meanwhile may have been counted among the idle files.
    let most = idle_files + CALLERS as usize - 4;
    eventually("all callers are connected", || sidecar.open_files() >= most);

    let (mut healthy, mut dead, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let (mut born, mut back) = (Instant::now(), Instant::now());
    let mut written_before = cache.written();
    loop {
        memory.push(live(LIVES, back, &answers, &sidecar));
        let (written, lived) = (cache.written() - written_before, born.elapsed());
        let most = lived.as_millis() / MAX_AGE.as_millis() + MORE_WRITES;
        assert!((1..=most).contains(&written), "{written} canaries were written in {lived:?}");
        healthy.push(Span(back, Instant::now()));
        if healthy.len() == 3 {
            break;
        }
        cache.kill();
        let died = Instant::now();
        memory.push(live(DEAD, died, &answers, &sidecar));
        (born, written_before) = (Instant::now(), 0);
        dead.push(Span(died, born));
        cache.restart();
        back = Instant::now();
        // No verdict that may still be shared is from before; the first one after is up.
        thread::sleep(MAX_AGE);
        sidecar.expect_up();
    }
    is_over.store(true, Ordering::SeqCst);
    let results = runtime.block_on(callers.join_all());

    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(errors.is_empty(), "{} callers had no answer: {}", errors.len(), errors[0]);
    let answers = answers.lock().unwrap();
    let slowest = answers.iter().map(|answer| answer.answered - answer.asked).max().unwrap();
    assert!(slowest < TIMEOUT + SCHEDULING, "an answer took {slowest:?}");
    // That it is dead is seen at once, and that it is back only by a check that began after.
    for (spans, grace, is_up) in [(&dead, Duration::ZERO, false), (&healthy, MAX_AGE, true)] {
        for span in spans {
            let told: Vec<_> = answers.iter().filter(|answer| span.holds(answer, grace)).collect();
            assert!(told.len() >= ANSWERS, "{} answers", told.len());
            let wrong = told.iter().filter(|answer| answer.is_up != is_up).count();
            assert_eq!(wrong, 0, "of {} answers while being up was {is_up}", told.len());
        }
    }

    // The cost of a caller is its connection, and not its requests: the outages and the last thousands of answers add
    // nothing to what the first had taken but buffers, which are given back.
    let (first, most) = (memory[0], memory.iter().copied().max().unwrap());
    assert!(most < idle_kib + CONNECTION_KIB * CALLERS as usize, "{most} KiB, and {idle_kib} when idle");
    assert!(most < first + BUFFERS_KIB * CALLERS as usize + SLACK_KIB, "{memory:?} KiB");
    eventually("the callers' connections are closed", || sidecar.open_files() <= idle_files + 1);
    eventually("the memory is given back", || sidecar.own_kib() < idle_kib + SLACK_KIB);
}

/// Lets time pass, and says how much memory the sidecar has taken at most.
fn live(time: Duration, since: Instant, answers: &Mutex<Vec<Answer>>, sidecar: &Sidecar) -> usize {
    let began = Instant::now();
    let mut most = 0;
    let told = || {
        let span = Span(since, Instant::now());
        answers.lock().unwrap().iter().filter(|answer| span.holds(answer, MAX_AGE)).count()
    };
    while began.elapsed() < time || told() < ANSWERS {
        assert!(began.elapsed() < MAX_WAIT, "too few answers");
        most = most.max(sidecar.own_kib());
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Asks on one connection until the storm is over, and adds each answer to `answers`.
async fn call(
    addr: String,
    after: Duration,
    answers: Arc<Mutex<Vec<Answer>>>,
    is_over: Arc<AtomicBool>,
) -> Result<(), String> {
    tokio::time::sleep(after).await;
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(addr).await.map_err(failed)?;
    let mut received = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let asked = Instant::now();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.map_err(failed)?;
        received.clear();
        let is_up = loop {
            if stream.read_buf(&mut received).await.map_err(failed)? == 0 {
                return Err("the connection was closed".to_owned());
            }
            if let Some(is_up) = read(&received)? {
                break is_up;
            }
        };
        answers.lock().unwrap().push(Answer { asked, answered: Instant::now(), is_up });
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether an answer says UP, once all of it was received.
fn read(received: &[u8]) -> Result<Option<bool>, String> {
    let text = std::str::from_utf8(received).map_err(|error| error.to_string())?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).ok_or_else(|| text.to_owned())?;
    if body.len() < length {
        return Ok(None);
    }
    let begins = |code: &str, status: &str| head.starts_with(code) && body.starts_with(status);
    match (begins("HTTP/1.1 200", "{\"status\":\"UP\""), begins("HTTP/1.1 503", "{\"status\":\"DOWN\"")) {
        (true, false) if body.len() == length => Ok(Some(true)),
        (false, true) if body.len() == length => Ok(Some(false)),
        _ => Err(text.to_owned()),
    }
}

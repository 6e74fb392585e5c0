//! Rounds with a paused clock: of caches that are down at once, and of scripted checks, which hang for as long as a test
//! says. No cache can hang a check so, since a deadline bounds every request to it; code before the deadline could.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::*;
use crate::alias::Alias;
use crate::app::App;
use crate::catalog::Selection;
use crate::config::{Address, Backend, CacheConfig, CheckId, Config, RedisConfig, RedisServers};
use crate::http::access::Caller;
use crate::http::router;
use crate::outcome::Cause;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Caches that are down at once, without the network, for which a paused clock would not wait.
fn config_of<N: AsRef<str>>(interval: Option<Duration>, names: impl IntoIterator<Item = N>) -> Config {
    let caches = names.into_iter().map(|name| {
        let address = Address::Unix("/nonexistent/redis.sock".into());
        let redis = Backend::Redis(RedisConfig::at(RedisServers::Standalone(address)));
        CacheConfig::new(Alias::try_from(name.as_ref()).unwrap(), redis)
    });
    Config { interval, caches: caches.collect(), ..Config::default() }
}

fn config(interval: Option<Duration>) -> Config {
    config_of(interval, ["main"])
}

/// The number of checks that rounds make within a time.
async fn checks_within(app: &App, time: Duration) -> u64 {
    let ticks = app.journal().ticks();
    let before = *ticks.borrow();
    let _ = time::timeout(time, app.make_rounds()).await;
    *ticks.borrow() - before
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_nothing_is_checked_without_a_request() {
    let app = App::new(&config(None)).unwrap();
    assert_eq!(checks_within(&app, seconds(3600)).await, 0);
    assert_eq!(app.clocks(), None);
    let app = App::new(&config(Some(seconds(10)))).unwrap();
    let checks = checks_within(&app, seconds(3600)).await;
    // The first round is at a random time within the interval.
    assert!((359..=360).contains(&checks), "{checks}");
    assert!(app.clocks().unwrap().partitions.iter().all(|one| one.through.is_some() && one.missed == 0));
}

#[tokio::test(start_paused = true)]
async fn while_a_client_watches_a_round_is_made_every_five_seconds() {
    let app = App::new(&config(None)).unwrap();
    let (one, other) = (app.watch(), app.watch());
    assert_eq!(checks_within(&app, seconds(59)).await, 12);
    drop(one);
    assert_eq!(checks_within(&app, seconds(59)).await, 12);
    drop(other);
    assert_eq!(checks_within(&app, seconds(59)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_watcher_gets_news_at_once_and_not_at_the_next_interval() {
    let app = Arc::new(App::new(&config(None)).unwrap());
    let rounds = app.clone();
    tokio::spawn(async move { rounds.make_rounds().await });
    time::sleep(seconds(60)).await;
    let began = Instant::now();
    app.watch().news().await;
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rounds_that_do_not_end_are_overdue_after_three_intervals_and_no_more_once_one_ends() {
    let app = App::new(&config(Some(seconds(10)))).unwrap();
    // No rounds run: from outside, a stuck loop looks the same.
    time::advance(seconds(30)).await;
    assert_eq!(app.overdue(), None);
    time::advance(seconds(1)).await;
    let overdue = app.overdue().unwrap().to_string();
    assert_eq!(overdue, "no round has completed for 31 s (interval 10s)");
    assert!(checks_within(&app, seconds(12)).await > 0);
    assert_eq!(app.overdue(), None);
    // The loop can get stuck within a round, too.
    let mut rounds = Box::pin(app.make_rounds());
    assert!(rounds.as_mut().now_or_never().is_none());
    time::advance(seconds(31)).await;
    assert!(app.overdue().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_new_interval_has_missed_nothing_and_is_kept_from_then_on() {
    let app = App::new(&config(None)).unwrap();
    let mut rounds = pin!(app.make_rounds());
    assert!(time::timeout(seconds(3600), rounds.as_mut()).await.is_err());
    app.renew(&config(Some(seconds(10)))).unwrap();
    assert_eq!(app.overdue(), None, "although no round has ended for an hour");
    let ticks = app.journal().ticks();
    let before = *ticks.borrow();
    assert!(time::timeout(seconds(60), rounds.as_mut()).await.is_err());
    let checks = *ticks.borrow() - before;
    assert!((5..=6).contains(&checks), "{checks}");
    assert!(app.clocks().unwrap().partitions.iter().all(|one| one.missed == 0));
    // A stuck loop is reported after a change, too.
    app.renew(&config(Some(seconds(1)))).unwrap();
    time::advance(seconds(4)).await;
    assert!(app.overdue().is_some());
    app.renew(&config(None)).unwrap();
    assert_eq!(app.overdue(), None);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_leaves_the_interval_alone_does_not_excuse_a_stuck_loop() {
    let app = App::new(&config(Some(seconds(10)))).unwrap();
    time::advance(seconds(29)).await;
    app.renew(&config(Some(seconds(10)))).unwrap();
    time::advance(seconds(2)).await;
    assert!(app.overdue().is_some());
}

/// Checks scripted by a test.
#[derive(Debug, Default)]
struct Script {
    /// Entries whose checks hang.
    hung: Mutex<HashSet<String>>,
    /// Entries of which one check goes on.
    released: Mutex<HashSet<String>>,
    /// Entries that are down.
    down: Mutex<HashSet<String>>,
    /// Entries whose checks take the whole timeout.
    slow: HashSet<String>,
    timeout: Duration,
    /// The times at which each entry was checked.
    began: Mutex<HashMap<String, Vec<Instant>>>,
    /// The number of checks in flight, and the most that there were.
    in_flight: Mutex<(usize, usize)>,
}

impl Script {
    fn set(of: &Mutex<HashSet<String>>, names: &[&str]) {
        *of.lock() = names.iter().map(|&name| name.to_owned()).collect();
    }

    /// A check, of a round or of a caller's own.
    async fn check(&self, setup: Arc<Setup>, id: CheckId) -> Arc<Outcome> {
        let selection = Selection { checks: vec![id], skipped: Vec::new() };
        let record = setup.checker.records(&selection).next().unwrap();
        let (began, began_at, name) = (Instant::now(), SystemTime::now(), record.entry());
        self.began.lock().entry(name.clone()).or_default().push(began);
        let in_flight = |change: &dyn Fn(&mut usize)| {
            let (now, most) = &mut *self.in_flight.lock();
            change(now);
            *most = (*most).max(*now);
        };
        in_flight(&|now| *now += 1);
        let takes = if self.slow.contains(&name) { self.timeout } else { Duration::ZERO };
        time::sleep(takes).await;
        while self.hung.lock().contains(&name) && !self.released.lock().remove(&name) {
            time::sleep(Duration::from_millis(100)).await;
        }
        in_flight(&|now| *now -= 1);
        let is_down = self.down.lock().contains(&name);
        record.found((began, began_at), takes, is_down.then_some(Cause::Refused))
    }

    /// The times at which the checks of an entry began.
    fn began(&self, name: &str) -> Vec<Instant> {
        self.began.lock().get(name).cloned().unwrap_or_default()
    }
}

/// Rounds of scripted checks at an interval of 10 s, of which one has ended.
async fn scripted(config: &Config, script: Script) -> (Arc<App>, Arc<Script>, JoinHandle<()>) {
    let (app, script) = (Arc::new(App::new(config).unwrap()), Arc::new(script));
    let (rounds, checks) = (app.clone(), script.clone());
    let making = tokio::spawn(async move {
        let check = |setup, place| {
            let checks = checks.clone();
            async move { checks.check(setup, place).await }
        };
        rounds.rounds.run(rounds.setup.subscribe(), check).await;
    });
    while app.clocks().is_none_or(|clocks| clocks.rounds == 0) {
        time::sleep(Duration::from_millis(100)).await;
    }
    (app, script, making)
}

/// The response of `/livez`.
async fn livez(app: &Arc<App>) -> (StatusCode, String) {
    let mut request = Request::get("/livez").header(header::HOST, "localhost").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Caller::Remote("127.0.0.1".parse().unwrap()));
    let answer = router(app.clone()).oneshot(request).await.unwrap();
    let code = answer.status();
    (code, String::from_utf8(to_bytes(answer.into_body(), 4096).await.unwrap().into()).unwrap())
}

// The partitions of these names; `partition.rs` has a test of them.
const MAIN: usize = 4;
const SESSIONS: usize = 3;

#[tokio::test(start_paused = true)]
async fn a_stuck_partition_is_named_and_delays_no_other_and_then_counts_its_missed_rounds() {
    let config = config_of(Some(seconds(10)), ["main", "sessions"]);
    let (app, script, _making) = scripted(&config, Script::default()).await;
    time::sleep(seconds(60)).await;
    assert_eq!(livez(&app).await, (StatusCode::OK, "ok\n".to_owned()));
    let before = app.clocks().unwrap();

    Script::set(&script.hung, &["main"]);
    time::sleep(seconds(60)).await;
    let still = app.overdue().unwrap().still;
    let [StandsStill { partition: MAIN, waits_for, others: 0, .. }] = &still[..] else { panic!("{still:?}") };
    assert_eq!(waits_for, &["main"]);
    let (code, told) = livez(&app).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(told.contains("[-]rounds failed: no round has completed for "), "{told}");
    assert!(told.contains(": partition 4 has been stuck for "), "{told}");
    assert!(told.contains(" s, waiting for main\n"), "{told}");
    let meanwhile = app.clocks().unwrap();
    assert_eq!(meanwhile.through(), meanwhile.partitions[MAIN].through, "the least is the rounds' own");
    let empty = 0;
    for going_on in [SESSIONS, empty] {
        let [then, now] = [&before, &meanwhile].map(|clocks| clocks.partitions[going_on].through.unwrap());
        assert_eq!((meanwhile.partitions[going_on].missed, now > then), (0, true));
    }
    assert!(script.began("sessions").last().unwrap().elapsed() < seconds(12));

    Script::set(&script.hung, &[]);
    time::sleep(seconds(12)).await;
    assert_eq!(livez(&app).await.0, StatusCode::OK);
    let after = app.clocks().unwrap();
    // The partition was stuck in one round, has skipped those that were due meanwhile, and has joined the last.
    assert!((4..=5).contains(&after.partitions[MAIN].missed), "{after:?}");
    assert_eq!(after.partitions[SESSIONS].missed, 0);
    assert!(after.through() > meanwhile.through());
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_round_shows_no_recovery_and_every_outage_and_a_finished_one_shows_all_of_it() {
    let config = config_of(Some(seconds(10)), ["main", "sessions", "default"]);
    let script = Script::default();
    Script::set(&script.down, &["main"]);
    let (app, script, _making) = scripted(&config, script).await;
    let shown = || {
        let report = app.latest(&app.setup()).unwrap();
        report.outcomes.iter().map(|outcome| outcome.status()).collect::<Vec<_>>()
    };
    let (up, down) = (Status::Up, Status::Down);
    assert_eq!(shown(), [down, up, up]);

    Script::set(&script.hung, &["default"]);
    Script::set(&script.down, &["sessions"]);
    time::sleep(seconds(14)).await;
    assert_eq!(shown(), [down, down, up], "the recovery waits, and the outage does not");
    // Each partition's own next round changes nothing about it.
    time::sleep(seconds(8)).await;
    assert_eq!(app.overdue(), None);
    assert_eq!(shown(), [down, down, up]);
    Script::set(&script.hung, &[]);
    time::sleep(seconds(14)).await;
    assert_eq!(shown(), [up, down, up]);

    // The result of a check for a request is shown, whatever the round does.
    Script::set(&script.hung, &["default"]);
    Script::set(&script.down, &[]);
    time::sleep(seconds(14)).await;
    assert_eq!(shown(), [up, down, up]);
    let setup = app.setup();
    let id = setup.everything.checks[1];
    script.check(setup, id).await;
    assert_eq!(shown(), [up, up, up]);
    // The next round's result is the same.
    time::sleep(seconds(8)).await;
    assert_eq!(shown(), [up, up, up]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_partition_withholds_no_recovery_for_longer_than_until_it_is_named() {
    let config = config_of(Some(seconds(10)), ["main", "sessions"]);
    let script = Script::default();
    Script::set(&script.down, &["sessions"]);
    let (app, script, _making) = scripted(&config, script).await;
    Script::set(&script.hung, &["main"]);
    Script::set(&script.down, &[]);
    let status = || app.latest(&app.setup()).unwrap().outcomes[1].status();
    time::sleep(seconds(14)).await;
    assert_eq!((status(), app.overdue().is_some()), (Status::Down, false));
    time::sleep(seconds(30)).await;
    assert_eq!((status(), app.overdue().is_some()), (Status::Up, true));
}

#[tokio::test(start_paused = true)]
async fn a_finished_round_is_made_of_that_rounds_outcomes_alone_although_others_are_ahead_of_it() {
    let config = config_of(Some(seconds(10)), ["main", "sessions"]);
    let (app, script, _making) = scripted(&config, Script::default()).await;
    time::sleep(seconds(25)).await;
    let rounds = || app.clocks().unwrap().rounds;
    let before = rounds();
    Script::set(&script.hung, &["main"]);
    // Waits until the round after the next has begun.
    let begun = script.began("sessions").len();
    while script.began("sessions").len() < begun + 2 {
        time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rounds(), before);
    // In the next round it hangs again.
    Script::set(&script.released, &["main"]);
    while rounds() == before {
        time::sleep(Duration::from_millis(1)).await;
    }
    let finished = app.rounds.board.lock().finished();
    assert_eq!((rounds(), finished.len()), (before + 1, 2));
    let apart = finished[0].began.max(finished[1].began) - finished[0].began.min(finished[1].began);
    assert!(apart < seconds(2), "{apart:?}: both from one round");
    let sessions = script.began("sessions");
    let of_the_round = finished.iter().any(|outcome| outcome.began == sessions[begun]);
    assert!(of_the_round, "and not from the one that its partition has begun meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_stuck_for_hours_has_the_others_keep_no_more_than_a_few_rounds() {
    let config = config_of(Some(seconds(10)), ["main", "sessions"]);
    let (app, script, _making) = scripted(&config, Script::default()).await;
    Script::set(&script.hung, &["main"]);
    time::sleep(seconds(2 * 3600)).await;
    assert!(script.began("sessions").len() > 700);
    assert!(app.rounds.board.lock().kept() <= 3, "{}", app.rounds.board.lock().kept());
}

#[tokio::test(start_paused = true)]
async fn thousands_of_hung_caches_hold_a_bounded_number_of_checks_and_delay_no_other_partition() {
    let names = || (0..4000).map(|number| format!("cache-{number}"));
    let config = config_of(Some(seconds(1)), names().chain(["main".to_owned()]));
    // All but those in the partition of `main` take as long as a check may.
    let slow = names().filter(|name| partition::partition(name) != MAIN).collect();
    let script = Script { slow, timeout: config.timeout, ..Script::default() };
    let (app, script, _making) = scripted(&config, script).await;
    time::sleep(seconds(60)).await;
    let (_, most) = *script.in_flight.lock();
    assert!((IN_FLIGHT - SHARE..=IN_FLIGHT).contains(&most), "{most}");
    let clocks = app.clocks().unwrap();
    // 250 caches in 32 places are 8 turns of 0.75 s.
    let missed = clocks.partitions[SESSIONS].missed;
    assert!((40..=60).contains(&missed), "{missed}");
    assert_eq!(clocks.partitions[MAIN].missed, 0);
    assert!(script.began("main").len() >= 60);
    assert_eq!(app.overdue(), None, "slow is not stuck, and no reason to restart the sidecar");
    assert!(clocks.rounds > 1, "rounds end everywhere");
    // Once they hang for good, it is.
    Script::set(&script.hung, &["cache-0"]);
    time::sleep(seconds(40)).await;
    assert_eq!(app.overdue().unwrap().still[0].waits_for, ["cache-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_of_hung_caches_is_late_and_checks_its_down_caches_later_and_is_not_stuck() {
    let names = (0..).map(|number| format!("cache-{number}"));
    let names: Vec<_> = names.filter(|name| partition::partition(name) == MAIN).take(2 * SHARE).collect();
    let config = config_of(Some(Duration::from_millis(1500)), &names);
    let all = || names.iter().cloned().collect();
    let (slow, down) = (all(), Mutex::new(all()));
    let script = Script { slow, down, timeout: config.timeout, ..Script::default() };
    let (app, script, _making) = scripted(&config, script).await;
    for _ in 0..6000 {
        time::sleep(Duration::from_millis(50)).await;
        assert_eq!(app.overdue(), None);
    }
    assert!(app.clocks().unwrap().partitions[MAIN].missed > 0, "it is late");
    Script::set(&script.hung, &[&names[0]]);
    time::sleep(seconds(20)).await;
    assert!(app.overdue().is_some(), "and now it is stuck");
}

#[tokio::test(start_paused = true)]
async fn sidecars_that_begin_together_make_their_first_rounds_anywhere_within_the_interval() {
    let mut tenths = [0; 10];
    for _ in 0..300 {
        let start = Instant::now();
        let (_, script, making) = scripted(&config(Some(seconds(10))), Script::default()).await;
        // A timer is up to a millisecond late, and the latest draw is less than that before the interval's end.
        let first = (script.began("main")[0] - start).saturating_sub(Duration::from_millis(1));
        making.abort();
        tenths[usize::try_from(first.as_secs()).unwrap()] += 1;
    }
    // 30 are expected in each, and the chance of one as far off as this is below one in a hundred thousand.
    assert!(tenths.iter().all(|&times| (5..=65).contains(&times)), "{tenths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_round_begins_late_at_random_by_up_to_an_eighth_of_the_interval_and_for_down_caches_by_more() {
    let script = Script::default();
    Script::set(&script.down, &["sessions"]);
    let (_app, script, _making) = scripted(&config_of(Some(seconds(10)), ["main", "sessions"]), script).await;
    time::sleep(seconds(3600)).await;
    let late = |name| {
        let began = script.began(name);
        // The first is at its time.
        let due = |round| began[0] + seconds(10) * u32::try_from(round).unwrap();
        let late = began.iter().enumerate().map(|(round, &at)| at - due(round));
        late.map(|late| late.as_secs_f64()).collect::<Vec<_>>()
    };
    for (name, most) in [("main", 1.25), ("sessions", 3.25)] {
        let late = late(name);
        let (soonest, latest) = late
            .iter()
            .skip(1)
            .fold((f64::MAX, 0.0_f64), |(soonest, latest), &one| (soonest.min(one), latest.max(one)));
        assert!(late.len() > 350 && latest <= most + 0.01, "{name}: {latest}");
        assert!(soonest < most * 0.2 && latest > most * 0.8, "{name}: {soonest} to {latest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reloaded_configuration_is_followed_at_once_and_no_clock_goes_back() {
    let both = config_of(Some(seconds(10)), ["main", "sessions"]);
    let (app, script, _making) = scripted(&both, Script::default()).await;
    Script::set(&script.hung, &["main"]);
    time::sleep(seconds(45)).await;
    assert!(app.overdue().is_some());
    let before = app.clocks().unwrap();
    // The entry that it waited for no longer exists.
    app.renew(&config_of(Some(seconds(10)), ["sessions", "default"])).unwrap();
    time::sleep(seconds(2)).await;
    assert_eq!(app.overdue(), None);
    time::sleep(seconds(12)).await;
    assert!(!script.began("default").is_empty(), "the next round has the new one in it");
    let after = app.clocks().unwrap();
    let clocks = before.partitions.iter().zip(&after.partitions);
    assert!(clocks.clone().all(|(before, after)| before.through <= after.through));
    assert_eq!(before.partitions[SESSIONS].missed, after.partitions[SESSIONS].missed);
}

#[tokio::test(start_paused = true)]
async fn a_late_round_that_a_reload_begins_again_counts_the_rounds_that_it_skipped_once() {
    let (mut board, due) = (Board::default(), Instant::now());
    let schedule = board.follow(Some(seconds(10)), || due).unwrap();
    let missed = |board: &Board| board.clocks().unwrap().partitions[MAIN].missed;
    assert_eq!((board.begin(MAIN, &schedule, due), missed(&board)), (1, 0));
    board.end(MAIN, 1, due);
    for _ in 0..2 {
        assert_eq!((board.begin(MAIN, &schedule, due + seconds(35)), missed(&board)), (4, 2));
    }
    // The fourth has not ended, and is skipped now.
    assert_eq!((board.begin(MAIN, &schedule, due + seconds(45)), missed(&board)), (5, 3));
}

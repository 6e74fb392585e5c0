//! Models of the fleet: several sidecars with one store, rule by rule.
//!
//! A sidecar is the layer of `fleet` around a scripted check. The store applies one command after another, as Redis does; between
//! any two, and on their way there and back, anything else may happen. The script of a publication is restated here; that
//! Redis runs the real one so is a matter of `tests/sharing/fleet.rs`.

use std::cell::Cell;
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Mutex as PlainMutex;

use shuttle::future::{spawn as start, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::super::FleetCheck;
use super::*;
use crate::budget;
use crate::checker::recorded::RecordedLayer;
use crate::config::Config;
use crate::outcome::{Cause, Outcome, Phase, Status};
use crate::progress::Depth;
use crate::sync::model::{Switches, explore, pass, tick};

/// The deadline; an eighth of it is for the store.
const TIMEOUT: Duration = ms(64);

/// The time for which a verdict is reused at most.
const LASTS: Duration = ms(64);

const MAX_AGE: Duration = ms(8);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Layered = BoxCloneSyncService<Instant, Arc<Outcome>, Infallible>;

thread_local! {
    /// The beginning of the model that runs.
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The cache, the store, and everything that happens.
struct World {
    began: Instant,
    terms: Terms,
    happened: PlainMutex<Happened>,
}

#[derive(Debug, Default)]
struct Happened {
    is_down: bool,
    /// The entry of the key.
    entry: Option<Entry>,
    /// The milliseconds by which the store's clock is ahead, or behind.
    store_is_ahead: i64,
    /// The most milliseconds that a command takes on its way.
    delay: u64,
    sidecars: [Sidecar; 3],
    /// The owners of claims so far.
    owners: HashSet<Vec<u8>>,
    /// The checks so far: the sidecar, and whether it was up.
    checks: Vec<(usize, bool)>,
}

/// The key's entry, with the truth about it.
#[derive(Debug, Clone)]
struct Entry {
    value: Vec<u8>,
    /// By the store's clock, in milliseconds.
    expires: i64,
    owner: usize,
    claimed: Instant,
    /// The number of checks before the claim.
    checks_before: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sidecar {
    is_dead: bool,
    /// The beginning and the status of its last check.
    checked: Option<(Instant, bool)>,
    /// The beginning of its last glance that found everything there.
    glanced: Option<Instant>,
    /// The claim of the verdict that it has read last, and the time.
    read: Option<(Instant, Instant)>,
    lost_canary: bool,
    /// The duration of its last check.
    took: Duration,
}

impl World {
    fn new() -> Arc<Self> {
        let config = Config { max_age: MAX_AGE, timeout: TIMEOUT, ..Config::default() };
        let terms = Terms::new(LASTS, &config);
        ORIGIN.set(Some(Instant::now()));
        Arc::new(Self { began: Instant::now(), terms, happened: PlainMutex::default() })
    }

    fn happened<T>(&self, with: impl FnOnce(&mut Happened) -> T) -> T {
        with(&mut self.happened.lock().unwrap())
    }

    /// The layers of a sidecar, whose clock is `clock`. Its own last check was up.
    fn sidecar(self: &Arc<Self>, number: usize, clock: fn() -> SystemTime) -> Layered {
        let store = FleetStore::behind(Wire { world: self.clone(), number }, &number.to_string(), clock);
        let world = self.clone();
        let check = service_fn(move |progress: Arc<Progress>| {
            let world = world.clone();
            async move {
                world.check(number, &progress).await;
                Ok::<_, Infallible>(())
            }
        });
        let (check, record) = FleetCheck::sure(store, self.terms, TIMEOUT, check);
        BoxCloneSyncService::new(RecordedLayer(record).layer(check))
    }

    /// A check of the cache, or a glance at it.
    async fn check(&self, number: usize, progress: &Progress) {
        let (node, began) = (progress.node(&"cache:6379".into(), Role::Server), Instant::now());
        node.enter(Phase::Read);
        yield_now().await;
        let is_up = self.happened(|happened| {
            let sidecar = &mut happened.sidecars[number];
            let is_up = !happened.is_down;
            match progress.depth() {
                Depth::Whole => {
                    sidecar.checked = Some((began, is_up));
                    sidecar.lost_canary = false;
                    happened.checks.push((number, is_up));
                    is_up
                }
                Depth::Glance => {
                    let finds_all = is_up && !sidecar.lost_canary;
                    sidecar.glanced = finds_all.then_some(began);
                    finds_all
                }
            }
        });
        yield_now().await;
        node.conclude(if is_up { Ok(()) } else { Err(Fault::new(Cause::Refused, Phase::Read, "")) });
    }

    /// A request to a sidecar, which judges its answer.
    async fn call(&self, number: usize, sidecar: &Layered) {
        let arrived = Instant::now();
        let before = self.happened(|happened| happened.sidecars[number]);
        let was_sure = before.checked.is_none_or(|(_, is_up)| is_up) && before.took <= TIMEOUT / 2;
        let Ok(outcome) = sidecar.clone().oneshot(arrived).await;
        let seen = self.happened(|happened| happened.sidecars[number]);
        if outcome.extra.as_ref().is_some_and(|extra| extra.reused.is_some()) {
            assert!(was_sure, "rule 1: its own latest check was not up, or slow");
            assert_eq!(outcome.status(), Status::Up, "rule 2: no other is published");
            let (claimed, read) = seen.read.unwrap();
            let age = read.saturating_duration_since(claimed);
            assert!(age + MAX_AGE <= LASTS, "rule 3: too old: {age:?}");
            assert!(outcome.began <= claimed, "rule 3: younger than it is");
            assert!(seen.glanced.is_some_and(|glanced| glanced >= arrived), "rule 4: no glance");
        } else {
            let was_checked = seen.checked.is_some_and(|(began, is_up)| began >= arrived && is_up);
            assert!(outcome.status() != Status::Up || was_checked, "in every other case the check is made");
            self.happened(|happened| happened.sidecars[number].took = outcome.elapsed);
        }
    }
}

/// The connection of a sidecar to the store. Commands that were sent arrive, whatever becomes of the sidecar.
struct Wire {
    world: Arc<World>,
    number: usize,
}

impl StoreServer for Wire {
    async fn ask_each(&self, commands: &[Cmd], _: usize, _: &NodeProgress) -> Result<Vec<Value>, Fault> {
        let (world, number) = (self.world.clone(), self.number);
        if world.happened(|happened| happened.sidecars[number].is_dead) {
            return pending().await;
        }
        let split = |command: &Cmd| -> Vec<Vec<u8>> {
            let bytes = |arg: redis::Arg<&[u8]>| match arg {
                redis::Arg::Simple(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            };
            command.args_iter().map(bytes).collect()
        };
        let commands: Vec<_> = commands.iter().map(split).collect();
        let (answer, answered) = oneshot::channel();
        start(async move {
            let mut answers = Vec::new();
            for command in &commands {
                world.delay().await;
                let words: Vec<_> = command.iter().map(Vec::as_slice).collect();
                answers.push(world.happened(|happened| happened.apply(number, &words, world.began)));
            }
            world.delay().await;
            let _ = answer.send(answers);
        });
        match answered.await {
            Ok(answers) => Ok(answers),
            Err(_) => pending().await,
        }
    }
}

impl World {
    /// The way to the store, or back.
    async fn delay(&self) {
        match self.happened(|happened| happened.delay) {
            0 => yield_now().await,
            most => sleep(ms(thread_rng().gen_range(0..most))).await,
        }
    }
}

fn number(word: &[u8]) -> i64 {
    std::str::from_utf8(word).unwrap().parse().unwrap()
}

impl Happened {
    /// A command from a sidecar, and what must be true of it.
    fn apply(&mut self, sidecar: usize, words: &[&[u8]], began: Instant) -> Value {
        let now = i64::try_from(began.elapsed().as_millis()).unwrap() + self.store_is_ahead;
        self.entry = self.entry.take().filter(|entry| now < entry.expires);
        match words {
            [b"SET", _, mark, options @ ..] => {
                if options.contains(&&b"NX"[..]) && self.entry.is_some() {
                    return Value::Nil;
                }
                assert!(self.entry.is_none(), "a claim in the place of an entry");
                let place = options.iter().position(|option| *option == b"PX").expect("a claim expires");
                let expires = now + number(options[place + 1]);
                assert!(self.owners.insert(mark.to_vec()), "an owner uses its name once");
                let (value, owner, claimed) = (mark.to_vec(), sidecar, Instant::now());
                let checks_before = self.checks.len();
                self.entry = Some(Entry { value, expires, owner, claimed, checks_before });
                Value::Okay
            }
            [b"GET", _] => {
                let Some(entry) = &self.entry else { return Value::Nil };
                self.sidecars[sidecar].read = Some((entry.claimed, Instant::now()));
                Value::BulkString(entry.value.clone())
            }
            [b"PTTL", _] => Value::Int(self.entry.as_ref().map_or(-2, |entry| entry.expires - now)),
            [b"DEL", _] => Value::Int(i64::from(self.entry.take().is_some())),
            [b"EVAL", script, b"1", _, mark, verdict, rest] => {
                assert_eq!(*script, PUBLISH.as_bytes());
                let Some(entry) = self.entry.take_if(|entry| entry.value == *mark) else {
                    return Value::Int(0);
                };
                let life = number(rest) + entry.expires - now;
                if life < 1 {
                    return Value::Int(0);
                }
                assert_eq!(entry.owner, sidecar, "a verdict by the claim of another");
                let mut since = self.checks[entry.checks_before..].iter();
                let with_claim = since.find(|(number, _)| *number == sidecar);
                assert!(
                    with_claim.is_some_and(|&(_, is_up)| is_up),
                    "rule 2: only a check with a claim that was up is published"
                );
                self.entry = Some(Entry { value: verdict.to_vec(), expires: now + life, ..entry });
                Value::Int(1)
            }
            _ => panic!("no command of the store: {words:?}"),
        }
    }
}

/// The clock of a sidecar that is so many milliseconds ahead, or behind.
fn clock<const AHEAD: i64>() -> SystemTime {
    let then = UNIX_EPOCH + Duration::from_hours(500_000) + ORIGIN.get().unwrap().elapsed();
    if AHEAD < 0 { then - ms(AHEAD.unsigned_abs()) } else { then + ms(AHEAD.unsigned_abs()) }
}

/// Lets time pass at any moment, by a few milliseconds or so many that a verdict gets old.
fn ticks(number: usize) {
    for _ in 0..number {
        tick(ms([1, 2, 5, 20, 40][thread_rng().gen_range(0..5)]));
    }
}

/// "The sidecar with the claim checks. The others wait a little for the verdict."
#[test]
fn of_two_sidecars_that_are_asked_together_one_checks() {
    explore(
        Switches::Waits,
        "Fleet, the claim: 2 sidecars are asked at one time, the store answers at once",
        || {
            let world = World::new();
            for number in 0..2 {
                let (world, sidecar) = (world.clone(), world.sidecar(number, clock::<0>));
                start(async move { world.call(number, &sidecar).await });
            }
            pass(TIMEOUT * 2);
            assert_eq!(world.happened(|happened| happened.checks.len()), 1);
        },
    );
}

/// Rules 1 to 4, and `store`: "A verdict that began before a failure was seen cannot be published after it: its claim is gone."
#[test]
fn no_verdict_is_reused_that_must_not_be_while_a_cache_goes_down_and_up() {
    explore(
        Switches::Waits,
        "Fleet, rules 1 to 4: 3 sidecars, 2 requests each, a cache that goes down and up, 6 ticks",
        || {
            let world = World::new();
            for number in 0..3 {
                let (world, sidecar) = (world.clone(), world.sidecar(number, clock::<0>));
                start(async move {
                    for _ in 0..2 {
                        world.call(number, &sidecar).await;
                    }
                });
            }
            let cache = world.clone();
            start(async move {
                for is_down in [true, false] {
                    cache.happened(|happened| happened.is_down = is_down);
                    yield_now().await;
                }
                cache.happened(|happened| happened.sidecars[1].lost_canary = true);
            });
            ticks(6);
            pass(TIMEOUT * 3);
        },
    );
}

/// Rule 2: "a sidecar that finds something else deletes it at once", so that no request afterwards reuses what was before.
#[test]
fn after_a_sidecar_has_answered_that_a_cache_is_down_no_earlier_verdict_is_in_the_store() {
    explore(
        Switches::Waits,
        "Fleet, rule 2: 2 sidecars, and a third that finds the cache down, 3 ticks",
        || {
            let world = World::new();
            for number in 0..2 {
                let (world, sidecar) = (world.clone(), world.sidecar(number, clock::<0>));
                start(async move { world.call(number, &sidecar).await });
            }
            let (other, sidecar) = (world.clone(), world.sidecar(2, clock::<0>));
            start(async move {
                other.happened(|happened| happened.is_down = true);
                let asked = Instant::now();
                other.call(2, &sidecar).await;
                let seen = other.happened(|happened| (happened.sidecars[2].checked, happened.entry.clone()));
                let ((began, _), entry) = (seen.0.unwrap(), seen.1);
                // If the store did not answer in its time, the caller does not wait for it.
                let is_told = began.elapsed() < budget::STORE.of(TIMEOUT) && asked.elapsed() < TIMEOUT;
                assert!(!is_told || entry.is_none_or(|entry| entry.claimed >= began), "rule 2: not deleted");
            });
            for _ in 0..3 {
                tick(ms(2));
            }
            pass(TIMEOUT * 2);
        },
    );
}

/// Rule 2: "The store answers within an eighth of the deadline"; if it does not, no request is late.
#[test]
fn no_request_is_late_however_slow_the_store_is() {
    explore(
        Switches::Waits,
        "Fleet, rule 2: 3 sidecars, 3 requests each, a store that takes up to 30 ms for each step",
        || {
            let world = World::new();
            world.happened(|happened| happened.delay = 30);
            for number in 0..3 {
                let (world, sidecar) = (world.clone(), world.sidecar(number, clock::<0>));
                start(async move {
                    for _ in 0..3 {
                        sleep(ms(thread_rng().gen_range(0..60))).await;
                        let arrived = Instant::now();
                        world.call(number, &sidecar).await;
                        assert!(arrived.elapsed() <= TIMEOUT, "late: {:?}", arrived.elapsed());
                    }
                });
            }
            pass(TIMEOUT * 8);
        },
    );
}

/// Rule 3: "Two clocks agree on its age, the store's and this machine's, and by both it is young enough". One of the three
/// clocks that matter is wrong, by little or by much, and the store's may be set back while it holds an entry.
#[test]
fn a_verdict_is_as_old_as_it_is_although_a_clock_is_wrong() {
    explore(
        Switches::Waits,
        "Fleet, rule 3: 2 sidecars, 3 requests each, one wrong clock of three, 8 ticks",
        || {
            let world = World::new();
            let wrong: usize = thread_rng().gen_range(0..9);
            let clocks: [fn() -> SystemTime; 2] = match wrong {
                0 => [clock::<6>, clock::<0>],
                1 => [clock::<-6>, clock::<0>],
                2 => [clock::<40>, clock::<0>],
                3 => [clock::<0>, clock::<3_600_000>],
                4 => [clock::<0>, clock::<-40>],
                _ => [clock::<0>; 2],
            };
            for (number, clock) in clocks.into_iter().enumerate() {
                let (world, sidecar) = (world.clone(), world.sidecar(number, clock));
                start(async move {
                    for _ in 0..3 {
                        world.call(number, &sidecar).await;
                        yield_now().await;
                    }
                });
            }
            let store = world.clone();
            start(async move {
                let ahead = wrong.checked_sub(5).map(|place| [-3_600_000, -40, -6, 20][place]);
                for _ in 0..thread_rng().gen_range(0..12) {
                    yield_now().await;
                }
                store.happened(|happened| happened.store_is_ahead = ahead.unwrap_or_default());
            });
            ticks(8);
            pass(TIMEOUT * 4);
        },
    );
}

/// A sidecar that ends between two steps leaves a claim that expires, and a verdict by the rules, or none.
#[test]
fn a_sidecar_that_dies_between_two_steps_keeps_the_others_from_nothing() {
    explore(
        Switches::Waits,
        "Fleet, a death: a sidecar ends between any two steps, another is asked, 2 ticks",
        || {
            let world = World::new();
            let (first, sidecar) = (world.clone(), world.sidecar(0, clock::<0>));
            let living = start(async move { first.call(0, &sidecar).await });
            let (other, sidecar) = (world.clone(), world.sidecar(1, clock::<0>));
            start(async move {
                other.call(1, &sidecar).await;
                sleep(TIMEOUT + LASTS).await;
                let is_free = other.happened(|happened| {
                    let now = i64::try_from(other.began.elapsed().as_millis()).unwrap();
                    happened.entry.as_ref().is_none_or(|entry| entry.expires <= now)
                });
                assert!(is_free, "a claim expires");
                other.call(1, &sidecar).await;
            });
            let dying = world.clone();
            start(async move {
                dying.happened(|happened| happened.sidecars[0].is_dead = true);
                living.abort();
            });
            for _ in 0..2 {
                tick(ms(3));
            }
            pass(TIMEOUT * 6);
        },
    );
}

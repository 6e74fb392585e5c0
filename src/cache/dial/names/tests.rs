//! Tests of [`Resolver`] on scripted lookups and a paused clock.

use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

const DEADLINE: Duration = Duration::from_millis(640);

/// A script in place of the system: a name that begins with `answers` is answered at once, one that begins with `lacks` finds no
/// free file, and every other name hangs until it is answered by hand.
#[derive(Debug, Default, Clone)]
pub(super) struct Script(Arc<Mutex<Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    hanging: Vec<(Arc<str>, oneshot::Sender<LookupResult>)>,
    most: usize,
    asked: HashMap<Arc<str>, usize>,
    /// The most threads that can be started.
    limit: Option<usize>,
}

fn addresses() -> Vec<SocketAddr> {
    vec![([127, 0, 0, 1], 0).into()]
}

impl Script {
    pub(super) fn look_up(&self, name: &Arc<str>) -> io::Result<oneshot::Receiver<LookupResult>> {
        let mut state = self.0.lock();
        if state.limit.is_some_and(|limit| state.hanging.len() >= limit) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *state.asked.entry(name.clone()).or_default() += 1;
        let (sender, found) = oneshot::channel();
        if name.starts_with("answers") {
            sender.send(Ok(addresses())).unwrap();
        } else if name.starts_with("lacks") {
            sender.send(Err(rustix::io::Errno::MFILE.into())).unwrap();
        } else {
            state.hanging.push((name.clone(), sender));
            state.most = state.most.max(state.hanging.len());
        }
        Ok(found)
    }

    /// Ends the lookups that hang.
    fn end_all(&self) {
        for (_, sender) in self.0.lock().hanging.drain(..) {
            let _ = sender.send(Ok(addresses()));
        }
    }

    fn hanging(&self) -> usize {
        self.0.lock().hanging.len()
    }

    fn asked(&self, name: &str) -> usize {
        self.0.lock().asked.get(name).copied().unwrap_or_default()
    }
}

fn names(script: &Script) -> Arc<Resolver> {
    Arc::new(Resolver { system: System::Scripted(script.clone()), most: MOST, ..Resolver::default() })
}

/// Looks a name up as a check does; returns `true` if it was answered before the deadline, and the time that this took.
async fn check(names: &Arc<Resolver>, name: &str) -> (bool, Duration) {
    let began = Instant::now();
    let mut stage = names.look_up(name, DEADLINE);
    let over = timeout(DEADLINE, stage.wait_for(|stage| matches!(stage, Stage::Over(_)))).await;
    let is_answered = matches!(over.as_ref().map(|over| over.as_deref()), Ok(Ok(Stage::Over(Ok(_)))));
    drop(over);
    (is_answered, began.elapsed())
}

/// The same for `count` names that hang; returns the number of answered ones.
async fn check_hung(names: &Arc<Resolver>, count: usize) -> usize {
    let hung: Vec<_> = (0..count).map(|number| format!("hangs-{number}")).collect();
    let checks = join_all(hung.iter().map(|name| check(names, name))).await;
    checks.into_iter().filter(|(is_answered, _)| *is_answered).count()
}

#[tokio::test(start_paused = true)]
async fn names_that_hang_hold_up_no_name_that_is_answered() {
    for count in [16, 64, 1000] {
        let script = Script::default();
        let names = names(&script);
        // The healthy name is the last of the new ones at first, and from then on known.
        for round in 0..5 {
            let healthy = check(&names, "answers");
            let (hung, (is_answered, after)) = tokio::join!(check_hung(&names, count), healthy);
            assert!(is_answered, "round {round} beside {count}");
            let most = if round == 0 { DEADLINE / 8 } else { Duration::ZERO };
            assert!(after <= most, "{after:?} in round {round} beside {count}");
            assert_eq!(hung, 0);
            sleep(DEADLINE).await;
        }
        assert!(script.0.lock().most <= count + FOR_SILENT, "{} threads for {count}", script.0.lock().most);
        let (is_answered, _) = check(&names, "answers-for-the-first-time").await;
        assert!(is_answered, "beside {count} that hang since long");
        while names.under_way() > 0 {
            script.end_all();
            sleep(Duration::from_millis(1)).await;
        }
        assert!(names.state.lock().queue.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_name_has_a_thread_however_many_new_names_hang() {
    let script = Script::default();
    let names = names(&script);
    assert!(check(&names, "answers").await.0);
    check_hung(&names, 3 * MOST).await;
    assert_eq!(script.0.lock().most, MOST - MOST / LEFT);
    assert_eq!(check(&names, "answers").await, (true, Duration::ZERO));
    assert!(!check(&names, "answers-for-the-first-time").await.0, "it waits for a thread, and that is said");
}

#[tokio::test(start_paused = true)]
async fn once_the_name_server_answers_again_every_name_is_answered() {
    let script = Script::default();
    let names = names(&script);
    for _ in 0..3 {
        assert_eq!(check_hung(&names, 1000).await, 0);
    }
    let answering = async {
        loop {
            sleep(Duration::from_millis(1)).await;
            script.end_all();
        }
    };
    tokio::select! {
        answered = check_hung(&names, 1000) => assert_eq!(answered, 1000),
        () = answering => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_packet_costs_a_check_half_of_its_deadline() {
    let script = Script::default();
    let names = names(&script);
    let second = async {
        sleep(DEADLINE / 2 + Duration::from_millis(1)).await;
        assert_eq!(script.asked("hangs"), 2);
        // The first still waits for the packet that was lost.
        let (_, sender) = script.0.lock().hanging.pop().unwrap();
        sender.send(Ok(addresses())).unwrap();
    };
    let (checked, ()) = tokio::join!(check(&names, "hangs"), second);
    assert_eq!(checked, (true, DEADLINE / 2 + Duration::from_millis(1)));
    assert_eq!(script.hanging(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_check_has_a_look_up_of_its_first_half_and_a_name_has_a_bounded_number_of_them() {
    let script = Script::default();
    let names = names(&script);
    let began = Instant::now();
    // Name servers answer no packet that was sent before.
    let back = DEADLINE * 5 + Duration::from_millis(123);
    let first_after = async {
        sleep(back).await;
        let before = script.asked("hangs");
        let (checked, ()) = tokio::join!(check(&names, "hangs"), async {
            while script.asked("hangs") == before {
                sleep(Duration::from_millis(1)).await;
            }
            let (_, sender) = script.0.lock().hanging.pop().unwrap();
            sender.send(Ok(addresses())).unwrap();
        });
        assert!(checked.0 && checked.1 <= DEADLINE / 2 + Duration::from_millis(2), "{checked:?}");
    };
    let probes = async {
        while began.elapsed() < back {
            let _ = timeout(DEADLINE / 4, check(&names, "hangs")).await;
        }
    };
    tokio::join!(probes, first_after);
    for _ in 0..2 * OF_ONE_NAME {
        check(&names, "silent").await;
    }
    assert_eq!(script.asked("silent"), OF_ONE_NAME);
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_name_share_its_lookup() {
    let script = Script::default();
    let names = names(&script);
    let ends = async {
        sleep(Duration::from_millis(1)).await;
        script.end_all();
    };
    let (checks, ()) = tokio::join!(join_all((0..100).map(|_| check(&names, "hangs"))), ends);
    assert!(checks.iter().all(|(is_answered, _)| *is_answered));
    assert_eq!(script.asked("hangs"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_an_earlier_lookup_is_not_that_of_a_later_one() {
    let script = Script::default();
    let names = names(&script);
    check(&names, "hangs").await;
    let ends = async {
        sleep(Duration::from_millis(1)).await;
        let mut hanging = std::mem::take(&mut script.0.lock().hanging).into_iter();
        assert!(hanging.len() > 1);
        let (_, first) = hanging.next().unwrap();
        first.send(Err(io::Error::other("gave up"))).unwrap();
        sleep(Duration::from_millis(1)).await;
        hanging.next().unwrap().1.send(Ok(addresses())).unwrap();
    };
    let (checked, ()) = tokio::join!(check(&names, "hangs"), ends);
    assert!(checked.0);
}

#[tokio::test(start_paused = true)]
async fn each_of_many_silent_names_has_its_turn() {
    let script = Script::default();
    let names = names(&script);
    let rounds = 1 + 1000_usize.div_ceil(FOR_SILENT);
    for _ in 0..rounds {
        check_hung(&names, 1000).await;
        // The system gives up by itself, after the check.
        advance(DEADLINE).await;
        script.end_all();
        sleep(Duration::from_millis(1)).await;
    }
    let asked: Vec<_> = (0..1000).map(|number| script.asked(&format!("hangs-{number}"))).collect();
    assert!(asked.iter().all(|&asked| asked >= 2), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_waits_for_a_busy_thread_and_the_lack_of_any_thread_is_reported() {
    let script = Script::default();
    script.0.lock().limit = Some(1);
    let names = names(&script);
    let answering = async {
        loop {
            sleep(Duration::from_millis(1)).await;
            script.end_all();
        }
    };
    tokio::select! {
        answered = check_hung(&names, 10) => assert_eq!(answered, 10),
        () = answering => {}
    }
    script.0.lock().limit = Some(0);
    let mut stage = names.look_up("hangs", DEADLINE);
    let over = stage.wait_for(|stage| matches!(stage, Stage::Over(_))).await.unwrap();
    assert!(matches!(&*over, Stage::Over(Err(LookupError::NoThread(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_without_a_file_for_it_says_nothing_about_the_name() {
    let names = names(&Script::default());
    let mut stage = names.look_up("lacks", DEADLINE);
    let over = stage.wait_for(|stage| matches!(stage, Stage::Over(_))).await.unwrap();
    assert!(matches!(&*over, Stage::Over(Err(LookupError::Shortage(_, Shortage::Files)))));
}

#[tokio::test(start_paused = true)]
async fn the_names_that_are_remembered_are_bounded() {
    let script = Script::default();
    let names = names(&script);
    for number in 0..3 * MOST_REMEMBERED {
        check(&names, &format!("answers-{number}")).await;
    }
    assert!(names.state.lock().names.len() <= MOST_REMEMBERED);
}

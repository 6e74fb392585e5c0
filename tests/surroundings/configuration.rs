//! A configuration that is swapped and asked for hundreds of times a second.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Redis, Sidecar, alone, eventually};
use crate::{PROGRAM, PROMISED, SCHEDULING, Surrounded, cache};

/// The time for which the configuration is swapped.
const STORM: Duration = Duration::from_secs(4);

/// The pause between two swaps.
const PAUSE: Duration = Duration::from_millis(1);

/// Replaces a file in one step.
fn swap(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, file).unwrap();
}

fn threads(sidecar: &Sidecar) -> usize {
    fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap().count()
}

#[test]
fn a_configuration_that_is_swapped_without_end_makes_no_answer_wrong_and_the_last_one_wins() {
    let _turn = alone();
    let (mut redis, other) = (Redis::start(&[]), Redis::start(&[]));
    let stays = cache("stays", &redis);
    let both = format!("{stays}{}", cache("comes", &other));
    let surrounded = Surrounded::start(Command::new(PROGRAM), "", &stays);
    let (sidecar, file) = (&surrounded.sidecar, surrounded.sidecar.config_file());
    let head = fs::read_to_string(&file).unwrap().replace(&stays, "");
    surrounded.expect(200, "UP");
    let before = (sidecar.open_files(), threads(sidecar), sidecar.resident_kib());
    let versions = [
        format!("{head}{stays}"),
        format!("timeout = \"700ms\"\n{head}{both}"),
        format!("{head}[caches.stays]\nurll = \"no such key\"\n"),
        format!("reconnect_every = \"1s\"\n{head}{both}"),
    ];
    let (is_over, swaps, answers) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let ask = |code: u16| {
        let health = sidecar.get("/health/stays");
        assert_eq!(health.code, code, "{:#}", health.body);
        assert!(health.took < PROMISED + SCHEDULING, "{:?}", health.took);
        answers.fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for version in versions.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                swap(&file, version);
                sidecar.signal(Signal::HUP);
                swaps.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while began.elapsed() < STORM {
                        ask(200);
                    }
                });
            }
        });
        redis.kill();
        (0..20).for_each(|_| ask(503));
        redis.restart();
        (0..20).for_each(|_| ask(200));
        is_over.store(true, Ordering::Relaxed);
        println!("{swaps:?} swaps and {answers:?} answers in {:?}", began.elapsed());
    });
    let reloads = ["the new configuration is in force", "configuration reload failed"]
        .map(|words| surrounded.logged(words));
    assert!(reloads.iter().all(|&times| times > 0), "{reloads:?}");

    swap(&file, &versions[3]);
    eventually("the last one is in force", || sidecar.get("/health/comes").code == 200);
    let refused = surrounded.logged("configuration reload failed");
    swap(&file, &versions[2]);
    eventually("an invalid one is refused", || surrounded.logged("configuration reload failed") > refused);
    assert_eq!(sidecar.get("/health/comes").code, 200);
    swap(&file, &versions[0]);
    eventually("the last one is in force", || sidecar.get("/health/comes").code == 404);
    surrounded.expect(200, "UP");
    let after = (sidecar.open_files(), threads(sidecar), sidecar.resident_kib());
    println!(
        "{reloads:?} reloads were in force and refused; files, threads and KiB: {before:?}, then {after:?}"
    );
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 1, "{before:?}, then {after:?}");
    eventually("the memory is given back", || sidecar.resident_kib() * 10 <= before.2 * 12);
    surrounded.expect_a_clean_end();
}

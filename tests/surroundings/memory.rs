//! No memory to spare: a control group of 12 MiB.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::{Redis, alone, eventually};
use crate::{Surrounded, after, cache, skipped};

/// The time for a check while hundreds of callers take the machine's.
const BUSY: &str = "timeout = \"2s\"";

/// A control group with a limit of memory, removed when this is dropped.
struct Group {
    dir: PathBuf,
    is_v2: bool,
}

impl Group {
    /// A group below the first mounted hierarchy that has memory.
    fn with_memory(bytes: usize) -> Result<Self, String> {
        let name = format!("cache-canary-test-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let group = if root.join("memory/memory.limit_in_bytes").exists() {
            Self { dir: root.join("memory").join(name), is_v2: false }
        } else {
            Self { dir: root.join(name), is_v2: true }
        };
        let make = || {
            if group.is_v2 {
                fs::write(root.join("cgroup.subtree_control"), "+memory")?;
            }
            fs::create_dir(&group.dir)?;
            let limit = if group.is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
            fs::write(group.dir.join(limit), bytes.to_string())
        };
        match make() {
            Ok(()) => Ok(group),
            Err(error) => Err(format!("no control group can be made: {error}")),
        }
    }

    /// The most memory that it has had, in KiB.
    fn most_kib(&self) -> usize {
        let file = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).map_or(0, |text| text.trim().parse::<usize>().unwrap() / 1024)
    }

    /// The number of its processes that were killed for want of memory.
    fn killed(&self) -> usize {
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.dir.join(file)).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        eventually("its processes have ended", || fs::remove_dir(&self.dir).is_ok() || !self.dir.exists());
    }
}

#[test]
fn hundreds_of_callers_are_answered_in_twelve_mebibytes() {
    const CALLERS: usize = 300;
    const EACH: usize = 5;
    let _turn = alone();
    let group = match Group::with_memory(12 * 1024 * 1024) {
        Ok(group) => group,
        Err(reason) => return skipped("a sidecar in 12 MiB", &reason),
    };
    let mut redis = Redis::start(&[]);
    let enter = format!("echo $$ >{}/cgroup.procs", group.dir.display());
    let surrounded = Surrounded::start(after(&enter), BUSY, &cache("main", &redis));
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    let before = surrounded.sidecar.resident_kib();
    for code in [200, 503, 200] {
        match (code, surrounded.sidecar.health().code) {
            (503, 200) => redis.kill(),
            (200, 503) => redis.restart(),
            _ => {}
        }
        let ask = || {
            let answers = (0..EACH).map(|_| surrounded.sidecar.health());
            let wrong = answers.filter(|health| health.code != code);
            wrong.map(|health| (health.took, health.fault_of("cache.main"))).collect::<Vec<_>>()
        };
        let wrong: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        assert!(wrong.is_empty(), "{} are not {code}, such as {:?}", wrong.len(), wrong[0]);
    }
    println!(
        "{CALLERS} callers: {before} KiB resident before, at most {} KiB in the group, {} KiB after",
        group.most_kib(),
        surrounded.sidecar.resident_kib()
    );
    assert_eq!(group.killed(), 0);
    eventually("the memory is given back", || surrounded.sidecar.resident_kib() * 10 <= before * 12);
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    surrounded.expect_a_clean_end();
}

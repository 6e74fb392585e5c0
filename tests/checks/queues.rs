//! The queues of real libraries, as real producers and workers keep them: the numbers that each preset reads while tasks
//! wait, run, are for later and fail, and after the worker is killed.
//!
//! `queues/workers.py` has the libraries. The layouts of `BullMQ`, django-tasks and Sidekiq are made by hand, as their sources
//! write them; workers of `BullMQ`'s Python port 3.4.4 and of django-tasks-redis 0.4.0, which this set of packages has no
//! place for, were run by hand. The passing of an hour is a change of scores.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::checks::{Found, find, measure};
use crate::support::{MAX_WAIT, Redis, Sidecar, eventually, python};

const CHECK: &str = "cache.main.queue";

/// The figures of a queue.
const FIGURES: [(&str, &str); 5] = [
    ("waiting", "cache_queue_length"),
    ("taken", "cache_queue_taken"),
    ("scheduled", "cache_queue_scheduled"),
    ("failed", "cache_queue_failed"),
    ("lost", "cache_queue_lost"),
];

/// A server with a sidecar that looks at its queues, with the rights that `acl` prints and no others.
struct Queues {
    redis: Redis,
    sidecar: Sidecar,
}

impl Queues {
    fn checked_by(settings: &str) -> Self {
        let redis = Redis::start(&[]);
        let url = format!("redis://canary:{PASSWORD}@{}", redis.addr());
        let config = format!("[caches.main]\nurl = \"{url}\"\n[caches.main.checks.queue]\n{settings}");
        let [user] = printed_users(&config);
        user.give(&redis, &[]);
        let sidecar = Sidecar::start(config);
        Self { redis, sidecar }
    }

    /// The numbers of a queue, in the order of [`FIGURES`], with those that are told.
    fn numbers(&self, queue: &str) -> String {
        let health = self.sidecar.health_in_time();
        let told = FIGURES.iter().filter_map(|(name, figure)| {
            Some(format!("{name} {}", measure(&health, CHECK, figure, Some(("key", queue)))?))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Waits until the numbers of each queue are these. The check is up.
    fn wait_for(&self, expected: &[(&str, &str)]) {
        let began = Instant::now();
        for (queue, numbers) in expected {
            while self.numbers(queue) != *numbers {
                assert!(began.elapsed() < MAX_WAIT, "{queue}: {}, not {numbers}", self.numbers(queue));
                thread::sleep(Duration::from_millis(50));
            }
        }
        self.sidecar.expect_up();
    }

    /// The time that the oldest entry has waited.
    fn age(&self, queue: &str) -> Option<Duration> {
        let of = Some(("key", queue));
        let age = measure(&self.sidecar.health(), CHECK, "cache_queue_oldest_age_seconds", of);
        age.map(Duration::from_secs_f64)
    }

    /// Wants one finding, which begins like this.
    fn expect(&self, beginning: &str) {
        let found = find(&self.sidecar, CHECK);
        let lines: Vec<_> = found.iter().map(Found::line).collect();
        assert!(lines.len() == 1 && lines[0].starts_with(beginning), "{lines:?} is not {beginning}");
    }

    /// Makes the scores of a sorted set so much lower, as if that time had passed.
    fn age_by(&self, key: &str, score: u64) {
        let all = "for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            redis.call('ZINCRBY', KEYS[1], -ARGV[1], member) end";
        self.redis.command(&["EVAL", all, "1", key, &score.to_string()]);
    }

    /// Sends these commands, a line each.
    fn write(&self, commands: &str) {
        for command in commands.lines().map(str::trim).filter(|command| !command.is_empty()) {
            self.redis.command(&command.split(' ').collect::<Vec<_>>());
        }
    }
}

/// A library, whose worker runs from [`Self::work`] to [`Self::kill`].
struct Library {
    name: &'static str,
    queues: Queues,
    worker: Option<Child>,
    log: tempfile::NamedTempFile,
}

impl Library {
    fn checked_by(name: &'static str, settings: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        Self { name, queues: Queues::checked_by(settings), worker: None, log }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let url = format!("redis://{}", self.queues.redis.addr());
        let mut command = python("checks/queues/workers.py", &[&[self.name, &url], arguments].concat());
        let log = File::options().append(true).open(self.log.path()).unwrap();
        // Nine hours from UTC: a score that is a local time would be seen.
        command
            .env("TZ", "XXX-9")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// Enqueues these tasks.
    fn put(&self, tasks: &str) {
        let tasks: Vec<_> = ["put"].into_iter().chain(tasks.split(' ')).collect();
        let status = self.command(&tasks).status().unwrap();
        assert!(status.success(), "{}", std::fs::read_to_string(self.log.path()).unwrap());
    }

    fn work(&mut self) {
        self.worker = Some(self.command(&["work"]).process_group(0).spawn().unwrap());
    }

    /// Ends the worker and all its processes with SIGKILL.
    fn kill(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let _ = kill_process_group(Pid::from_child(&worker), Signal::KILL);
        worker.wait().unwrap();
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

const LOST: &str = "lost = { down = 1 }";

#[test]
fn celery_has_prefetched_and_delayed_tasks_taken_and_the_running_one_nowhere() {
    let settings = "preset = \"celery\"\nlost = { down = 1 }\nwitness = [\"_kombu.binding.celery\"]";
    let mut library = Library::checked_by("celery", settings);
    library.queues.expect("DOWN missing_key key _kombu.binding.celery");
    library.put("later fail block block block");
    // A task for later stands in the queue until a worker meets it.
    library.queues.wait_for(&[("celery", "waiting 5"), ("unacked", "taken 0, lost 0")]);
    assert_eq!(library.queues.age("celery"), None);
    library.work();
    library.queues.wait_for(&[("celery", "waiting 0"), ("unacked", "taken 3, lost 0")]);
    // It prefetches four, and one more for each that is for later.
    library.put("block block block block");
    library.queues.wait_for(&[("celery", "waiting 2"), ("unacked", "taken 5, lost 0")]);
    library.kill();
    library.queues.wait_for(&[("celery", "waiting 2"), ("unacked", "taken 5, lost 0")]);
    // A healthy worker takes them back after an hour and 100 s at the latest.
    library.queues.age_by("unacked_index", 3_700);
    library.queues.sidecar.expect_up();
    library.queues.age_by("unacked_index", 300);
    library.queues.expect("DOWN lost_entries queue unacked 5 lost entries");
    assert_eq!(library.queues.numbers("unacked"), "taken 5, lost 5");
    // A worker takes back what is older than the visibility timeout.
    library.work();
    eventually("all are taken back", || library.queues.numbers("unacked").ends_with("lost 0"));
    library.queues.sidecar.expect_up();
}

#[test]
fn celery_with_a_prefix_a_separator_and_steps_of_its_own_has_a_list_for_each_priority() {
    let settings =
        "preset = \"celery\"\nprefix = \"app:\"\nseparator = \":\"\npriority_steps = [\"0\", \"4\"]";
    let mut library = Library::checked_by("celery_otherwise", &format!("{settings}\n{LOST}"));
    library.put("block block prioritized");
    library.queues.wait_for(&[("celery", "waiting 3"), ("unacked", "taken 0, lost 0")]);
    assert_eq!(library.queues.redis.command(&["LLEN", "app:celery:4"]), "1");
    // Acknowledged late, the running one is among the taken.
    library.work();
    library.queues.wait_for(&[("celery", "waiting 2"), ("unacked", "taken 1, lost 0")]);
    library.kill();
    library.queues.age_by("app:unacked_index", 4_000);
    library.queues.expect("DOWN lost_entries queue unacked 1 lost entry");
}

#[test]
fn rq_has_a_job_of_a_killed_worker_lost_once_its_heartbeat_is_overdue() {
    let mut library = Library::checked_by("rq", &format!("preset = \"rq\"\nnames = [\"default\"]\n{LOST}"));
    library.put("fail block block block later");
    let put = "waiting 4, taken 0, scheduled 1, failed 0, lost 0";
    library.queues.wait_for(&[("default", put)]);
    assert_eq!(library.queues.age("default"), None);
    library.work();
    let working = "waiting 2, taken 1, scheduled 1, failed 1, lost 0";
    library.queues.wait_for(&[("default", working)]);
    library.kill();
    library.queues.wait_for(&[("default", working)]);
    // The score is 90 s ahead.
    library.queues.age_by("rq:wip:default", 30);
    library.queues.sidecar.expect_up();
    library.queues.age_by("rq:wip:default", 100);
    library.queues.expect("DOWN lost_entries queue default 1 lost entry");
    // What was for later is due, and no scheduler moves it.
    library.queues.age_by("rq:scheduled:default", 3_660);
    assert_eq!(library.queues.numbers("default"), "waiting 3, taken 1, scheduled 0, failed 1, lost 1");
    let age = library.queues.age("default").unwrap();
    assert!((Duration::from_secs(50)..Duration::from_secs(50) + MAX_WAIT * 2).contains(&age), "{age:?}");
}

#[test]
fn arq_has_running_jobs_among_those_that_are_due() {
    let mut library = Library::checked_by("arq", "preset = \"arq\"");
    let began = Instant::now();
    library.put("fail block block later");
    library.queues.wait_for(&[("arq:queue", "waiting 3, scheduled 1")]);
    library.work();
    library.queues.wait_for(&[("arq:queue", "waiting 2, scheduled 1")]);
    let running = library.queues.age("arq:queue").unwrap();
    assert!(running < began.elapsed(), "{running:?}");
    library.kill();
    library.queues.wait_for(&[("arq:queue", "waiting 2, scheduled 1")]);
    library.queues.age_by("arq:queue", 3_600_000);
    library.queues.wait_for(&[("arq:queue", "waiting 3, scheduled 0")]);
    assert!(library.queues.age("arq:queue").unwrap() > Duration::from_hours(1));
}

#[test]
fn dramatiq_has_retries_and_delayed_messages_in_a_hash_alone() {
    let mut library = Library::checked_by("dramatiq", "preset = \"dramatiq\"");
    library.put("fail block block block block later");
    library.queues.wait_for(&[("default", "waiting 5, taken 0, scheduled 1, failed 0")]);
    // A worker for one message takes two.
    library.work();
    library.queues.wait_for(&[("default", "waiting 2, taken 2, scheduled 1, failed 1")]);
    library.kill();
    library.queues.wait_for(&[("default", "waiting 2, taken 2, scheduled 1, failed 1")]);

    let mut retries = Library::checked_by("dramatiq", "preset = \"dramatiq\"\nscheduled = { degraded = 3 }");
    retries.put("retry retry");
    retries.work();
    retries.queues.wait_for(&[("default", "waiting 0, taken 0, scheduled 2, failed 0")]);
    retries.put("retry");
    eventually("all are to be tried again", || {
        retries.queues.numbers("default") == "waiting 0, taken 0, scheduled 3, failed 0"
    });
    retries.queues.expect("DEGRADED too_long queue default 3 scheduled entries");
}

#[test]
fn huey_has_a_task_for_later_in_the_queue_until_a_consumer_meets_it() {
    for (name, task) in [("huey", "block"), ("huey_priority", "prioritized")] {
        // A name is kept without its hyphen.
        let mut library = Library::checked_by(name, "preset = \"huey\"\nnames = [\"my-app\"]");
        library.put("later fail block block");
        library.queues.wait_for(&[("myapp", "waiting 4, scheduled 0")]);
        library.work();
        library.queues.wait_for(&[("myapp", "waiting 1, scheduled 1")]);
        library.put(task);
        library.queues.wait_for(&[("myapp", "waiting 2, scheduled 1")]);
        // The one that runs is in no key. A score is off by the offset from UTC, and so no time.
        library.kill();
        library.queues.wait_for(&[("myapp", "waiting 2, scheduled 1")]);
        assert_eq!(library.queues.age("myapp"), None, "{name}");
    }
}

#[test]
fn saq_has_a_job_for_later_beside_those_whose_score_is_no_time() {
    let mut library = Library::checked_by("saq", "preset = \"saq\"");
    library.work();
    // A worker aborts the job that it has just taken if its first sweep meets it.
    eventually("the first sweep is over", || {
        library.queues.redis.command(&["EXISTS", "saq:default:sweep"]) == "1"
    });
    library.put("fail block block block later");
    library.queues.wait_for(&[("default", "waiting 2, taken 1, scheduled 1")]);
    assert_eq!(library.queues.age("default"), None);
    library.kill();
    library.queues.wait_for(&[("default", "waiting 2, taken 1, scheduled 1")]);
    library.queues.age_by("saq:default:incomplete", 3_660);
    assert_eq!(library.queues.numbers("default"), "waiting 3, taken 1, scheduled 0");
}

#[test]
fn taskiq_forgets_what_a_killed_worker_took_from_a_list_and_keeps_it_in_a_stream() {
    let mut library = Library::checked_by("taskiq_list", "preset = \"taskiq\"");
    library.put("fail block block");
    library.queues.wait_for(&[("taskiq", "waiting 3")]);
    library.work();
    library.queues.wait_for(&[("taskiq", "waiting 1")]);
    library.kill();
    library.queues.wait_for(&[("taskiq", "waiting 1")]);

    let mut library = Library::checked_by("taskiq_stream", &format!("preset = \"taskiq\"\n{LOST}"));
    library.put("fail block block block");
    library.queues.wait_for(&[("taskiq", "waiting 4, taken 0, lost 0")]);
    // A worker for one task takes a hundred; a failed one is done.
    library.work();
    library.queues.wait_for(&[("taskiq", "waiting 3, taken 3, lost 0")]);
    library.put("block block");
    library.queues.wait_for(&[("taskiq", "waiting 5, taken 3, lost 0")]);
    library.kill();
    library.queues.wait_for(&[("taskiq", "waiting 5, taken 3, lost 0")]);
    assert!(library.queues.age("taskiq").is_some());
    let ids = library.queues.redis.command(&["XPENDING", "taskiq", "taskiq", "-", "+", "1"]);
    let (id, rest) = ids.split_once('\n').unwrap();
    let consumer = rest.lines().next().unwrap();
    library.queues.redis.command(&["XCLAIM", "taskiq", "taskiq", consumer, "0", id, "IDLE", "660000"]);
    library.queues.expect("DOWN lost_entries queue taskiq 1 lost entry");
    assert_eq!(library.queues.numbers("taskiq"), "waiting 5, taken 3, lost 1");
}

#[test]
fn bullmq_has_no_time_in_a_score_and_a_paused_queue_in_the_list() {
    // `addStandardJob`, `addDelayedJob`, `addPrioritizedJob`, `moveToActive` and `moveToFinished` in BullMQ 5, `src/commands`;
    // its Python port writes the same. Delayed is ms x 4096, prioritized is the priority x 2^32 and a counter.
    let queues = Queues::checked_by(
        "preset = \"bullmq\"\nnames = [\"mail\"]\nage = { down = \"1s\" }\nlength = { down = 5 }",
    );
    queues.write(
        "HSET bull:mail:meta opts.maxLenEvents 10000 paused 1
        XADD bull:mail:events * event waiting jobId 1
        LPUSH bull:mail:wait 1 2
        ZADD bull:mail:prioritized 21474836481 3
        ZADD bull:mail:prioritized 21474836482 4
        LPUSH bull:mail:active 5
        ZADD bull:mail:delayed 7356372133244928 6
        ZADD bull:mail:completed 1795985690567 7
        ZADD bull:mail:failed 1795985690567 8",
    );
    queues.wait_for(&[("mail", "waiting 4, taken 1, scheduled 1, failed 1")]);
    assert_eq!(queues.age("mail"), None);
    queues.write("LPUSH bull:mail:wait 9");
    queues.expect("DOWN too_long queue mail 5 entries");
}

#[test]
fn sidekiq_has_retries_and_scheduled_jobs_in_sets_of_all_queues() {
    // `atomic_push` in Sidekiq 7, `lib/sidekiq/client.rb`, `process_retry` in `lib/sidekiq/job_retry.rb`.
    let queues = Queues::checked_by("preset = \"sidekiq\"\nage = { down = \"5m\" }");
    let hence = |minutes: i64| minutes * 60 + i64::try_from(now().as_secs()).unwrap();
    queues.write(&format!(
        "SADD queues default mailers
        LPUSH queue:default {{\"class\":\"One\"}} {{\"class\":\"Two\"}}
        LPUSH queue:mailers {{\"class\":\"Mail\"}}
        ZADD schedule {}.5 {{\"class\":\"Later\"}}
        ZADD retry {}.25 {{\"class\":\"Again\"}}
        ZADD retry {}.25 {{\"class\":\"Due\"}}
        ZADD dead {}.125 {{\"class\":\"Dead\"}}",
        hence(60),
        hence(1),
        hence(-1),
        hence(-600),
    ));
    queues.wait_for(&[
        ("default", "waiting 2"),
        ("mailers", "waiting 1"),
        ("low", "waiting 0"),
        ("sets", "waiting 1, scheduled 2, failed 1"),
    ]);
    // Nobody enqueues what is due.
    queues.age_by("retry", 390);
    queues.expect("DOWN too_old queue sets the oldest entry has waited 7m");
}

#[test]
fn django_tasks_has_what_a_worker_took_in_its_streams_and_the_rest_in_sets() {
    // `enqueue` in `django_tasks_redis/backends.py` 0.4.0, which needs Python 3.12.
    let settings = format!("preset = \"django-tasks\"\nvisibility_timeout = \"5m\"\n{LOST}");
    let queues = Queues::checked_by(&settings);
    let now = now().as_secs();
    queues.write(&format!(
        "XGROUP CREATE django_tasks:default:default:stream:normal django_tasks_workers 0 MKSTREAM
        XGROUP CREATE django_tasks:default:default:stream:high django_tasks_workers 0 MKSTREAM
        XADD django_tasks:default:default:stream:normal 1-1 task_id one
        XADD django_tasks:default:default:stream:normal 1-2 task_id two
        XADD django_tasks:default:default:stream:high 1-1 task_id three
        ZADD django_tasks:default:default:delayed {}.5 later
        ZADD django_tasks:default:default:status_index:READY {now}.5 one
        ZADD django_tasks:default:default:status_index:FAILED {now}.5 failed",
        now + 3_600,
    ));
    queues.wait_for(&[("default", "waiting 3, taken 0, scheduled 1, failed 1, lost 0")]);
    queues.write(
        "XREADGROUP GROUP django_tasks_workers host-1 COUNT 1 STREAMS django_tasks:default:default:stream:normal >",
    );
    queues.wait_for(&[("default", "waiting 3, taken 1, scheduled 1, failed 1, lost 0")]);
    queues.write(
        "XCLAIM django_tasks:default:default:stream:normal django_tasks_workers host-1 0 1-1 IDLE 330000",
    );
    queues.expect("DOWN lost_entries queue default 1 lost entry");
}

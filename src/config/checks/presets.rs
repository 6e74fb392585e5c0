//! The presets: the keys of well-known queues and clocks, and thresholds to begin with.

use std::time::Duration;

use super::QueueState::{Failed, Scheduled, Taken, Unfinished, Waiting};
use super::{ClockConfig, QueueGroup, QueueState, Thresholds, Unit};
use crate::config::keys;
use crate::outcome::CheckKind;

/// A key, without the prefix, and the state of its entries. `{name}` stands for the name of a queue, `{step}` for each
/// priority that has a key of its own.
type PresetKey = (QueueState, &'static str);

/// The queues of a library.
pub(super) struct QueuePreset {
    name: &'static str,
    /// The text before each key.
    pub(super) prefix: &'static str,
    /// The names of the queues that the library has by default.
    pub(super) names: &'static [&'static str],
    /// The keys of each queue.
    pub(super) each: &'static [PresetKey],
    /// The keys that all queues have in common, and the name for them.
    pub(super) shared: (&'static str, &'static [PresetKey]),
    /// `true` if the keys of a queue are summed.
    pub(super) summed: bool,
    /// `true` if a name loses all but letters, digits and `_`.
    pub(super) plain_names: bool,
    unit: Option<Unit>,
    /// The library's own visibility timeout with time for a healthy worker, if its keys show how long an entry is taken.
    visibility_timeout: Option<Duration>,
    length: Thresholds<u64>,
    age: Thresholds<Duration>,
    skew: Thresholds<f64>,
    /// The key of the lock.
    pub(super) lock: Option<&'static str>,
}

/// A library with one queue by the name of `default`, whose scores are seconds.
const LIBRARY: QueuePreset = QueuePreset {
    name: "",
    prefix: "",
    names: &["default"],
    each: &[],
    shared: ("", &[]),
    summed: true,
    plain_names: false,
    unit: Some(Unit::Seconds),
    visibility_timeout: None,
    length: Thresholds { degraded: Some(1_000), down: Some(10_000) },
    age: Thresholds { degraded: None, down: None },
    skew: Thresholds { degraded: None, down: None },
    lock: None,
};

/// Every preset of queues, each with the version that it was tried with, or whose source it follows.
const QUEUES: &[QueuePreset] = &[
    // `RedisBuffer` (`src/sentry/buffer/redis.py` in 2026): sorted sets scored by the last increment of an entry,
    // `pending_key` and its partitions, which are drained under `l:` and the key by turns. It drains what is not in a
    // partition too.
    QueuePreset {
        name: "sentry-buffer",
        names: &["b:p"],
        each: &[(Waiting, "{name}"), (Waiting, "{name}:{0..127}")],
        summed: false,
        length: Thresholds { degraded: Some(10_000), down: Some(50_000) },
        age: minutes(1, Some(10)),
        skew: Thresholds { degraded: Some(10.0), down: None },
        lock: Some("l:b:p"),
        ..LIBRARY
    },
    // Celery 5.7 with kombu 5.7 (`kombu/transport/redis.py`): a list for each of `priority_steps` (`_q_for_pri`).
    // `unacked_index` has the tasks that were prefetched, with a countdown, or, with `acks_late`, are running.
    QueuePreset {
        name: "celery",
        names: &["celery"],
        each: &[(Waiting, "{name}"), (Waiting, "{name}{step}")],
        shared: ("unacked", &[(Taken, "unacked_index")]),
        // kombu's own hour, and time for a healthy worker, which takes entries back every 100 seconds.
        visibility_timeout: Some(Duration::from_mins(65)),
        ..LIBRARY
    },
    // RQ 3.0 (`rq/queue.py`, `rq/registry.py`), with the three names that its documentation gives to queues. A score
    // of `wip` is the time when a heartbeat is due, which a worker writes ahead.
    QueuePreset {
        name: "rq",
        prefix: "rq:",
        names: &["high", "default", "low"],
        each: &[
            (Waiting, "queue:{name}"),
            (Taken, "queue:{name}:intermediate"),
            (Taken, "wip:{name}"),
            (Scheduled, "scheduled:{name}"),
            (Failed, "failed:{name}"),
        ],
        visibility_timeout: Some(Duration::from_secs(10)),
        ..LIBRARY
    },
    // Sidekiq's source (`lib/sidekiq/client.rb`, `lib/sidekiq/job_retry.rb`): its default queue, that of Rails'
    // mailers and the two that its documentation has beside it.
    QueuePreset {
        name: "sidekiq",
        names: &["critical", "default", "mailers", "low"],
        each: &[(Waiting, "queue:{name}")],
        shared: ("sets", &[(Scheduled, "schedule"), (Scheduled, "retry"), (Failed, "dead")]),
        ..LIBRARY
    },
    // arq 0.28 (`arq/connections.py`): a queue is one sorted set scored by the time when a job is due, which keeps a job
    // until it is done.
    QueuePreset {
        name: "arq",
        names: &["arq:queue"],
        each: &[(Scheduled, "{name}")],
        unit: Some(Unit::Milliseconds),
        ..LIBRARY
    },
    // BullMQ's source in version 5 (`src/classes/queue-keys.ts`). A score of `delayed` and `prioritized` is no time.
    QueuePreset {
        name: "bullmq",
        prefix: "bull:",
        names: &[],
        each: &[
            (Waiting, "{name}:wait"),
            (Waiting, "{name}:paused"),
            (Waiting, "{name}:prioritized"),
            (Taken, "{name}:active"),
            (Scheduled, "{name}:delayed"),
            (Failed, "{name}:failed"),
        ],
        unit: None,
        ..LIBRARY
    },
    // django-tasks-redis 0.4 (`django_tasks_redis/utils.py`): streams, and `REDIS_CLAIM_TIMEOUT`.
    QueuePreset {
        name: "django-tasks",
        prefix: "django_tasks:default:",
        each: &[
            (Waiting, "{name}:stream:high"),
            (Waiting, "{name}:stream:normal"),
            (Waiting, "{name}:stream:low"),
            (Scheduled, "{name}:delayed"),
            (Failed, "{name}:status_index:FAILED"),
        ],
        visibility_timeout: Some(Duration::from_mins(5)),
        ..LIBRARY
    },
    // dramatiq 2.2 (`dramatiq/brokers/redis/dispatch.lua`). A worker takes a delayed message at once and waits with
    // it, so only the hash has it.
    QueuePreset {
        name: "dramatiq",
        prefix: "dramatiq:",
        each: &[
            (Waiting, "{name}"),
            (Scheduled, "{name}.DQ.msgs"),
            (Failed, "{name}.XQ"),
            (Unfinished, "{name}.msgs"),
        ],
        unit: Some(Unit::Milliseconds),
        ..LIBRARY
    },
    // huey 3.5 (`huey/storage.py`): the queue is a list, or a sorted set scored by the negative priority. A score of the
    // schedule is UTC read as local time (`convert_ts`), which is no time outside of UTC.
    QueuePreset {
        name: "huey",
        prefix: "huey.",
        names: &["huey"],
        plain_names: true,
        unit: None,
        each: &[(Waiting, "redis.{name}"), (Scheduled, "schedule.{name}")],
        ..LIBRARY
    },
    // saq 0.26 (`saq/queue/redis.py`). The score of a job that is due is 0.
    QueuePreset {
        name: "saq",
        prefix: "saq:",
        each: &[(Waiting, "{name}:queued"), (Taken, "{name}:active"), (Scheduled, "{name}:incomplete")],
        ..LIBRARY
    },
    // taskiq-redis 1.2 (`taskiq_redis/redis_broker.py`): a list, or a stream with its `idle_timeout`.
    QueuePreset {
        name: "taskiq",
        names: &["taskiq"],
        each: &[(Waiting, "{name}")],
        visibility_timeout: Some(Duration::from_mins(10)),
        ..LIBRARY
    },
];

/// The kind of check that has a preset of this name.
pub(super) fn kind(name: &str) -> Option<CheckKind> {
    let kinds = [(CheckKind::Queue, keys::QUEUE_PRESETS), (CheckKind::Clock, keys::CLOCK_PRESETS)];
    kinds.into_iter().find_map(|(kind, names)| names.contains(&name).then_some(kind))
}

/// The queues that a preset stands for.
pub(super) fn queue(name: &str) -> Option<&'static QueuePreset> {
    QUEUES.iter().find(|preset| preset.name == name)
}

impl QueuePreset {
    /// A group of queues with its unit and limits, without keys.
    pub(super) fn group(&self) -> QueueGroup {
        QueueGroup {
            unit: self.unit,
            length: self.length,
            age: self.age,
            lost: Thresholds { degraded: self.visibility_timeout.map(|_| 1), down: None },
            visibility_timeout: self.visibility_timeout,
            skew: self.skew,
            ..QueueGroup::each(Vec::new())
        }
    }
}

/// The clocks that a preset stands for.
pub(super) fn clock(name: &str) -> Option<ClockConfig> {
    match name {
        "sentry-monitors" => Some(sentry_monitors()),
        _ => None,
    }
}

/// Sentry's monitors (`src/sentry/monitors/clock_dispatch.py`): `MONITOR_TASKS_PARTITION_CLOCKS` and
/// `MONITOR_TASKS_LAST_TRIGGERED_KEY`, in seconds with the second set to 0.
fn sentry_monitors() -> ClockConfig {
    ClockConfig {
        global: Some("sentry.monitors.last_tasks_ts".to_owned()),
        resolution: Duration::from_mins(1),
        lag: minutes(2, Some(5)),
        skew: minutes(2, Some(10)),
        standstill: minutes(5, None),
        ..ClockConfig::of("sentry.monitors.partition_clocks".to_owned())
    }
}

const fn minutes(degraded: u64, down: Option<u64>) -> Thresholds<Duration> {
    let down = match down {
        Some(down) => Some(Duration::from_mins(down)),
        None => None,
    };
    Thresholds { degraded: Some(Duration::from_mins(degraded)), down }
}

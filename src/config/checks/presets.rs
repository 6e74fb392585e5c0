//! The presets: the keys of well-known queues and clocks, and thresholds to begin with.

use std::time::Duration;

use super::{ClockConfig, Keys, QueueConfig, Thresholds};
use crate::config::keys;
use crate::outcome::CheckKind;

/// The kind of check that has a preset of this name.
pub(super) fn kind(name: &str) -> Option<CheckKind> {
    let kinds = [(CheckKind::Queue, keys::QUEUE_PRESETS), (CheckKind::Clock, keys::CLOCK_PRESETS)];
    kinds.into_iter().find_map(|(kind, names)| names.contains(&name).then_some(kind))
}

/// The queues that a preset stands for.
pub(super) fn queue(name: &str) -> Option<QueueConfig> {
    match name {
        "sentry-buffer" => Some(sentry_buffer()),
        "celery" => Some(celery()),
        "rq" => Some(rq()),
        "sidekiq" => Some(sidekiq()),
        _ => None,
    }
}

/// The clocks that a preset stands for.
pub(super) fn clock(name: &str) -> Option<ClockConfig> {
    match name {
        "sentry-monitors" => Some(sentry_monitors()),
        _ => None,
    }
}

/// `RedisBuffer` of Sentry (`src/sentry/buffer/redis.py`): sorted sets scored by `time()`, `pending_key` and its
/// partitions, which are drained under `l:` and the key by turns. It drains what is not in a partition too.
fn sentry_buffer() -> QueueConfig {
    let family = Keys { before: "b:p:".to_owned(), numbers: Some(0..=127), after: String::new() };
    QueueConfig {
        length: Thresholds { degraded: Some(10_000), down: Some(50_000) },
        age: minutes(1, Some(10)),
        skew: Thresholds { degraded: Some(10.0), down: None },
        lock: Some("l:b:p".to_owned()),
        ..QueueConfig::of(vec![Keys::one("b:p"), family])
    }
}

/// Lists of Celery's default queue, `task_default_queue`, one for each of kombu's `PRIORITY_STEPS`, whose name is
/// `sep` and the step behind the queue's (`_q_for_pri` in `kombu/transport/redis.py`).
fn celery() -> QueueConfig {
    lists(&["celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169"])
}

/// Lists of RQ: `redis_queue_namespace_prefix` (`rq/queue.py`) before the three names that its documentation gives to
/// queues.
fn rq() -> QueueConfig {
    lists(&["rq:queue:high", "rq:queue:default", "rq:queue:low"])
}

/// Lists of Sidekiq (`push` in `lib/sidekiq/client.rb`): `queue:` before its default queue, that of Rails' mailers and
/// the two that its documentation of queues has beside it.
fn sidekiq() -> QueueConfig {
    lists(&["queue:critical", "queue:default", "queue:mailers", "queue:low"])
}

fn lists(keys: &[&str]) -> QueueConfig {
    let length = Thresholds { degraded: Some(1_000), down: Some(10_000) };
    QueueConfig { length, ..QueueConfig::of(keys.iter().copied().map(Keys::one).collect()) }
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

fn minutes(degraded: u64, down: Option<u64>) -> Thresholds<Duration> {
    Thresholds { degraded: Some(Duration::from_mins(degraded)), down: down.map(Duration::from_mins) }
}

//! [`PolicyProbe`]: the settings of a Redis, as `INFO` tells them, against the configured use.
//!
//! `INFO` tells neither the rules of `save` nor the memory limit of a container: `total_system_memory` is the machine's
//! (`zmalloc_get_memory_size` in Redis' `zmalloc.c`). So nothing is judged by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{Value, cmd};
use tokio::time::Instant;

use super::{Probe, ProbeTarget, Server};
use crate::cache::redis::{Redis, answered, field};
use crate::config::checks::{PolicyConfig, Usage};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Finding, Status, advice};
use crate::progress::{NodeProgress, Progress};
use crate::redaction;

/// The sections of `INFO`, each with its own command: before Redis 7 a command takes only one.
const SECTIONS: [&str; 3] = ["memory", "persistence", "replication"];

/// The most bytes of all answers; the section on replication has a line for each replica.
const LIMIT: usize = 256 * 1024;

const NO_LIMIT: &str = "maxmemory is 0 and maxmemory-policy noeviction, so the cache grows until the machine has no memory; \
                        set maxmemory, and an evicting policy such as allkeys-lru";
const WRITABLE_REPLICA: &str =
    "a replica takes writes that its primary never gets; set replica-read-only yes, and use the primary";

/// The settings of one alias' servers.
pub(crate) struct PolicyProbe {
    config: PolicyConfig,
    /// The faults that this check has found, by server.
    faults: Mutex<BTreeMap<Arc<str>, Vec<String>>>,
}

impl PolicyProbe {
    pub(super) fn new(config: PolicyConfig) -> Self {
        Self { config, faults: Mutex::default() }
    }

    async fn read(&self, redis: &Redis, progress: &NodeProgress) -> Result<Vec<String>, Fault> {
        let commands = SECTIONS.map(|section| cmd("INFO").arg(section).take());
        let mut info = String::new();
        for answer in redis.ask_each(&commands, LIMIT, progress).await? {
            match answered(&answer, progress)
                .map_err(|fault| fault.needed_for("the check `policy`; grant +info"))?
            {
                Value::BulkString(bytes) => info.push_str(&redaction::raw(bytes)),
                Value::VerbatimString { text, .. } => info.push_str(text),
                _ => return Err(progress.fault(Cause::Protocol, "the answer to INFO is not a text")),
            }
            info.push('\n');
        }
        let policy = progress.redaction().text(field(&info, "maxmemory_policy").unwrap_or_default());
        let faults = judge(self.config, &policy, &info);
        progress.step(|| {
            let command = SECTIONS.map(|section| format!("INFO {section}")).join(", ");
            let saw = if faults.is_empty() { format!("policy {policy}") } else { faults.join("; ") };
            (command, format!("settings for use = \"{}\"", self.config.usage.name()), saw)
        });
        Ok(faults)
    }
}

/// Every setting that contradicts the use, with its remedy. `info` has the sections of `INFO` ("INFO" in Redis'
/// documentation), one after the other; a setting that it does not tell is not judged. `policy` is `maxmemory_policy`, as far as it
/// may be shown.
fn judge(config: PolicyConfig, policy: &str, info: &str) -> Vec<String> {
    let is = |name, value| field(info, name) == Some(value);
    // Before Redis 7 only the duration of the last snapshot tells, and a replica's first copy sets that as well.
    let saved = match field(info, "rdb_saves") {
        Some(number) => number != "0",
        None => field(info, "rdb_last_bgsave_time_sec").is_some_and(|seconds| seconds != "-1"),
    };
    let loaded = field(info, "rdb_last_load_keys_loaded").is_some_and(|number| number != "0");
    let keeps_nothing = is("aof_enabled", "0") && is("connected_slaves", "0") && !saved && !loaded;
    // Sessions and locks have a TTL, and the keys of a queue have none.
    let (lost, evicting, is_kept) = match config.usage {
        Usage::Cache => ("", &[][..], false),
        Usage::Queue => ("the keys of a queue", &["allkeys-"][..], true),
        Usage::Session => ("sessions", &["allkeys-", "volatile-"][..], true),
        Usage::Lock => ("locks", &["allkeys-", "volatile-"][..], false),
    };
    let mut faults = Vec::new();
    if evicting.iter().any(|kind| policy.starts_with(kind)) {
        faults.push(format!(
            "maxmemory-policy {policy} evicts {lost} when the memory is full; set maxmemory-policy noeviction"
        ));
    }
    if config.usage == Usage::Cache && policy == "noeviction" && is("maxmemory", "0") {
        faults.push(NO_LIMIT.to_owned());
    }
    // Of a queue that only a preset tells, it is not known whether it may be lost.
    if is_kept && keeps_nothing && !config.is_implied {
        faults.push(format!(
            "a restart loses {lost}: no append-only file, no replica, and no snapshot since the start; \
             set appendonly yes, set save, or add a replica"
        ));
    }
    if is("role", "slave") && is("slave_read_only", "0") {
        faults.push(WRITABLE_REPLICA.to_owned());
    }
    faults
}

#[async_trait]
impl Probe for PolicyProbe {
    fn begin(&self, _began: Instant) {
        self.faults.lock().clear();
    }

    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault> {
        // Only a Redis has a use in its configuration.
        let Server::Redis(redis) = &target.server else { return Ok(()) };
        let faults = self.read(redis, progress).await.or_else(|fault| {
            let is_refusal = matches!(fault.cause, Cause::Forbidden | Cause::Protocol)
                || fault.advice == Some(advice::CLOSED_WITHOUT_ANSWER);
            // Nobody asked for INFO, which a user or a proxy may refuse.
            if self.config.is_implied && is_refusal { Ok(Vec::new()) } else { Err(fault) }
        })?;
        self.faults.lock().insert(target.name.clone(), faults);
        Ok(())
    }

    fn judge(&self, progress: &Progress) {
        let found = std::mem::take(&mut *self.faults.lock());
        // A server that is no longer part of the alias is ignored.
        let passed = progress.passed();
        for (name, faults) in found.iter().filter(|(name, _)| passed.contains(name)) {
            for fault in faults {
                progress.find(Finding::new(Status::Degraded, Cause::Unfit, &format!("node {name}"), fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a server with this `INFO`, by the first words.
    fn said(usage: Usage, is_implied: bool, info: &str) -> Vec<String> {
        let info = info.replace(' ', "\r\n");
        let policy = field(&info, "maxmemory_policy").unwrap_or_default();
        let first = |fault: String| fault.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        judge(PolicyConfig { usage, is_implied }, policy, &info).into_iter().map(first).collect()
    }

    const FRESH: &str = "maxmemory:0 maxmemory_policy:noeviction aof_enabled:0 rdb_last_bgsave_time_sec:-1 rdb_saves:0 \
                         rdb_last_load_keys_loaded:0 role:master connected_slaves:0";

    #[test]
    fn each_use_is_contradicted_by_its_own_settings() {
        let evicting = FRESH.replace("noeviction", "allkeys-lru");
        let expiring = FRESH.replace("noeviction", "volatile-ttl");
        let (evicts, expires) =
            ("maxmemory-policy allkeys-lru evicts", "maxmemory-policy volatile-ttl evicts");
        let loses = "a restart loses";
        assert_eq!(said(Usage::Cache, false, FRESH), ["maxmemory is 0"]);
        assert!(said(Usage::Cache, false, &evicting).is_empty());
        assert!(said(Usage::Cache, false, &FRESH.replace("maxmemory:0", "maxmemory:1")).is_empty());
        assert_eq!(said(Usage::Queue, false, &evicting), [evicts, loses]);
        assert_eq!(said(Usage::Queue, false, &expiring), [loses]);
        assert_eq!(said(Usage::Queue, true, &evicting), [evicts]);
        assert_eq!(said(Usage::Session, false, &expiring), [expires, loses]);
        assert_eq!(said(Usage::Lock, false, &expiring), [expires]);
        assert!(said(Usage::Lock, false, FRESH).is_empty());
    }

    #[test]
    fn a_file_a_snapshot_or_a_replica_keeps_sessions_and_a_writable_replica_none() {
        for (before, after) in [
            ("aof_enabled:0", "aof_enabled:1"),
            ("rdb_last_bgsave_time_sec:-1 rdb_saves:0", "rdb_last_bgsave_time_sec:0"),
            ("rdb_saves:0", "rdb_saves:1"),
            ("keys_loaded:0", "keys_loaded:7"),
            ("connected_slaves:0", "connected_slaves:1"),
        ] {
            assert!(said(Usage::Session, false, &FRESH.replace(before, after)).is_empty(), "{after}");
        }
        let copied = FRESH.replace("time_sec:-1", "time_sec:0");
        assert_eq!(said(Usage::Session, false, &copied), ["a restart loses"], "a replica that is gone");
        let replica = FRESH.replace("role:master", "role:slave slave_read_only:0");
        assert_eq!(said(Usage::Lock, false, &replica), ["a replica takes"]);
        assert!(said(Usage::Lock, false, &replica.replace("only:0", "only:1")).is_empty());
        assert!(said(Usage::Session, false, "").is_empty(), "what is not told is not judged");
    }
}

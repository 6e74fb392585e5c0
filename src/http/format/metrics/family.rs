//! [`Family`]: the metrics of the sidecar and of every check, from one closed list.

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// It goes up and down.
    Gauge,
    /// It only grows, except for a restart. Its name ends in `_total`.
    Counter,
    /// The number of observations within each bound.
    Histogram,
    /// Its labels hold its information. Its name ends in `_info`.
    Info,
}

/// Makes [`Family`] with its table: variant, type, name, labels, help text.
macro_rules! families {
    ($($variant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)+) => {
        /// The metric families of the sidecar and of every check; [`Figure`](crate::outcome::Figure) has those that
        /// checks measure. A closed list: the names are promised to people's monitoring.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Family { $(#[doc = $help] $variant,)+ }

        impl Family {
            /// Every family, in the order in which they are written.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The type of the family.
            #[must_use]
            pub fn kind(self) -> Type {
                match self { $(Self::$variant => Type::$kind,)+ }
            }

            /// The labels of its series, except for the bounds of a histogram.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// The help text, a sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

families! {
    Up Gauge "cache_up" ["alias" "check"] "1 if the check is up or degraded, 0 if it is down.";
    Status Gauge "cache_status" ["alias" "check" "status"] "1 for the current status of the check, 0 for every other status.";
    DownNotRequired Gauge "cache_down_not_required" ["alias" "check"] "1 if the check of a cache with required = false would be down if the cache was required, 0 if not; only such caches have this series.";
    CheckTimestamp Gauge "cache_check_timestamp_seconds" ["alias" "check"] "Unix time at which the latest check began, in seconds.";
    LastUp Gauge "cache_last_up_timestamp_seconds" ["alias" "check"] "Unix time at which the last check that was up or degraded began, in seconds.";
    CheckDuration Histogram "cache_check_duration_seconds" ["alias" "check"] "Duration of checks, in seconds.";
    Checks Counter "cache_checks_total" ["alias" "check" "result"] "Checks by result: up, degraded or down.";
    CheckFailures Counter "cache_check_failures_total" ["alias" "check" "cause"] "Checks that were degraded or down, by their main cause; a series appears with its first failure.";
    ChecksShared Counter "cache_checks_shared_total" ["alias" "check"] "Requests answered with the result of a check that another request had started.";
    VerdictsShared Counter "cache_shared_verdicts_total" ["alias" "check" "through" "result"] "Lookups of a result to reuse, by source (this process, or the store of the fleet) and result: hit (no check was made), miss (none was found), invalidated (one was found that is outdated).";
    ConnectionsOpened Counter "cache_connections_opened_total" ["alias" "check"] "Connections opened by checks, to servers, Sentinels and cluster seeds.";
    CheckPhase Gauge "cache_check_phase_seconds" ["alias" "check" "phase"] "Duration of each phase of the latest check, at its slowest node, in seconds.";
    NodeUp Gauge "cache_node_up" ["alias" "check" "node"] "1 if the node passed the latest check, 0 if it failed.";
    Expiry Gauge "cache_expiry_timestamp_seconds" ["alias" "node" "what"] "Unix time at which a certificate or token ends, in seconds; without `node` if all nodes share it, and without `alias` for the certificate in `[tls]`.";
    Skipped Gauge "cache_skipped" ["alias" "reason"] "1 for each alias that is not checked, by reason; for the reason unknown, cache-canary does not know its backend.";
    RoundClock Gauge "cache_round_clock_timestamp_seconds" [] "Unix time through which every cache was checked, in seconds: the earliest start of any partition's last completed round. The round metrics exist only while rounds run.";
    RoundPartitionClock Gauge "cache_round_partition_clock_timestamp_seconds" ["partition"] "Unix time at which the partition's last completed round began, in seconds.";
    Rounds Counter "cache_rounds_total" [] "Rounds that all partitions have completed.";
    RoundsMissed Counter "cache_rounds_missed_total" ["partition"] "Rounds that the partition skipped because the previous one took too long.";
    BuildInfo Info "cache_canary_build_info" ["version" "revision"] "Version and revision of this cache-canary; the value is always 1.";
    Targets Gauge "cache_targets" [] "Targets in the list of `targets`, of all shards together; only with that setting.";
    TargetsRefreshSuccess Gauge "cache_targets_refresh_success" [] "1 if the last fetch of the targets gave a valid list, 0 if not; only with `targets.http`.";
    TargetsLastRefreshSuccess Gauge "cache_targets_last_refresh_success_timestamp_seconds" [] "Unix time of the last fetch of the targets that gave a valid list, in seconds; only with `targets.http`.";
    ShardInfo Info "cache_shard_info" ["index" "of"] "Shard of this replica and number of shards; the value is always 1. The shard metrics exist only with `shard`.";
    Shards Gauge "cache_shards" [] "Number of shards, `shard.of`.";
    ShardAliases Gauge "cache_shard_aliases" [] "Aliases of this shard, checked and skipped.";
    ShardAliasesConfigured Gauge "cache_shard_aliases_configured" [] "Aliases of all shards together, in the configuration of this one.";
    ReloadSuccess Gauge "cache_config_reload_success" [] "1 if the last reload of the configuration succeeded, 0 if it was rejected.";
    LastReloadSuccess Gauge "cache_config_last_reload_success_timestamp_seconds" [] "Unix time of the last successful configuration load, in seconds.";
    Connections Gauge "cache_canary_connections" ["state"] "Open client connections, by state: reading a request head, waiting for a response, or idle.";
    Refused Counter "cache_canary_refused_total" ["reason"] "Connections closed and responses refused because a limit was reached, by reason.";
    Denied Counter "cache_canary_denied_total" ["reason"] "Requests denied by `[access]`, by reason: caller (outside `allow`, 403) or token (a wrong bearer token, 401).";
    LogLinesLost Counter "cache_canary_log_lines_lost_total" [] "Log lines lost because stderr was closed, full or read too slowly.";
    LogLinesLimited Counter "cache_canary_log_lines_limited_total" [] "Log lines suppressed because callers caused more than ten per second.";
    ProcessCpu Counter "process_cpu_seconds_total" [] "Total user and system CPU time, in seconds.";
    ProcessResidentMemory Gauge "process_resident_memory_bytes" [] "Resident memory, in bytes.";
    ProcessVirtualMemory Gauge "process_virtual_memory_bytes" [] "Virtual memory, in bytes.";
    ProcessOpenFds Gauge "process_open_fds" [] "Open file descriptors.";
    ProcessMaxFds Gauge "process_max_fds" [] "Maximum number of open file descriptors.";
    ProcessStartTime Gauge "process_start_time_seconds" [] "Unix time at which the process started, in seconds.";
}

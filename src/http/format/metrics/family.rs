//! [`Family`]: what is said of the sidecar and of every check, from one closed list.

/// What kind of figure a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// It goes up and down.
    Gauge,
    /// It only grows, but for a restart. Its name ends in `_total`.
    Counter,
    /// How many of what was observed was within each bound.
    Histogram,
    /// Its labels are what it says. Its name ends in `_info`.
    Info,
}

/// Makes [`Family`] with its table: variant, type, name, labels, what it is.
macro_rules! families {
    ($($variant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)+) => {
        /// What is said of the sidecar and of every check, beside what the checks measure
        /// ([`Figure`](crate::outcome::Figure)). A closed list: the names are promised to people's monitoring.
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

            /// What kind of figure it has.
            #[must_use]
            pub fn kind(self) -> Type {
                match self { $(Self::$variant => Type::$kind,)+ }
            }

            /// The labels of its series, but for the bounds of a histogram.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

families! {
    Up Gauge "cache_up" ["alias" "check"] "Whether the check passed, if only as degraded.";
    Status Gauge "cache_status" ["alias" "check" "status"] "What the check came to: 1 for one status, 0 for the others.";
    CheckTimestamp Gauge "cache_check_timestamp_seconds" ["alias" "check"] "When the check began that says so, since 1970.";
    LastUp Gauge "cache_last_up_timestamp_seconds" ["alias" "check"] "When the last check that passed began, if only as degraded, since 1970.";
    CheckDuration Histogram "cache_check_duration_seconds" ["alias" "check"] "How long checks took, from their beginning to their verdict.";
    Checks Counter "cache_checks_total" ["alias" "check" "result"] "Checks, by what they came to: up, degraded or down.";
    CheckFailures Counter "cache_check_failures_total" ["alias" "check" "cause"] "Checks that were not up, by the cause that stands for them; from the first one on.";
    ChecksShared Counter "cache_checks_shared_total" ["alias" "check"] "Callers who were given the verdict of a check that was made for another.";
    VerdictsShared Counter "cache_shared_verdicts_total" ["alias" "check" "through" "result"] "Looks for somebody else's verdict, another caller's of this process or another sidecar's through a store: hit spared a check, miss found none, invalidated found one that was not to be given any more.";
    ConnectionsOpened Counter "cache_connections_opened_total" ["alias" "check"] "Connections that checks opened, to whomever they asked: servers, Sentinels, seeds of a cluster.";
    CheckPhase Gauge "cache_check_phase_seconds" ["alias" "check" "phase"] "How long each phase of the check took, at the node that took longest for it.";
    NodeUp Gauge "cache_node_up" ["alias" "check" "node"] "Whether the node did what it was asked.";
    RoundClock Gauge "cache_round_clock_timestamp_seconds" [] "When the round began through which everything is checked, since 1970: the least of the partitions' clocks. Where rounds are made, as is what follows of them.";
    RoundPartitionClock Gauge "cache_round_partition_clock_timestamp_seconds" ["partition"] "When the last round began all of whose checks in this partition have ended, since 1970.";
    Rounds Counter "cache_rounds_total" [] "Rounds that have ended in every partition.";
    RoundsMissed Counter "cache_rounds_missed_total" ["partition"] "Rounds that a partition jumped over, since the one before them took too long.";
    BuildInfo Info "cache_canary_build_info" ["version" "revision"] "Which cache-canary this is.";
    ReloadSuccess Gauge "cache_config_reload_success" [] "Whether the configuration was taken over when it was last read.";
    LastReloadSuccess Gauge "cache_config_last_reload_success_timestamp_seconds" [] "When a configuration was last taken over, since 1970.";
    Connections Gauge "cache_canary_connections" ["state"] "Open connections of callers, by what they wait for: a head, an answer or another request.";
    Refused Counter "cache_canary_refused_total" ["reason"] "Connections that were closed, and answers that were refused, for want of places or memory, by reason.";
    LogLinesLost Counter "cache_canary_log_lines_lost_total" [] "Log lines lost because stderr could not be written or was not read in time.";
    LogLinesLimited Counter "cache_canary_log_lines_limited_total" [] "Log lines left out because callers caused more than ten a second.";
    ProcessCpu Counter "process_cpu_seconds_total" [] "Time that the process has spent on a processor.";
    ProcessResidentMemory Gauge "process_resident_memory_bytes" [] "Memory that the process has.";
    ProcessVirtualMemory Gauge "process_virtual_memory_bytes" [] "Addresses that the process has.";
    ProcessOpenFds Gauge "process_open_fds" [] "Files and sockets that the process has open.";
    ProcessMaxFds Gauge "process_max_fds" [] "Files and sockets that the process may have open.";
    ProcessStartTime Gauge "process_start_time_seconds" [] "When the process began, since 1970.";
}

//! [`Figure`]: the quantities that checks measure, from one closed list.

/// Makes [`Figure`] with its table: variant, stable name, label, help text.
macro_rules! figures {
    ($($variant:ident $name:literal $of:literal $help:literal;)+) => {
        /// A quantity that a check measures. A closed list: the names are promised to people's monitoring. Each ends in
        /// its unit, and in `_total` if it is a counter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Figure { $(#[doc = $help] $variant,)+ }

        impl Figure {
            /// Every figure, in the order in which the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name, as in JSON and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The label that names the subject; empty if an alias has only one.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $of,)+ }
            }

            /// The help text, a sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

figures! {
    WriteLag "cache_visibility_write_lag_seconds" "view" "Longest time until the view showed a write made through the alias, in seconds.";
    DeleteLag "cache_visibility_delete_lag_seconds" "view" "Longest time that the view still showed a key deleted through the alias, in seconds.";
    QueueLength "cache_queue_length" "key" "Entries in the queue that wait; in a stream, those not acknowledged.";
    QueueTaken "cache_queue_taken" "key" "Entries that workers have taken.";
    QueueScheduled "cache_queue_scheduled" "key" "Entries that are for later.";
    QueueFailed "cache_queue_failed" "key" "Entries that failed.";
    QueueLost "cache_queue_lost" "key" "Entries taken for longer than `visibility_timeout`.";
    QueueOldestAge "cache_queue_oldest_age_seconds" "key" "Age of the oldest entry in the queue, in seconds.";
    QueueLockHeld "cache_queue_lock_held" "lock" "1 if the lock of the queues is held, else 0.";
    ClockLag "cache_clock_lag_seconds" "" "Lag of the slowest partition's clock behind the current time, in seconds.";
    ClockSkew "cache_clock_skew_seconds" "" "Difference between the fastest and the slowest partition's clock, in seconds.";
    ClockGlobalOffset "cache_clock_global_offset_seconds" "" "Offset of the global clock from the slowest partition's, in seconds; positive if it is ahead.";
    ClockPartitions "cache_clock_partitions" "" "Partitions that have a clock.";
    Hits "cache_node_hits_total" "node" "Cache hits since the server started, from its own counter.";
    Misses "cache_node_misses_total" "node" "Cache misses since the server started, from its own counter.";
    Evictions "cache_node_evictions_total" "node" "Entries evicted to free memory, from the server's counter.";
    EvictedAge "cache_node_evicted_age_seconds" "node" "Shortest time since the last use of an entry that memcached evicted lately, in seconds.";
    Expired "cache_node_expired_total" "node" "Entries expired by their TTL, from the server's counter.";
    HitRatio "cache_node_hit_ratio" "node" "Ratio of hits to lookups since the previous check, 0 to 1.";
    MemoryUsed "cache_node_memory_used_bytes" "node" "Memory used for data, in bytes; of memcached, the chunks in use.";
    MemoryLimit "cache_node_memory_limit_bytes" "node" "Memory limit for data, in bytes; of memcached, the chunks that its slabs can have.";
    Connections "cache_node_connections" "node" "Open client connections.";
    ConnectionsLimit "cache_node_connections_limit" "node" "Maximum number of client connections.";
    TtlSampled "cache_ttl_sampled" "pattern" "Entries whose TTL was read in the last check.";
    TtlBroken "cache_ttl_broken" "pattern" "Entries known to have no TTL, or one above the configured `max`.";
}

impl Figure {
    /// `true` if it only grows, except for a restart.
    #[must_use]
    pub fn is_counter(self) -> bool {
        self.name().ends_with("_total")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_a_counter_and_a_ratio_is_not() {
        assert!(Figure::Hits.is_counter());
        assert!(!Figure::HitRatio.is_counter());
    }
}

//! [`Figure`]: what a check measures, from one closed list.

/// Makes [`Figure`] with its table: variant, stable name, what one of several is of, what it is.
macro_rules! figures {
    ($($variant:ident $name:literal $of:literal $help:literal;)+) => {
        /// What a check measures. A closed list: the names are promised to people's monitoring. Each ends in its unit,
        /// and in `_total` where it is a counter.
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

            /// The label that says what it is of; empty where an alias has only one.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $of,)+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

figures! {
    WriteLag "cache_visibility_write_lag_seconds" "view" "How long a view took to show what was written through the alias, at worst.";
    DeleteLag "cache_visibility_delete_lag_seconds" "view" "How long a view went on showing what was deleted through the alias, at worst.";
    QueueLength "cache_queue_length" "key" "How many entries a queue has.";
    QueueOldestAge "cache_queue_oldest_age_seconds" "key" "How long the oldest entry of a queue has been there.";
    QueueLockHeld "cache_queue_lock_held" "lock" "Whether the lock of the queues is held.";
    ClockLag "cache_clock_lag_seconds" "" "How far the least of the clocks is behind now.";
    ClockSkew "cache_clock_skew_seconds" "" "How far the clocks are apart.";
    ClockGlobalOffset "cache_clock_global_offset_seconds" "" "How far the global clock is ahead of the least of the partitions'.";
    ClockPartitions "cache_clock_partitions" "" "How many partitions have a clock.";
    Hits "cache_node_hits_total" "node" "Look-ups that found something, as the server counts them.";
    Misses "cache_node_misses_total" "node" "Look-ups that found nothing, as the server counts them.";
    Evictions "cache_node_evictions_total" "node" "Entries that the server threw out to make room.";
    Expired "cache_node_expired_total" "node" "Entries whose time was up, as the server counts them.";
    HitRatio "cache_node_hit_ratio" "node" "Hits in relation to look-ups, since the last look.";
    MemoryUsed "cache_node_memory_used_bytes" "node" "Memory that the server uses for data.";
    MemoryLimit "cache_node_memory_limit_bytes" "node" "Memory that the server may use for data.";
    Connections "cache_node_connections" "node" "Connections that the server has.";
    ConnectionsLimit "cache_node_connections_limit" "node" "Connections that the server may have.";
    TtlSampled "cache_ttl_sampled" "pattern" "Entries whose time to live was looked at.";
    TtlBroken "cache_ttl_broken" "pattern" "Entries among them that live longer than was promised.";
}

impl Figure {
    /// Whether it only ever grows, but for a restart.
    #[must_use]
    pub fn is_counter(self) -> bool {
        self.name().ends_with("_total")
    }
}

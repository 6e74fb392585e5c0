//! [`Cause`]: the cause of a failed check, from one closed list.

use std::fmt;

/// Makes [`Cause`] with its table: variant, stable name, hint for the operator.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $hint:literal;)+) => {
        /// The cause of a failed check. A closed list: the names are promised to people's monitoring.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $variant,)+ }

        impl Cause {
            /// Every cause, in the order in which the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name, as in JSON and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence that tells the operator where to look.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)+ }
            }
        }
    };
}

causes! {
    /// The name of the host has no address.
    Unresolvable "unresolvable" "The host name does not resolve: check its spelling, and the DNS resolver of the sidecar's host.";
    /// Nothing listens, or the server takes no more connections.
    Refused "refused" "The server refused the connection: check that it runs, that host and port are right, and that it is below its connection limit.";
    /// No answer before the deadline.
    TimedOut "timed_out" "The server did not answer in time: check whether it hangs, is overloaded, or is behind a firewall that drops packets.";
    /// TLS could not be agreed on.
    Tls "tls" "The TLS handshake failed: check the certificate's dates, name and issuer, and that both sides use TLS.";
    /// The credentials were rejected, or are missing.
    Auth "auth" "Authentication failed: check that user and password are the server's, and that they are set only if it requires them.";
    /// The user may not do what the check does.
    Forbidden "forbidden" "The user lacks permission for a command or key of the check: grant the rights that `cache-canary acl` prints.";
    /// The database cannot be chosen.
    Database "database" "The database cannot be used: check its number against the server's `databases` (a cluster: `cluster-databases` of Valkey 9), and use database 0 behind a proxy that all clients share.";
    /// The server is a replica, or takes no writes.
    ReadOnly "read_only" "The server is read-only, usually a replica: check for a failover, and point the address at the primary.";
    /// The server's memory is full and it may not evict.
    OutOfMemory "out_of_memory" "The server is out of memory and cannot evict: raise its memory limit, or allow eviction.";
    /// The server refuses writes until another fault is fixed.
    WriteBlocked "write_blocked" "The server refuses writes: read its error text, then fix what it names: a failed snapshot, missing replicas or a running script.";
    /// The server is still reading its data from disk.
    Loading "loading" "The server is loading its data from disk: wait until it finishes; if it repeats, check for restarts and full resyncs.";
    /// The cluster does not serve the canary's slot.
    ClusterDown "cluster_down" "The Redis cluster is down: check for slots without an owner, and for primaries that are down or cannot reach each other.";
    /// A replica lost its primary and may not answer from old data.
    PrimaryDown "primary_down" "The replica has lost its primary and may not serve stale data: check the primary and the replication link.";
    /// The server answered that it did not store the canary.
    NotStored "not_stored" "The server answered that it did not store the value: check its item size limit, and any proxy in front of it.";
    /// The write was acknowledged and the read answered with the sentinel.
    Masked "masked" "The write was acknowledged, but the value cannot be read back: check for an open circuit breaker, a proxy with a dead pool, eviction, or a flush.";
    /// The read answered with an earlier canary of this instance.
    Stale "stale" "Writes are acknowledged but dropped, while reads return older data: check the circuit breaker or proxy in front of the server.";
    /// The read answered with another instance's canary.
    Foreign "foreign" "The read returned the value of another key: check for a proxy or client layer that rewrites keys.";
    /// The read answered with something that no instance wrote.
    Corrupt "corrupt" "The value was altered: check whether another program writes keys with the canary's prefix, or a proxy changes values.";
    /// The answer was not one that the protocol allows here.
    Protocol "protocol" "The answer breaks the protocol: check the port, the configured backend, and that both sides or neither use TLS.";
    /// The server is one of a cluster and names another one for the canary's slot.
    Redirected "redirected" "The server redirects clients to another cluster node: use a redis+cluster:// URL; if it is one already, the nodes disagree about a slot's owner.";
    /// Those that tell where the servers are contradict each other.
    Conflict "conflict" "Sentinels name different primaries, so clients may write to different servers: compare the answers to SENTINEL MASTER, and reset the wrong Sentinel.";
    /// A node of a cluster, or a Sentinel, contradicts most of the others.
    SplitView "split_view" "A node's map of the cluster, or a Sentinel's state, differs from that of most others, so clients or failovers may go by outdated data: compare CLUSTER NODES or SENTINEL MASTER of the named node with another one.";
    /// A replica did not show the primary's canary in time.
    Behind "behind" "The replica did not receive the write in time: check the replication link, and the load of the replica.";
    /// A way into the cache does not show a write.
    InvisibleWrite "invisible_write" "The view does not show a write in time: check for replica lag, a lost primary, or clients that map keys to different servers.";
    /// A way into the cache goes on showing a deleted key.
    InvisibleDelete "invisible_delete" "The view still shows a deleted key, so applications read outdated data: check for replica lag, a lost primary, or clients that map keys to different servers.";
    /// A node passes its check, and takes longer than configured.
    Slow "slow" "The cache responds in time, but takes longer than `slow`: check DNS for the phase resolve, the network for connect and tls, and the server's load and slow log for auth, write and read; auth includes a run of `password_command`.";
    /// A queue has too many entries.
    TooLong "too_long" "The queue has more entries than configured: check that its workers run and finish entries, and whether producers add more than before.";
    /// The oldest entry of a queue has waited for too long.
    TooOld "too_old" "The oldest entry of the queue has waited too long: check whether its workers have stopped, or whether they process newer entries first.";
    /// A queue has too many failed entries.
    FailedEntries "failed_entries" "Entries of the queue have failed: read their errors in the library's own tools, then repeat or delete them.";
    /// Entries were taken from a queue too long ago.
    LostEntries "lost_entries" "A worker took entries and never finished them: check whether it was killed, and whether another worker runs that takes them back.";
    /// A key that must exist does not.
    MissingKey "missing_key" "A key that must exist does not: check the database's number, the prefix and the spelling of keys, and whether the data was flushed.";
    /// A partition of a queue is out of proportion to its siblings.
    Skewed "skewed" "One partition is far longer than its siblings: check whether its worker has stopped, or whether most entries share one key.";
    /// A queue's lock is held while nothing is drained.
    Locked "locked" "The lock is held while nothing is drained: check whether its holder hangs, or died without releasing it.";
    /// A key holds another kind of value than the check is for.
    WrongType "wrong_type" "The key holds a value of another type than this check reads: check the configured key name.";
    /// The global clock is ahead of a partition's.
    ClockAhead "clock_ahead" "The global clock is ahead of the slowest partition, so work still queued counts as missed: find the process that advanced it.";
    /// The global clock does not follow the partitions'.
    ClockBehind "clock_behind" "The global clock does not follow the slowest partition: check that the process that advances it runs.";
    /// The slowest partition's clock is behind the present.
    ClockLag "clock_lag" "The slowest partition is behind the present: check whether its consumer has stopped or cannot keep up.";
    /// The partitions' clocks have run apart.
    ClockSkew "clock_skew" "The partition clocks have drifted apart: check whether the slowest partition's consumer has stopped or cannot keep up.";
    /// Partitions have no clock.
    Drought "drought" "Fewer partitions have a clock than expected: check that the missing ones receive messages and have a consumer.";
    /// A partition's clock stands still while others move.
    Standstill "standstill" "A partition's clock has stopped while others advance: check its consumer, and that messages reach the partition.";
    /// A clock went backwards.
    ClockBackwards "clock_backwards" "A clock moved backward: check whether the message log is being replayed, or a clock or its server was set back.";
    /// Too few lookups find something.
    LowHitRatio "low_hit_ratio" "The hit ratio is too low: check for a recent restart or flush, too little memory, or keys that change too often.";
    /// Too many entries are evicted to make room.
    Evicting "evicting" "The server evicts entries before they expire: give it more memory, or store less.";
    /// Memory is nearly used up.
    MemoryHigh "memory_high" "The server is close to its memory limit: raise the limit, store less, or shorten TTLs.";
    /// Connections are nearly used up.
    ConnectionsHigh "connections_high" "The server is close to its connection limit: check for clients that leak connections, or raise the limit.";
    /// Entries live longer than configured, or for ever.
    Immortal "immortal" "Entries have no TTL, or one above the configured `max`, so they stay in memory too long: fix the code that writes them.";
    /// A certificate or a token ends soon.
    Expiring "expiring" "A certificate or token ends soon or has ended: renew it, and have the server or cache-canary load the new one.";
    /// The server is another one than before, with other data.
    WrongCache "wrong_cache" "The server has another identity marker than expected, so its data is another cache's: check DNS, proxies, reused addresses and merged clusters; after a planned move, see `wrong_cache` in the documentation.";
    /// The server has lost its data since the last check.
    Lost "lost" "The identity marker was gone, so other data was probably lost with it: check for a flush, a restart without data, a failover to an empty replica, and eviction.";
    /// The settings of the server contradict the use of the cache.
    Unfit "unfit" "The server's settings contradict the `use` of the cache, which the configuration or a preset of queues tells: change the setting that the details name, or correct `use`.";
    /// Any other network error.
    Unreachable "unreachable" "The server cannot be reached: check the network, and any proxy in front of it.";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! [`Cause`]: why a check did not pass, from one closed list.

use std::fmt;

/// Makes [`Cause`] with its table: variant, stable name, hint for the operator.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $hint:literal;)+) => {
        /// Why a check did not pass. A closed list: the names are promised to people's monitoring.
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
    Unresolvable "unresolvable" "The host name has no address: check its spelling, and that DNS works where the sidecar runs.";
    /// Nothing listens, or the server takes no more connections.
    Refused "refused" "Nothing accepts connections there: is the server running, is the port right, is it at its connection limit?";
    /// No answer before the deadline.
    TimedOut "timed_out" "The server hangs or is overloaded, or a firewall drops packets.";
    /// TLS could not be agreed on.
    Tls "tls" "TLS failed: check the certificate's dates, name and issuer, and whether both sides expect TLS.";
    /// The credentials were not taken, or are missing.
    Auth "auth" "The server wants other credentials than the configured ones: compare user and password.";
    /// The user may not do what the check does.
    Forbidden "forbidden" "The user may not do what the check does: `cache-canary acl` prints the least that it needs.";
    /// The server is a replica, or takes no writes.
    ReadOnly "read_only" "The server takes no writes: it is a replica, so a failover may have left the address pointing at the wrong server.";
    /// The server's memory is full and it may not evict.
    OutOfMemory "out_of_memory" "The server's memory is full and it may not evict: raise its memory limit, or allow eviction.";
    /// The server refuses writes until something else is mended.
    WriteBlocked "write_blocked" "The server refuses writes for now: failing snapshots, too few replicas or a running script; its own words say which.";
    /// The server is still reading its data from disk.
    Loading "loading" "The server is loading its data from disk and will serve when that is done.";
    /// The cluster does not serve the canary's slot.
    ClusterDown "cluster_down" "The Redis cluster does not serve: slots have no owner, or too few primaries see each other.";
    /// A replica lost its primary and may not answer from old data.
    PrimaryDown "primary_down" "The replica has lost its primary and does not answer from old data: check the link and the primary.";
    /// The server answered that it did not store the canary.
    NotStored "not_stored" "The server answered that it did not store the value: look at its limits and at rules in front of it.";
    /// The write was acknowledged and the read answered with the sentinel.
    Masked "masked" "Writes are acknowledged and cannot be read back: something masks a failure (an open circuit breaker, a proxy with a dead pool), or evicts or flushes what was just written.";
    /// The read answered with an earlier canary of this instance.
    Stale "stale" "Writes are acknowledged and dropped, while reads are real: look for what stands between, a circuit breaker or a proxy.";
    /// The read answered with another instance's canary.
    Foreign "foreign" "Something in between mixes up keys: a proxy, or a client that changes them.";
    /// The read answered with something that no instance wrote.
    Corrupt "corrupt" "Something alters data, or another program writes the keys under the prefix.";
    /// The answer was not one that the protocol allows here.
    Protocol "protocol" "The answer was not understood: is this the right port, the right kind of server, and TLS on both sides or on neither?";
    /// The server is one of a cluster and names another one for the canary's slot.
    Redirected "redirected" "The server sends clients to another, as the nodes of a cluster do: begin the URL with redis+cluster://; where it does, the nodes disagree about who owns a slot.";
    /// A replica did not show the primary's canary in time.
    Behind "behind" "The replica does not show in time what its primary was given: look at the link between them, and at the replica's load.";
    /// A way into the cache does not show what was written.
    InvisibleWrite "invisible_write" "What is written one way is not seen the other: the two spread keys over different servers, or a replica lags or has lost its primary.";
    /// A way into the cache goes on showing what was deleted.
    InvisibleDelete "invisible_delete" "What is deleted one way is still seen the other, so that applications go on with what is no longer true: a replica lags or has lost its primary, or the two spread keys over different servers.";
    /// A queue has too many entries.
    TooLong "too_long" "The queue grows faster than it is drained: do its workers run, and are there enough of them?";
    /// What has waited longest in a queue has waited for too long.
    TooOld "too_old" "What is first in the queue has waited too long: its workers have stopped, or take others first.";
    /// A partition of a queue is out of proportion to its siblings.
    Skewed "skewed" "One partition is far longer than its siblings: its worker has stopped, or most of the work falls on one key.";
    /// A queue's lock is held while nothing is drained.
    Locked "locked" "The lock is held while nothing is drained: its holder hangs, or has died without letting it go.";
    /// A key holds another kind of value than the check is for.
    WrongType "wrong_type" "The key holds another kind of value than this check is for: is its name right?";
    /// The global clock is ahead of a partition's.
    ClockAhead "clock_ahead" "The global clock is ahead of the least partition's, so work that is still queued was declared missed: find out what set it.";
    /// The global clock does not follow the partitions'.
    ClockBehind "clock_behind" "The global clock does not follow the least partition's: does what moves it still run?";
    /// The least of the partitions' clocks is behind now.
    ClockLag "clock_lag" "The least of the clocks is behind the present: the consumer of that partition has stopped or cannot keep up.";
    /// The partitions' clocks have run apart.
    ClockSkew "clock_skew" "The clocks have run apart: the consumer of the least partition has stopped or cannot keep up with the others.";
    /// Partitions have no clock.
    Drought "drought" "Fewer partitions have a clock than are expected: nothing reaches them, or nobody consumes them.";
    /// A partition's clock stands still while others move.
    Standstill "standstill" "A clock stands still while others move: its consumer has stopped, or nothing reaches that partition.";
    /// A clock went backwards.
    ClockBackwards "clock_backwards" "A clock went backwards: somebody replays the log, or set the clock or its server back.";
    /// Too few look-ups find something.
    LowHitRatio "low_hit_ratio" "Too few look-ups find something: was the cache restarted or flushed, is it too small, or do keys change too often?";
    /// Too much is thrown out to make room.
    Evicting "evicting" "The server throws out much that has not expired, to make room: give it more memory, or store less.";
    /// Memory is nearly used up.
    MemoryHigh "memory_high" "The server's memory is nearly used up: raise its limit, store less, or for less long.";
    /// Places for connections are nearly used up.
    ConnectionsHigh "connections_high" "The server's places for connections are nearly used up: look for clients that do not close theirs, or raise the limit.";
    /// Entries live longer than was promised, or for ever.
    Immortal "immortal" "Entries have no time to live, or a longer one than was promised, so nothing will ever take them back: look at how they are written.";
    /// Anything else of the network's.
    Unreachable "unreachable" "The server cannot be reached: the network, or a proxy in front of it, reports a failure.";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! [`Counters`]: what a server counts and is set to, from Redis' `INFO` and memcached's `stats`.

/// The sections of `INFO` that are read, each with a command of its own: before Redis 7 one command takes one.
pub(super) const SECTIONS: [&str; 4] = ["server", "clients", "memory", "stats"];

/// What a server counts since it was started, and how much it uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// What the server is called for as long as it runs: another one has begun to count anew.
    pub(super) run: String,
    /// For how many seconds it has run.
    pub(super) uptime: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Entries that were thrown out to make room.
    pub(super) evictions: u64,
    /// Entries that were freed since their time had come.
    pub(super) expired: u64,
    /// Bytes.
    pub(super) memory: Gauge,
    /// Those of clients, the sidecar's own among them.
    pub(super) connections: Gauge,
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gauge {
    pub(super) used: u64,
    /// How much there may be; none where there is no limit, or where the server does not tell it.
    pub(super) limit: Option<u64>,
}

impl Gauge {
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub(super) fn ratio(self) -> Option<f64> {
        Some(self.used as f64 / self.limit? as f64)
    }
}

impl Counters {
    /// From the sections of Redis' `INFO` ("INFO" in its documentation), one after the other. None where it does not
    /// count look-ups.
    pub(super) fn of_info(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse().ok());
        Some(Self {
            run: field("run_id").unwrap_or_default().to_owned(),
            uptime: number("uptime_in_seconds").unwrap_or_default(),
            hits: number("keyspace_hits")?,
            misses: number("keyspace_misses")?,
            evictions: number("evicted_keys")?,
            expired: number("expired_keys").unwrap_or_default(),
            // A limit of 0 stands for none.
            memory: Gauge {
                used: number("used_memory").unwrap_or_default(),
                limit: number("maxmemory").filter(|&limit| limit > 0),
            },
            // Told since Redis 7.
            connections: Gauge {
                used: number("connected_clients").unwrap_or_default(),
                limit: number("maxclients").filter(|&limit| limit > 0),
            },
        })
    }

    /// From memcached's `stats` ("General-purpose statistics" in its protocol.txt). None where it does not count
    /// look-ups.
    pub(super) fn of_stats(stats: &[(String, String)]) -> Option<Self> {
        let stat = |name: &str| stats.iter().find(|(stat, _)| stat == name).map(|(_, value)| value.as_str());
        let number = |name: &str| stat(name).and_then(|value| value.parse::<u64>().ok());
        // Found to be too old by a look-up, when room was needed, or by the crawler.
        let expired = ["get_expired", "reclaimed", "crawler_reclaimed"];
        Some(Self {
            run: stat("pid").unwrap_or_default().to_owned(),
            uptime: number("uptime").unwrap_or_default(),
            hits: number("get_hits")?,
            misses: number("get_misses")?,
            evictions: number("evictions")?,
            expired: expired.into_iter().filter_map(number).fold(0, u64::saturating_add),
            memory: Gauge {
                used: number("bytes").unwrap_or_default(),
                limit: number("limit_maxbytes").filter(|&limit| limit > 0),
            },
            // What it keeps for itself of its limit no client gets.
            connections: Gauge {
                used: number("curr_connections").unwrap_or_default(),
                limit: number("max_connections")
                    .map(|limit| limit.saturating_sub(number("reserved_fds").unwrap_or_default()))
                    .filter(|&limit| limit > 0),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_tell_has_no_limit() {
        let info = "# Server\r\nrun_id:ab\r\nuptime_in_seconds:9\r\n# Clients\r\nconnected_clients:3\r\n\
                    # Memory\r\nused_memory:1000\r\nmaxmemory:0\r\n# Stats\r\nkeyspace_hits:1\r\n\
                    keyspace_misses:2\r\nevicted_keys:4\r\nexpired_keys:8\r\n";
        let counters = Counters::of_info(info).unwrap();
        assert_eq!((counters.run.as_str(), counters.uptime), ("ab", 9));
        let counted = [counters.hits, counters.misses, counters.evictions, counters.expired];
        assert_eq!(counted, [1, 2, 4, 8]);
        assert_eq!(counters.memory, Gauge { used: 1000, limit: None });
        assert_eq!((counters.connections.used, counters.connections.ratio()), (3, None));
        assert_eq!(Counters::of_info("# Server\r\nrun_id:ab\r\n"), None);
    }

    #[test]
    fn memcached_counts_what_is_too_old_in_three_places_and_keeps_connections_for_itself() {
        let stats = [
            ("pid", "7"),
            ("uptime", "9"),
            ("get_hits", "1"),
            ("get_misses", "2"),
            ("evictions", "3"),
            ("get_expired", "4"),
            ("reclaimed", "5"),
            ("crawler_reclaimed", "6"),
            ("bytes", "32"),
            ("limit_maxbytes", "64"),
            ("curr_connections", "25"),
            ("max_connections", "120"),
            ("reserved_fds", "20"),
        ];
        let stats = stats.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let counters = Counters::of_stats(&stats).unwrap();
        assert_eq!((counters.run.as_str(), counters.expired), ("7", 15));
        assert_eq!((counters.memory.ratio(), counters.connections.ratio()), (Some(0.5), Some(0.25)));
    }
}

//! [`Counters`]: a server's counters and limits, from Redis' `INFO` and memcached's `stats`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The sections of `INFO` that are read, each with its own command: before Redis 7 a command takes only one.
pub(super) const SECTIONS: [&str; 4] = ["server", "clients", "memory", "stats"];

/// The counters of a server since its start, and its use of memory and connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The identity of the server's process: another process has begun its counters at zero.
    pub(super) run: String,
    /// The time for which it has run, in seconds.
    pub(super) uptime: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Entries that were evicted to make room.
    pub(super) evictions: u64,
    /// Entries that were freed because they had expired.
    pub(super) expired: u64,
    /// The evictions of each class of sizes of a memcached, by its number.
    pub(super) classes: BTreeMap<u8, ClassEvictions>,
    /// Bytes.
    pub(super) memory: Gauge,
    /// The connections of clients, including the sidecar's own.
    pub(super) connections: Gauge,
}

/// The evictions of one class of sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ClassEvictions {
    pub(super) count: u64,
    /// The time for which the entry evicted last had not been used.
    pub(super) age: Duration,
}

/// The use of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gauge {
    pub(super) used: u64,
    /// The limit; `None` if there is none, or if the server does not report it.
    pub(super) limit: Option<u64>,
}

impl Gauge {
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub(super) fn ratio(self) -> Option<f64> {
        Some(self.used as f64 / self.limit? as f64)
    }
}

impl Counters {
    /// The counters from the sections of Redis' `INFO` ("INFO" in its documentation), one after the other. `None` if it
    /// does not count lookups.
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
            classes: BTreeMap::new(),
            // A limit of 0 means no limit.
            memory: Gauge {
                used: number("used_memory").unwrap_or_default(),
                limit: number("maxmemory").filter(|&limit| limit > 0),
            },
            // Reported since Redis 7.
            connections: Gauge {
                used: number("connected_clients").unwrap_or_default(),
                limit: number("maxclients").filter(|&limit| limit > 0),
            },
        })
    }

    /// The counters from memcached's `stats`, `stats slabs` and `stats items` (its protocol.txt). `None` if it does not
    /// count lookups.
    pub(super) fn of_stats(stats: &[(String, String)]) -> Option<Self> {
        let stats: HashMap<_, _> =
            stats.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let stat = |name: &str| stats.get(name).copied();
        let number = |name: &str| stat(name).and_then(|value| value.parse::<u64>().ok());
        let limit = number("limit_maxbytes").filter(|&limit| limit > 0);
        let evictions = |class: u8| {
            let seconds = number(&format!("items:{class}:evicted_time"))?;
            let count = number(&format!("items:{class}:evicted"))?;
            Some((class, ClassEvictions { count, age: Duration::from_secs(seconds) }))
        };
        // Entries that were found expired by a lookup, at the search for room, or by the crawler.
        let expired = ["get_expired", "reclaimed", "crawler_reclaimed"];
        Some(Self {
            run: stat("pid").unwrap_or_default().to_owned(),
            uptime: number("uptime").unwrap_or_default(),
            hits: number("get_hits")?,
            misses: number("get_misses")?,
            evictions: number("evictions")?,
            expired: expired.into_iter().filter_map(number).fold(0, u64::saturating_add),
            classes: (1..=u8::MAX).filter_map(evictions).collect(),
            memory: in_slabs(number, limit)
                .unwrap_or_else(|| Gauge { used: number("bytes").unwrap_or_default(), limit }),
            // The server reserves a part of its limit for itself.
            connections: Gauge {
                used: number("curr_connections").unwrap_or_default(),
                limit: number("max_connections")
                    .map(|limit| limit.saturating_sub(number("reserved_fds").unwrap_or_default()))
                    .filter(|&limit| limit > 0),
            },
        })
    }
}

/// The memory in slabs: the chunks in use, and as many as there can be of the sizes in use. A page belongs to one class of
/// sizes, which evicts when it is full, however empty others are, and each class gets one beyond the limit too
/// (`do_slabs_newslab` in memcached's `slabs.c`). So each class counts by what it uses, and free pages go to classes so.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes for a ratio"
)]
fn in_slabs(number: impl Fn(&str) -> Option<u64>, limit: Option<u64>) -> Option<Gauge> {
    const PAGE: f64 = 1_048_576.0;
    let bytes = |name: &str| number(name).map(|number| number as f64);
    let pool = bytes("slab_global_page_pool").unwrap_or_default() * PAGE;
    let taken = bytes("total_malloced")?;
    let classes: Vec<_> = (1..=u8::MAX)
        .filter_map(|class| {
            let field = |name: &str| bytes(&format!("{class}:{name}"));
            let size = field("chunk_size")?;
            Some((field("used_chunks")? * size, field("total_chunks")? * size))
        })
        .filter(|(used, _)| *used > 0.0)
        .collect();
    let used: f64 = classes.iter().map(|(used, _)| used).sum();
    let can_have = |limit: u64| {
        let free = (limit as f64 - taken).max(0.0) + pool;
        let ratio = |&(own, all): &(f64, f64)| own / (all + free * own / used);
        let ratio: f64 = classes.iter().map(|class| class.0 / used * ratio(class)).sum();
        if ratio > 0.0 { (used / ratio) as u64 } else { limit }
    };
    Some(Gauge { used: used as u64, limit: limit.map(can_have) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_server_does_not_report_has_no_limit() {
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
    fn memcached_counts_expired_entries_in_three_places_and_keeps_connections_for_itself() {
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

    /// The figures of a memcached 1.6.18 with `-m 8` and `-m 2`, the first full of one size beside a canary, the second with
    /// a class of sizes in each of four pages.
    #[test]
    fn memory_in_slabs_is_full_when_the_classes_in_use_are() {
        let ratio = |limit_mib: u64, classes: &[[u64; 3]]| {
            let mut stats = vec![("limit_maxbytes".to_owned(), limit_mib << 20)];
            stats.push((
                "total_malloced".to_owned(),
                classes.iter().map(|[size, _, all]| (size * all).next_multiple_of(1 << 20)).sum(),
            ));
            for (number, [size, used, all]) in (1..).zip(classes) {
                for (name, value) in [("chunk_size", size), ("used_chunks", used), ("total_chunks", all)] {
                    stats.push((format!("{number}:{name}"), *value));
                }
            }
            in_slabs(
                |name| stats.iter().find(|(stat, _)| stat == name).map(|(_, value)| *value),
                stats.first().map(|(_, limit)| *limit),
            )
            .and_then(Gauge::ratio)
            .map(|ratio| (ratio * 100.0).round())
        };
        let (canary, data) = ([184, 1, 5698], 11_696);
        assert_eq!(ratio(8, &[canary, [data, 623, 623]]), Some(100.0));
        assert_eq!(ratio(8, &[canary, [data, 623 / 2, 623]]), Some(50.0));
        assert_eq!(ratio(8, &[canary, [data, 89, 89]]), Some(14.0));
        assert_eq!(
            ratio(2, &[[96, 1, 10_922], [1184, 1, 885], [11_696, 1, 89], [115_496, 1, 9]]),
            Some(10.0)
        );
        assert_eq!(ratio(8, &[[96, 0, 10_922]]), Some(0.0));
    }
}

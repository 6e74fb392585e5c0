//! The limit of open files. A connection counts as one, and the usual limit of 1,024 is soon too low.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::config::{Backend, Config, RedisServers};
use crate::http::server::ServerLimits;

/// The reserve for other open files: listeners, connections being dialed, files being read, and the runtime's own.
const BESIDE: u64 = 1024 + 64;

/// The files that a sidecar without connections has open: standard streams, listeners, and the runtime's own.
const ITSELF: u64 = 24;

/// The fewest connections of callers, however few files may be open.
const FEWEST_CALLERS: usize = 4;

/// The limit of open files, compared with the need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// The limit is high enough.
    Enough,
    /// The soft limit was raised to the hard one, which is high enough.
    Raised { from: u64, to: u64, need: u64 },
    /// The hard limit is too low.
    TooSmall { limit: u64, need: u64 },
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough => write!(f, "the limit of open files is high enough"),
            Self::Raised { from, to, need } => {
                write!(
                    f,
                    "raised the limit of open files from {from} to {to}, because up to {need} may be needed"
                )
            }
            Self::TooSmall { limit, need } => write!(
                f,
                "the limit of open files is {limit}, but up to {need} may be needed: raise it (ulimit -n, LimitNOFILE=); until \
                 then fewer connections of callers are open, and checks of working caches can fail"
            ),
        }
    }
}

impl Room {
    /// Logs the result for the operator.
    pub(super) fn tell(&self) {
        match self {
            Self::Enough => {}
            Self::Raised { .. } => info!("{self}"),
            Self::TooSmall { .. } => warn!("{self}"),
        }
    }
}

/// Raises the soft limit of open files to the hard one, if the configured checks and this number of callers may need
/// more than the soft limit.
pub(super) fn make_room(config: &Config, callers: u64) -> Room {
    let need = connections(config) + callers + BESIDE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(from) = current.filter(|&current| current < need) else { return Room::Enough };
    let is_raised =
        maximum != current && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if is_raised { maximum.unwrap_or(u64::MAX) } else { from };
    if limit < need { Room::TooSmall { limit, need } } else { Room::Raised { from, to: limit, need } }
}

/// The most callers of a server with this configuration. Each connection is a file, and one more is accepted before
/// another is closed for it.
pub(super) fn callers(config: &Config) -> u64 {
    let ServerLimits { connections, own_connections, .. } = ServerLimits::of(config);
    (connections + listeners_of_their_own(config) * own_connections + 1) as u64
}

/// The limits on callers that leave the checks their files: the connections of strangers must not be what a check lacks.
///
/// Callers have three quarters of the files that the configured checks do not need, or all but [`BESIDE`] if that is more. The
/// rest is for lookups, for servers that are discovered, and for files that are read.
pub(super) fn limits(config: &Config) -> ServerLimits {
    let limits = ServerLimits::of(config);
    match getrlimit(Resource::Nofile).current {
        Some(files) => {
            fit(limits, files.saturating_sub(connections(config) + ITSELF), listeners_of_their_own(config))
        }
        None => limits,
    }
}

/// The limits on callers at this many kinds of listeners besides those for everything, if `free` files are left for callers
/// and for what is not configured.
fn fit(limits: ServerLimits, free: u64, others: usize) -> ServerLimits {
    let beside = (free / 4).min(BESIDE - ITSELF);
    let most = usize::try_from(free - beside).unwrap_or(usize::MAX);
    let own_connections = limits.own_connections.min(most / 4);
    let connections = limits.connections.min(most - others * own_connections);
    ServerLimits {
        connections: connections.max(FEWEST_CALLERS),
        own_connections: own_connections.max(FEWEST_CALLERS),
        ..limits
    }
}

/// The number of kinds of listeners, besides those for everything, that have connections of their own.
fn listeners_of_their_own(config: &Config) -> usize {
    [&config.probes.listen, &config.metrics.listen].into_iter().filter(|listen| !listen.is_empty()).count()
}

/// The number of connections that the checks may have. For each server, one is kept, and one more is held until its
/// replacement has been answered. Servers that are discovered later are not counted.
fn connections(config: &Config) -> u64 {
    let each = config.caches.iter().map(|cache| 2 * servers(&cache.backend) * (1 + cache.checks.len()));
    each.sum::<usize>() as u64
}

fn servers(backend: &Backend) -> usize {
    match backend {
        Backend::Redis(redis) => {
            redis.named_replicas().count()
                + match &redis.servers {
                    RedisServers::Standalone(_) => 1,
                    RedisServers::Cluster { seeds, .. } => seeds.len(),
                    RedisServers::Sentinel { sentinels, .. } => 1 + sentinels.len(),
                    RedisServers::Shards { shards, .. } => shards.len(),
                }
        }
        Backend::Memcached(memcached) => memcached.servers.len(),
        Backend::Unchecked(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_three_quarters_of_the_files_that_checks_leave_and_never_more_than_is_configured() {
        let usual = ServerLimits::default();
        let fitted = |free, others| {
            let ServerLimits { connections, own_connections, .. } = fit(usual, free, others);
            (connections, own_connections)
        };
        for others in 0..=2 {
            assert_eq!(fitted(u64::MAX, others), (1024, 64));
            let need = (1024 + 64 * others) as u64 + BESIDE;
            assert_eq!(fitted(need - ITSELF, others), (1024, 64));
            assert_eq!(fitted(0, others), (4, 4));
        }
        assert_eq!(fitted(1000, 0), (750, 64));
        assert_eq!(fitted(1000, 2), (750 - 2 * 64, 64));
        assert_eq!(fitted(40, 0), (30, 7));
        assert_eq!(fitted(40, 2), (16, 7));
    }
}

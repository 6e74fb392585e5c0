//! [`Shortage`]: a resource that the sidecar itself lacks, which says nothing about a cache.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// A limit of this process or of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Open files.
    Files,
    /// Memory.
    Memory,
    /// Threads and processes.
    Tasks,
}

impl Shortage {
    /// The shortage that an error of a socket or a file reports (socket(2), "ERRORS").
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Files),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            _ => None,
        }
    }

    /// The shortage that an error at the start of a thread or a process reports (fork(2), "ERRORS").
    pub(crate) fn of_start(error: &io::Error) -> Option<Self> {
        let is_refused = Errno::from_io_error(error) == Some(Errno::AGAIN);
        if is_refused { Some(Self::Tasks) } else { Self::of(error) }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => {
                "cache-canary, not the cache, is at its limit of open files; raise it (ulimit -n, LimitNOFILE=)"
            }
            Self::Memory => {
                "cache-canary, not the cache, is at its limit of memory; raise it (MemoryMax=, memory)"
            }
            Self::Tasks => {
                "cache-canary, not the cache, is at its limit of threads; raise it (ulimit -u, TasksMax=, pids)"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_files_memory_or_threads_is_told_from_faults_of_others() {
        let shortages = |errno: Errno| {
            let error = io::Error::from(errno);
            (Shortage::of(&error), Shortage::of_start(&error))
        };
        for (errno, shortage) in [
            (Errno::MFILE, Shortage::Files),
            (Errno::NFILE, Shortage::Files),
            (Errno::NOMEM, Shortage::Memory),
            (Errno::NOBUFS, Shortage::Memory),
        ] {
            assert_eq!(shortages(errno), (Some(shortage), Some(shortage)), "{errno}");
        }
        assert_eq!(shortages(Errno::AGAIN), (None, Some(Shortage::Tasks)));
        for errno in [Errno::CONNREFUSED, Errno::NETUNREACH, Errno::ACCESS, Errno::NOENT] {
            assert_eq!(shortages(errno), (None, None), "{errno}");
        }
    }
}

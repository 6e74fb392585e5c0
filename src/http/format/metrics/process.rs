//! [`Process`]: the resources that the sidecar uses.

use std::fs;
use std::time::Duration;

use rustix::process::Resource;
use rustix::time::{ClockId, clock_gettime};

/// The resources of this process, as the system reports them. A value that the system does not report, such as without
/// `/proc`, is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// The CPU time.
    pub cpu: Duration,
    /// Its memory, in bytes.
    pub memory: Option<ProcessMemory>,
    /// The number of open file descriptors.
    pub open_fds: Option<usize>,
    /// The limit of open file descriptors, if there is one.
    pub max_fds: Option<u64>,
}

/// The memory of the process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ProcessMemory {
    /// The memory in RAM.
    pub resident: u64,
    /// The size of the address space.
    pub virtual_size: u64,
}

impl Process {
    /// Asks the system, which responds at once: none of the data is on a disk.
    #[must_use]
    pub fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let open = fs::read_dir("/proc/self/fd").map(Iterator::count);
        Self {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            memory: memory(),
            // One of them is the descriptor of the directory that is read.
            open_fds: open.ok().map(|open| open.saturating_sub(1)),
            max_fds: rustix::process::getrlimit(Resource::Nofile).current,
        }
    }
}

/// The first two fields of `/proc/self/statm`, which are in pages (proc(5)).
fn memory() -> Option<ProcessMemory> {
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').map_while(|pages| pages.parse::<u64>().ok());
    let (virtual_size, resident) = (pages.next()? * page, pages.next()? * page);
    Some(ProcessMemory { resident, virtual_size })
}

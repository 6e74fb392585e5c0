//! The return of memory to the system: of freed blocks, and of code and constants that are not in use.

use std::ops::Range;

/// The code and the constants of the program and of the libraries that it was started with: what is mapped from files that it does
/// not write.
#[derive(Debug, Default)]
pub(crate) struct ProgramPages(Vec<Range<usize>>);

impl ProgramPages {
    /// Those that are mapped now.
    pub(crate) fn mapped() -> Self {
        #[cfg(target_os = "linux")]
        return Self(linux::unwritten());
        #[cfg(not(target_os = "linux"))]
        Self::default()
    }

    /// Lets go of all of them. Pages that are used again come back from the system's cache, 64 kB at a time.
    pub(crate) fn forget(&self) {
        #[cfg(target_os = "linux")]
        self.0.iter().for_each(linux::forget);
    }
}

/// Returns unused pages of the heap to the system. glibc by itself returns only the end of its heap, and some small
/// allocation always lies there.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    glibc::give_back();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;
    use std::fs;
    use std::ops::Range;
    use std::ptr;

    use rustix::mm::{Advice, madvise};

    /// Lets go of the pages at these addresses, which are of [`super::ProgramPages`].
    pub(super) fn forget(pages: &Range<usize>) {
        // If it is refused, the pages just stay.
        let _ = drop_pages(ptr::with_exposed_provenance_mut(pages.start), pages.len());
    }

    #[expect(unsafe_code, reason = "the system is asked for what Rust has no word for")]
    fn drop_pages(start: *mut c_void, len: usize) -> rustix::io::Result<()> {
        // SAFETY: the kernel has said that these pages are of a file, and that none was or can be written. They stay mapped, since the
        // loader keeps a program and its libraries until the end. So they are the same when they are read again (madvise(2),
        // MADV_DONTNEED).
        unsafe { madvise(start, len, Advice::LinuxDontNeed) }
    }

    /// The addresses of the files' pages of which none was or can be written.
    pub(super) fn unwritten() -> Vec<Range<usize>> {
        unwritten_in(&fs::read_to_string("/proc/self/smaps").unwrap_or_default())
    }

    /// The same by the text of `smaps`. The constants that the loader has put addresses into were written, though they cannot be any
    /// more; such pages are in memory, or swapped out.
    fn unwritten_in(smaps: &str) -> Vec<Range<usize>> {
        let (mut mapped, mut is_unwritten) = (None, false);
        let of_lines = smaps.lines().filter_map(|line| {
            if let Some(pages) = line.strip_prefix("Anonymous:") {
                is_unwritten = pages.trim() == "0 kB";
            } else if let Some(pages) = line.strip_prefix("Swap:") {
                return mapped.take().filter(|_| is_unwritten && pages.trim() == "0 kB");
            } else if !line.starts_with(|first: char| first.is_ascii_uppercase()) {
                (mapped, is_unwritten) = (of_file(line), false);
            }
            None
        });
        of_lines.collect()
    }

    /// The addresses in the first line of a mapping (`proc_pid_maps(5)`), if it is of a file and cannot be written.
    fn of_file(line: &str) -> Option<Range<usize>> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let cannot_be_written = fields.next()?.starts_with("r-");
        let is_of_file = fields.nth(3)?.starts_with('/');
        (cannot_be_written && is_of_file).then_some(address(start)?..address(end)?)
    }

    #[cfg(test)]
    mod tests {
        use super::super::ProgramPages;
        use super::*;

        #[test]
        fn only_pages_of_files_that_nobody_has_written_are_let_go() {
            let mapping = |head: &str, anonymous: u32, swapped: u32| {
                let pages = format!(
                    "Rss: 8 kB\nAnonymous: {anonymous:>9} kB\nSwap: {swapped:>14} kB\nVmFlags: rd mr me\n"
                );
                unwritten_in(&format!("{head}\n{pages}{}\n{pages}", head.replace("1000-", "x-"))).pop()
            };
            for (head, anonymous, swapped, expected) in [
                ("1000-3000 r-xp 00001000 fe:01 1234 /usr/bin/program", 0, 0, Some(0x1000..0x3000)),
                ("1000-3000 r--p 00001000 fe:01 1234 /usr/bin/a program: one", 0, 0, Some(0x1000..0x3000)),
                ("1000-3000 r--p 00001000 fe:01 1234 /usr/bin/program", 4, 0, None),
                ("1000-3000 r--p 00001000 fe:01 1234 /usr/bin/program", 0, 4, None),
                ("1000-3000 rwxp 00001000 fe:01 1234 /usr/bin/program", 0, 0, None),
                ("1000-3000 r-xp 00000000 00:00 0 [vdso]", 0, 0, None),
                ("1000-3000 r--p 00000000 00:00 0", 0, 0, None),
                ("", 0, 0, None),
            ] {
                let found = mapping(head, anonymous, swapped);
                assert_eq!(found, expected, "{head}, {anonymous} and {swapped} kB");
            }
        }

        #[test]
        fn code_and_constants_that_were_let_go_are_there_when_they_are_used_again() {
            let (pages, code) = (ProgramPages::mapped(), unwritten as fn() -> _ as usize);
            assert!(pages.0.iter().any(|pages| pages.contains(&code)), "{pages:?}");
            pages.forget();
            assert_eq!("still here".to_uppercase(), "STILL HERE");
        }
    }
}

#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::c_int;
    use std::hint::black_box;
    use std::thread;

    /// The sizes of the blocks that are kept for a thread, up to the largest, and the number of each (`tcache` in `malloc.c`).
    const KEPT_SIZES: [usize; 2] = [24, 1032];
    const KEPT_OF_EACH: usize = 7;

    /// Enough for a thread that frees memory.
    const STACK: usize = 16 * 1024;

    #[expect(unsafe_code, reason = "the C library is asked for what Rust has no word for")]
    unsafe extern "C" {
        /// Returns free pages of the heap to the system, except `pad` bytes at its end (`malloc_trim(3)`). It takes no
        /// pointer and is safe to call at any time.
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    pub(super) fn give_back() {
        free_kept_blocks();
        malloc_trim(0);
    }

    /// Frees the small blocks that are kept for the next allocations of this thread. `malloc_trim` takes them for used, and
    /// after a thousand connections at once most lie in pages of their own.
    ///
    /// Only a thread's end frees them, so they are handed to one that does nothing else. If no thread can be started, they stay.
    fn free_kept_blocks() {
        let [smallest, largest] = KEPT_SIZES;
        let sizes = (smallest..=largest).step_by(16);
        let blocks: Vec<Vec<u8>> = sizes
            .flat_map(|size| (0..KEPT_OF_EACH).map(move |_| black_box(Vec::with_capacity(size))))
            .collect();
        let thread = thread::Builder::new().name("heap".to_owned()).stack_size(STACK);
        if let Ok(freeing) = thread.spawn(|| drop(blocks)) {
            let _ = freeing.join();
        }
    }
}

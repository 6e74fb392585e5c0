//! Memory that was freed, given back to the system.

use std::ffi::c_int;

#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "the C library is asked for what Rust has no word for: this is the only exception"
)]
unsafe extern "C" {
    /// Gives free pages of the heap back, and keeps `pad` bytes at its end (`malloc_trim(3)`). It takes no pointer and is
    /// safe to call at any time.
    safe fn malloc_trim(pad: usize) -> c_int;
}

/// Gives pages of the heap that hold nothing back to the system. glibc by itself gives back the end of its heap alone, and
/// something small always lies there.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    malloc_trim(0);
}

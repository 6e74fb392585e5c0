//! The return of freed memory to the system.

use std::ffi::c_int;

#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "the C library is asked for what Rust has no word for: this is the only exception"
)]
unsafe extern "C" {
    /// Returns free pages of the heap to the system, except `pad` bytes at its end (`malloc_trim(3)`). It takes no pointer
    /// and is safe to call at any time.
    safe fn malloc_trim(pad: usize) -> c_int;
}

/// Returns unused pages of the heap to the system. glibc by itself returns only the end of its heap, and some small
/// allocation always lies there.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    malloc_trim(0);
}

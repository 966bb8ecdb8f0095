//! What is not in use goes back to the system.
//!
//! By itself the allocator asks for huge pages, so that a few kilobytes in use make two megabytes
//! resident, and keeps what is free until it happens to look. A sink that has much in its hands every few
//! seconds, for a moment and on many threads, then takes several times as much memory as it needs.
//! `benches/README.md` has figures.

#![expect(unsafe_code, reason = "the allocator has no other settings than variables of C")]

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay`: milliseconds that free memory stays; 1000 by default.
const PURGE_DELAY: (c_int, c_long) = (15, 10);

unsafe extern "C" {
    /// Sets an option, unless the environment does.
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// To be called before there are other threads.
pub(crate) fn give_back() {
    let (option, milliseconds) = PURGE_DELAY;
    // SAFETY: it stores a number, and nobody else sets options meanwhile.
    unsafe { mi_option_set_default(option, milliseconds) };
    // Where the system does not let a process choose, the pages stay huge.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

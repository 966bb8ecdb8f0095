//! Settings of the allocator: free memory goes back to the system.
//!
//! By default the allocator asks for huge pages, so that a few kilobytes in use make two megabytes resident, and
//! each thread keeps free pages for itself. A sink that allocates much every few seconds, briefly and on many
//! threads, then takes several times as much memory as it needs. `benches/README.md` has figures.

#![expect(unsafe_code, reason = "the allocator has no other settings than variables of C")]

use std::ffi::{c_int, c_long};

/// The numbers of options in `mimalloc.h` of version 3, with values.
const OPTIONS: [(c_int, c_long); 4] = [
    // `mi_option_purge_delay`: milliseconds that free memory stays; 1000 by default.
    (15, 10),
    // `mi_option_generic_collect`: slow allocations until a thread looks for free pages; 10,000 by default.
    (34, 500),
    // `mi_option_page_reclaim_on_free`: any thread may take over pages of threads that have ended; off by default.
    (35, 1),
    // `mi_option_page_full_retain`: free pages of each size that a thread keeps; 2 by default.
    (36, 0),
];

unsafe extern "C" {
    /// Sets an option, unless the environment does.
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// To be called before there are other threads.
pub(crate) fn give_back() {
    for (option, value) in OPTIONS {
        // SAFETY: it stores a number, and nobody else sets options meanwhile.
        unsafe { mi_option_set_default(option, value) };
    }
    // Where the system does not let a process choose, the pages stay huge.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

//! Settings of the allocator: free memory is returned to the system.
//!
//! By default the allocator asks for huge pages: a few kilobytes in use make two megabytes resident. Each
//! thread also keeps free pages for itself. A sink that briefly allocates much memory on many threads,
//! every few seconds, then uses several times as much as it needs. `benches/README.md` has figures.

#![expect(unsafe_code, reason = "the allocator has no other settings than variables of C")]

use std::ffi::{c_int, c_long};

/// Option numbers of `mimalloc.h`, version 3, with their values.
const OPTIONS: [(c_int, c_long); 4] = [
    // `mi_option_purge_delay`: milliseconds before free memory is returned; 1000 by default.
    (15, 10),
    // `mi_option_generic_collect`: slow allocations before a thread collects free pages; 10,000 by default.
    (34, 500),
    // `mi_option_page_reclaim_on_free`: threads may take over pages of ended threads; off by default.
    (35, 1),
    // `mi_option_page_full_retain`: free pages of each size that a thread keeps; 2 by default.
    (36, 0),
];

unsafe extern "C" {
    /// Sets an option, unless the environment does.
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// Applies the settings. Call it before other threads start.
pub(crate) fn give_back() {
    for (option, value) in OPTIONS {
        // SAFETY: the function stores a number, and no other thread sets options at the same time.
        unsafe { mi_option_set_default(option, value) };
    }
    // On systems without this setting the pages stay huge.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

//! What the process of a query may use.

use std::{fs, io};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::session::{STACK_BYTES, Session};

/// Memory for queries, beyond that of the program.
pub(crate) const MEMORY_BYTES: u64 = 1 << 30;
/// Longest temporary file of a query.
const FILE_BYTES: u64 = 1 << 30;
/// The lowest priority: queries take the time that the pipeline leaves.
const NICENESS: i32 = 19;
/// Of all processes, the system ends this one first when it has no memory left.
const OOM_SCORE: &str = "1000";

/// Confines this process: it ends with the server, has a limit of memory and the lowest priority, and leaves a CPU to
/// the pipeline.
///
/// # Errors
///
/// Returns an error if the server has ended, or if the system refuses a limit.
pub(super) fn confine(server: u32) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The server may have ended before.
    if getppid().as_raw().unsigned_abs() != server {
        return Err(io::Error::other("the server has ended"));
    }
    let stacks = (Session::N_THREADS * STACK_BYTES) as u64;
    let address_space = address_space_bytes()? + stacks + MEMORY_BYTES;
    setrlimit(Resource::RLIMIT_AS, address_space, address_space)?;
    setrlimit(Resource::RLIMIT_FSIZE, FILE_BYTES, FILE_BYTES)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    rustix::process::nice(NICENESS)?;
    // Where this is not allowed, queries still run.
    let _ = leave_a_cpu();
    fs::write("/proc/self/oom_score_adj", OOM_SCORE)
}

/// Keeps the threads that this one starts off the first CPU, if there are others.
///
/// The lowest priority is not enough: a thread of the pipeline that wakes on the CPU of a query waits for the end of
/// the query's time slice.
fn leave_a_cpu() -> io::Result<()> {
    let this_thread = Pid::from_raw(0);
    let mut cpus = sched_getaffinity(this_thread)?;
    let mut allowed = (0..CpuSet::count()).filter(|&cpu| cpus.is_set(cpu) == Ok(true));
    if let (Some(first), Some(_)) = (allowed.next(), allowed.next()) {
        cpus.unset(first)?;
        sched_setaffinity(this_thread, &cpus)?;
    }
    Ok(())
}

/// Returns the size of the address space.
fn address_space_bytes() -> io::Result<u64> {
    let sizes = fs::read_to_string("/proc/self/statm")?;
    let n_pages = sizes.split(' ').next().and_then(|size| size.parse::<u64>().ok());
    let n_pages = n_pages.ok_or_else(|| io::Error::other("/proc/self/statm has no size"))?;
    Ok(n_pages * rustix::param::page_size() as u64)
}

//! Identifies a process that holds a lease, so that another process on the same host can detect its
//! end.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A process, identified by `/proc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The host's name, for messages.
    host: String,
    pid: u32,
    /// None on systems without `/proc`: the end of such a process is never detected.
    identity: Option<Identity>,
    /// Distinguishes the runs of one process.
    run: u64,
}

/// Identifies a process among all processes of this boot and earlier boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    boot_id: String,
    pid_namespace: String,
    /// Other users may not see the processes of this user.
    user: u32,
    /// Start of the process, in clock ticks since the boot.
    started: u64,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

impl Holder {
    /// Identifies this process, for one run of a pipeline.
    pub(crate) fn new() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let pid = std::process::id();
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        Self { host: host.trim().to_owned(), pid, identity: Identity::of(pid), run }
    }

    /// True if the process has ended. False if this process cannot detect that: the holder runs on
    /// another host, in another container or for another user.
    pub(crate) fn is_gone(&self) -> bool {
        let own = Identity::of(std::process::id());
        let (Some(own), Some(identity)) = (own, &self.identity) else { return false };
        let is_near = own.boot_id == identity.boot_id
            && own.pid_namespace == identity.pid_namespace
            && (own.user == identity.user || own.user == 0);
        is_near && started(self.pid) != Some(identity.started)
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Identity {
    fn of(pid: u32) -> Option<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let pid_namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Self {
            boot_id: boot_id.trim().to_owned(),
            pid_namespace: pid_namespace.to_string_lossy().into_owned(),
            user: fs::metadata("/proc/self").ok()?.uid(),
            started: started(pid)?,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {:?}", self.pid, self.host)
    }
}

/// Returns the start of a process, in clock ticks since the boot. None if the process does not exist or
/// is a zombie.
fn started(pid: u32) -> Option<u64> {
    started_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads fields 3 and 22 of `/proc/PID/stat`. The name in field 2 may contain any character.
fn started_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_told_by_its_start() {
        let fields = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(started_in(&format!("9 (a) b (c) S{fields}")), Some(777));
        assert_eq!(started_in(&format!("9 (name) Z{fields}")), None, "it has ended");
        assert_eq!(started_in("9 (name) S 1"), None);
    }

    #[test]
    fn a_holder_is_gone_when_its_process_is() {
        let own = Holder::new();
        assert!(!own.is_gone());
        assert_eq!(Holder::decode(&own.encode()), Some(own.clone()));
        let mut child = Command::new("sleep").arg("600").spawn().expect("there is sleep");
        let of_child =
            Holder { pid: child.id(), identity: Identity::of(child.id()), ..own.clone() };
        assert!(!of_child.is_gone());
        child.kill().expect("it is ours");
        // The test has not waited for the child: after its death, `/proc` lists it as a zombie.
        while !of_child.is_gone() {
            std::thread::yield_now();
        }
        child.wait().expect("it is ours");
        assert!(of_child.is_gone());
        let mut elsewhere = of_child;
        if let Some(identity) = &mut elsewhere.identity {
            identity.boot_id.push('x');
        }
        assert!(!elsewhere.is_gone(), "another host's processes cannot be seen");
    }
}

//! What a process that reads untrusted video may do: `setpriv` ends it with this process, and `unshare` takes its
//! network away. Both belong to util-linux; where they or user namespaces are missing, ffmpeg's own list of protocols
//! remains.

use std::env;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Address space of a process: enough for 4K video.
const MAX_MEMORY_BYTES: u64 = 1 << 30;
const END_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// For root, who would lose the right to read the files of others in a user namespace, and for other users.
const WITHOUT_NETWORK: [&[&str]; 2] =
    [&["unshare", "--net", "--"], &["unshare", "--user", "--net", "--"]];

/// The words before a program that work here.
static TO_END_WITH_PARENT: LazyLock<&[&str]> = LazyLock::new(|| {
    if works(&END_WITH_PARENT) {
        return &END_WITH_PARENT;
    }
    tracing::warn!("ffmpeg may outlive a killed server: `setpriv --pdeathsig KILL` fails");
    &[]
});
static TO_BE_WITHOUT_NETWORK: LazyLock<&[&str]> = LazyLock::new(|| {
    let working = WITHOUT_NETWORK.into_iter().find(|words| works(words));
    if working.is_none() {
        tracing::warn!("ffmpeg is not separated from the network: `unshare --user --net` fails");
    }
    working.unwrap_or_default()
});

/// Starts a program, which ends with the thread that starts it.
///
/// # Errors
///
/// [`io::Error`] if the program is not in the path, or cannot be started.
pub(super) fn spawn(
    program: &str,
    needs_network: bool,
    prepare: impl FnOnce(&mut Command),
) -> io::Result<Child> {
    if !is_installed(program) {
        let reason = format!("{program} is not in PATH; Debian's package `ffmpeg` has it");
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let without_network = if needs_network { &[] } else { *TO_BE_WITHOUT_NETWORK };
    let words = [without_network, *TO_END_WITH_PARENT, &[program]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    prepare(&mut command);
    let child = command.spawn()?;
    limit_resources(&child);
    Ok(child)
}

fn works(wrapper: &[&str]) -> bool {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg("true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Limits the address space of a process, and forbids it to write data to files.
fn limit_resources(child: &Child) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    for (resource, most) in
        [(Resource::As, MAX_MEMORY_BYTES), (Resource::Core, 0), (Resource::Fsize, 0)]
    {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // A process that has ended already needs no limit.
        if let Err(error) = prlimit(Some(pid), resource, limit)
            && error != Errno::SRCH
        {
            tracing::warn!(?resource, %error, "a decoder has no limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(program: &str, arguments: &[&str], needs_network: bool) -> String {
        let child = spawn(program, needs_network, |command| {
            command.args(arguments).stdout(Stdio::piped());
        });
        let output = child.and_then(Child::wait_with_output).expect("a process");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn a_process_without_network_has_another_one() {
        let network = |needs_network| output("readlink", &["/proc/self/ns/net"], needs_network);
        let own = std::fs::read_link("/proc/self/ns/net").expect("Linux");
        assert_eq!(network(true).trim(), own.to_string_lossy());
        let is_possible = !TO_BE_WITHOUT_NETWORK.is_empty();
        assert_eq!(network(false).trim() != own.to_string_lossy(), is_possible);
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = spawn("no-such-program", false, |_| {}).expect_err("it is missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

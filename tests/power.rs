//! A power cut loses data that the system has not written to the disk. Everything that a checkpoint contains
//! survives.

use std::fs;
use std::process::Command;

use crate::recovery::{assert_same, directory, uninterrupted};

/// Makes a disk of a file, runs the pipeline on it until its sinks have committed for a while, and stops the
/// process. A copy of the file is the disk after a power cut: it lacks data that only the system's memory
/// had. The run continues on the copy, and the script copies its output out of the disk.
const CUT: &str = r#"
set -e
trap 'kill -9 $pid 2>/dev/null || true' EXIT
truncate -s 200M disk
mkfs.ext4 -q disk
mkdir before after
mount -o loop disk before
cp capture.dat flat.toml before
sync -f before
cd before
"$0" run flat.toml & pid=$!
until [ "$(ls history/csi/_delta_log 2>/dev/null | wc -l)" -gt COMMITS ]; do kill -0 $pid; sleep 0.01; done
kill -STOP $pid
cd ..
for nth in 1 2 3 4 5 6 7 8 9 10; do cp --sparse=always disk cut; cmp -s disk cut && break; done
cmp disk cut
kill -9 $pid
wait $pid || true
umount before
mount -o loop cut after
cd after
sed -i 's/^speed = .*/speed = "full"/' flat.toml
"$0" run flat.toml
cp -r . ../taken
"#;

/// Returns true if the test may make and mount a disk, which needs the rights of an administrator.
pub(crate) fn may_mount() -> bool {
    let folder = tempfile::tempdir().expect("room");
    let script = "truncate -s 10M disk && mkfs.ext4 -q disk && mount -o loop disk /mnt";
    let mut mount = Command::new("unshare");
    let mount = mount.args(["-m", "sh", "-c", script]).current_dir(folder.path());
    mount.output().is_ok_and(|output| output.status.success())
}

pub(crate) fn a_cut_loses_and_doubles_nothing() {
    let expected = uninterrupted();
    for n_commits in [3, 20, 45] {
        let directory = directory("2.0");
        let script = CUT.replace("COMMITS", &n_commits.to_string());
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_fresnel")])
            .current_dir(directory.path())
            .output()
            .expect("unshare is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let taken = directory.path().join("taken");
        assert!(fs::metadata(&taken).is_ok_and(|taken| taken.is_dir()), "{said}");
        assert_same(&taken, &expected);
    }
}

//! A `PostgreSQL` of the test's own, from Debian's package: a folder, and a socket in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server that ends with the test.
pub(crate) struct Postgres {
    server: Child,
    folder: TempDir,
}

/// The folder of the programs, if they are installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|programs| programs.join("initdb").exists()).max()
}

/// True if it is installed.
pub(crate) fn there() -> bool {
    programs().is_some()
}

/// One of its programs; it refuses to work for an administrator.
fn command(program: &str, folder: &Path) -> Command {
    let program = programs().expect("it is installed").join(program);
    let id = Command::new("id").arg("-u").output().expect("there is id");
    let mut command = if id.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Postgres {
    /// Makes a database and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path();
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("it is ours");
        let status = command("initdb", path)
            .args(["-D", "data", "-A", "trust", "-U", "fresnel", "--no-sync"])
            .status();
        assert!(status.expect("initdb starts").success(), "no database could be made");
        let server = command("postgres", path)
            .args(["-D", "data", "-c", "listen_addresses="])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", path.display()))
            .spawn()
            .expect("it starts");
        let mut postgres = Self { server, folder };
        let ready = |path: &Path| {
            let mut ready = command("pg_isready", path);
            ready.arg("-q").arg("-h").arg(path).status().is_ok_and(|status| status.success())
        };
        while !ready(postgres.folder.path()) {
            let ended = postgres.server.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
        }
        postgres
    }

    /// Where it is, for a pipeline file.
    pub(crate) fn url(&self) -> String {
        format!("postgres://fresnel@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

//! A `PostgreSQL` server for one test, from Debian's package: a folder, and a socket in it.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::support::wait;

/// A server that ends with the test.
pub(crate) struct Postgres {
    server: Child,
    folder: TempDir,
}

/// Returns the folder of the server's programs, if they are installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|programs| programs.join("initdb").exists()).max()
}

/// Returns true if the server is installed.
pub(crate) fn there() -> bool {
    programs().is_some()
}

/// Returns a command for one of the server's programs. The programs refuse to run as root, which `setpriv`
/// avoids.
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
    /// Creates a database, and waits until its server answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path();
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("it is ours");
        let status = command("initdb", path)
            .args(["-D", "data", "-A", "trust", "-U", "fresnel", "--no-sync"])
            .status();
        assert!(status.expect("initdb starts").success(), "no database could be made");
        let server = serve(path);
        let mut postgres = Self { server, folder };
        postgres.wait_until_ready();
        postgres
    }

    /// Shuts the server down and cuts its connections.
    pub(crate) fn stop(&mut self) {
        let pid = self.server.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.expect("there is kill").success());
        self.server.wait().expect("it is ours");
    }

    /// Starts the server again.
    pub(crate) fn restart(&mut self) {
        self.server = serve(self.folder.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let path = self.folder.path().to_owned();
        let ready = || {
            let mut ready = command("pg_isready", &path);
            ready.arg("-q").arg("-h").arg(&path).status().is_ok_and(|status| status.success())
        };
        wait::until("postgres answers", || {
            let ended = self.server.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            ready()
        });
    }

    /// Returns the server's URL for a pipeline file.
    pub(crate) fn url(&self) -> String {
        url(self.folder.path())
    }
}

/// Returns the URL of a server whose socket is in a folder.
fn url(folder: &Path) -> String {
    format!("postgres://fresnel@localhost/postgres?host={}", folder.display())
}

/// Starts the server of a folder.
fn serve(folder: &Path) -> Child {
    let server = command("postgres", folder)
        .args(["-D", "data", "-c", "listen_addresses="])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        .spawn();
    server.expect("it starts")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The name of the socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";
/// Number of replies that the proxy loses.
const MAX_LOST: u32 = 5;

/// A proxy that loses the replies to the commits of some checkpoints: it cuts the connection when such a
/// reply arrives.
pub(crate) struct LosesReplies {
    folder: TempDir,
    n_lost: Arc<AtomicU32>,
}

impl LosesReplies {
    pub(crate) fn start(postgres: &Postgres) -> Self {
        let folder = tempfile::tempdir().expect("room");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("room");
        let socket = postgres.folder.path().join(SOCKET);
        let n_lost = Arc::<AtomicU32>::default();
        let lost = Arc::clone(&n_lost);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&socket).expect("it listens");
                let (ours, theirs) = (clone(&client), clone(&server));
                let loses = Arc::<AtomicBool>::default();
                let (is_lost, lost) = (Arc::clone(&loses), Arc::clone(&lost));
                // Each thread ends when the other one has cut the connection.
                thread::spawn(move || ask(&client, &server, &loses));
                thread::spawn(move || answer(&theirs, &ours, &is_lost, &lost));
            }
        });
        Self { folder, n_lost }
    }

    /// Returns the proxy's URL for a pipeline file.
    pub(crate) fn url(&self) -> String {
        url(self.folder.path())
    }

    /// Returns the number of lost replies.
    pub(crate) fn n_lost(&self) -> u32 {
        self.n_lost.load(Ordering::Relaxed)
    }
}

fn clone(stream: &UnixStream) -> UnixStream {
    stream.try_clone().expect("there are descriptors")
}

/// Forwards a client's requests. A connection sends the text of a statement once. The commit after the first
/// checkpoint's statement gets no reply.
fn ask(mut client: &UnixStream, mut server: &UnixStream, loses: &AtomicBool) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    let mut has_inserted = false;
    loop {
        let n_bytes = client.read(&mut bytes)?;
        if n_bytes == 0 {
            return server.shutdown(Shutdown::Both);
        }
        has_inserted |= has(&bytes[..n_bytes], b"INSERT INTO checkpoints");
        if has_inserted && has(&bytes[..n_bytes], b"COMMIT") {
            loses.store(true, Ordering::Release);
        }
        server.write_all(&bytes[..n_bytes])?;
    }
}

/// Forwards a server's replies, and cuts the connection at a reply that is to be lost.
fn answer(
    mut server: &UnixStream,
    mut client: &UnixStream,
    loses: &AtomicBool,
    n_lost: &AtomicU32,
) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let n_bytes = server.read(&mut bytes)?;
        let is_lost =
            loses.swap(false, Ordering::Acquire) && n_lost.load(Ordering::Relaxed) < MAX_LOST;
        if is_lost {
            n_lost.fetch_add(1, Ordering::Relaxed);
        }
        if is_lost || n_bytes == 0 {
            server.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
        client.write_all(&bytes[..n_bytes])?;
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

//! The program under test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::output::OutputLines;
use crate::support::wait;

/// Runs the program in a folder and waits for its end.
pub(crate) fn fresnel(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().expect("the program starts")
}

/// Runs the program with a fail point at which it dies; see `engine/src/fail_point.rs`.
pub(crate) fn fresnel_failing(directory: &Path, arguments: &[&str], at: &str) -> Output {
    fresnel_with(directory, arguments, &[("FRESNEL_FAIL_POINT", at)])
}

/// Runs the program with environment variables.
pub(crate) fn fresnel_with(
    directory: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Output {
    let mut command = command(directory, arguments);
    command.envs(variables.iter().copied()).output().expect("the program starts")
}

/// Runs the program, which must succeed, and returns its standard output.
pub(crate) fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = fresnel(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {:?}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Runs the program, which must fail with this code, without a panic. Returns its standard error.
pub(crate) fn fail(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = fresnel(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{errors}");
    errors
}

/// Starts the program, reads the first line that it prints, and kills it.
pub(crate) fn first_line(directory: &Path, arguments: &[&str]) -> String {
    let mut command = command(directory, arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("it prints text");
    child.kill().and_then(|()| child.wait()).expect("it is ours");
    line
}

/// Starts the program and kills it after a pause. Returns true if it had not ended by itself.
pub(crate) fn kill_after(directory: &Path, arguments: &[&str], pause: Duration) -> bool {
    let mut command = command(directory, arguments);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = child.expect("the program starts");
    // The test varies the moment of the kill, so there is no condition to wait for.
    std::thread::sleep(pause);
    child.kill().expect("it is ours");
    let output = child.wait_with_output().expect("it ended");
    let said = String::from_utf8_lossy(&output.stderr);
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "it failed by itself: {said}");
    killed
}

/// Starts a run that takes over from a suspended one, and waits for its end. Returns false if the suspended
/// run holds the store's lock.
pub(crate) fn took_over(directory: &Path, pipeline: &str) -> bool {
    let output = fresnel(directory, &["run", pipeline, "--take-over"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let locked = said.contains("database is locked");
    assert!(output.status.success() || locked, "{said}");
    !locked
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    if let ["run", pipeline, ..] = arguments
        && arguments.contains(&"--listen")
    {
        open_to_all(&directory.join(pipeline));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fresnel"));
    command.current_dir(directory).args(arguments);
    command
}

const OPEN: &str = "api = { listen = \"127.0.0.1:0\", auth = \"off\" }\n";

/// Lets a pipeline ask for no credentials, unless it has settings of its API.
fn open_to_all(pipeline: &Path) {
    let text = fs::read_to_string(pipeline).unwrap_or_default();
    if !text.is_empty() && !text.contains("api") {
        fs::write(pipeline, format!("{OPEN}{text}")).expect("it is writable");
    }
}

/// Programs that use all the processors they can get, until they are dropped.
pub(crate) struct Hogs(Vec<Child>);

impl Hogs {
    pub(crate) fn start(n_hogs: usize) -> Self {
        let hog = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Self((0..n_hogs).map(|_| hog().expect("there is a shell")).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // Nothing else ends it.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(kill.expect("there is kill").success());
}

/// A program that serves; killed if a test ends before it does.
pub(crate) struct Server {
    child: Child,
    stderr: OutputLines,
    /// Host and port.
    pub(crate) address: String,
}

impl Server {
    /// Starts the program.
    pub(crate) fn start_silent(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn(command(directory, arguments))
    }

    /// Starts the program and waits until it listens.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_silent(directory, arguments).listening()
    }

    /// Starts the program with environment variables, and waits until it listens.
    pub(crate) fn start_with(
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(directory, arguments);
        command.envs(variables.iter().copied());
        Self::spawn(command).listening()
    }

    /// Starts the program with a limit of descriptors for files and sockets, and waits until it listens.
    pub(crate) fn start_limited(
        directory: &Path,
        arguments: &[&str],
        n_descriptors: usize,
    ) -> Self {
        let script = format!("ulimit -n {n_descriptors} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.current_dir(directory).args(["-c", &script, env!("CARGO_BIN_EXE_fresnel")]);
        command.args(arguments);
        Self::spawn(command).listening()
    }

    /// Starts the program with a fail point at which it dies, and waits until it listens.
    pub(crate) fn start_failing(directory: &Path, arguments: &[&str], at: &str) -> Self {
        Self::start_failing_silent(directory, arguments, at).listening()
    }

    /// Starts the program with a fail point at which it dies.
    pub(crate) fn start_failing_silent(directory: &Path, arguments: &[&str], at: &str) -> Self {
        let mut command = command(directory, arguments);
        command.env("FRESNEL_FAIL_POINT", at);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = OutputLines::of(child.stderr.take().expect("it is piped"));
        Self { child, stderr, address: String::new() }
    }

    fn listening(mut self) -> Self {
        let mut said = String::new();
        while self.address.is_empty() {
            let line = self.stderr.next().unwrap_or_else(|| panic!("it did not listen:\n{said}"));
            said.push_str(&line);
            if let Some((_, address)) = line.split_once("listening on http://") {
                address.trim().clone_into(&mut self.address);
            }
        }
        self
    }

    /// Sends SIGTERM and waits for the end. Returns the exit code and the rest of standard error.
    pub(crate) fn terminate(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until `so` returns true; panics if the program ends before.
    pub(crate) fn wait_until(&mut self, mut so: impl FnMut() -> bool) {
        wait::until("the program did not come to it", || {
            let there = so();
            let ended = self.child.try_wait().expect("it is ours");
            assert!(there || ended.is_none(), "it ended before that: {ended:?}");
            there
        });
    }

    /// Waits until one line of standard error contains all words. Returns the lines up to it.
    pub(crate) fn wait_for_words(&mut self, words: &[&str]) -> String {
        let mut said = String::new();
        loop {
            let line = self.stderr.next();
            let line = line.unwrap_or_else(|| panic!("it did not say {words:?}:\n{said}"));
            said.push_str(&line);
            if words.iter().all(|word| line.contains(word)) {
                return said;
            }
        }
    }

    /// Requests the metrics until a line is among them.
    pub(crate) fn wait_for_metric(&mut self, line: &str) {
        let line = format!("{line}\n");
        wait::until(&line, || {
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before {line:?}: {ended:?}");
            self.get("/metrics").1.contains(&line)
        });
    }

    /// Returns the value of a counter, or 0 if it does not exist yet.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").1;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// Returns the current memory of the program, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns the peak memory of the program, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        kibibytes.and_then(|text| text.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Returns the number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Kills the run of a supervisor.
    pub(crate) fn kill_child(&self) {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the system lists them");
        let child = children.trim().parse().expect("there is one");
        signal(child, "KILL");
    }

    /// Waits for the end. Returns the exit code and the rest of standard error.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let said = self.stderr.rest();
        (self.child.wait().expect("it ends").code(), said)
    }

    /// Waits for the end, and returns the number of the signal that caused it, if any.
    pub(crate) fn wait_for_signal(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").signal()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let response = agent().get(self.url(path)).call().expect("it answers");
        (response.status().as_u16(), response.into_body().read_to_string().expect("text"))
    }

    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> (u16, String) {
        let response = agent().post(self.url(path)).send_json(body).expect("it answers");
        (response.status().as_u16(), response.into_body().read_to_string().expect("text"))
    }

    /// Posts without a body.
    pub(crate) fn post_nothing(&self, path: &str) -> (u16, String) {
        let response = agent().post(self.url(path)).send_empty().expect("it answers");
        (response.status().as_u16(), response.into_body().read_to_string().expect("text"))
    }

    /// Returns `None` if the program dies before it answers.
    pub(crate) fn put(&self, path: &str, body: &serde_json::Value) -> Option<(u16, String)> {
        let response = agent().put(self.url(path)).send_json(body).ok()?;
        Some((response.status().as_u16(), response.into_body().read_to_string().expect("text")))
    }

    /// Returns `None` if the program dies before it answers.
    pub(crate) fn delete(&self, path: &str) -> Option<(u16, String)> {
        let response = agent().delete(self.url(path)).call().ok()?;
        Some((response.status().as_u16(), response.into_body().read_to_string().expect("text")))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

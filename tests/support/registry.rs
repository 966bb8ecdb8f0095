//! A schema registry for one test: Apicurio, which implements Confluent's API, from the jar that `make test`
//! installs.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{port, wait};

/// A registry that ends with the test.
pub(crate) struct Registry {
    server: Child,
    /// URL of the registry's API.
    pub(crate) url: String,
}

/// Returns the jar that starts the registry.
fn jar() -> Option<PathBuf> {
    let files = fs::read_dir(std::env::var_os("FRESNEL_REGISTRY")?).ok()?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    files.find(|file| file.to_string_lossy().ends_with("-runner.jar"))
}

/// Returns true if the jar exists.
pub(crate) fn there() -> bool {
    jar().is_some()
}

impl Registry {
    /// Starts a registry and waits until it answers.
    pub(crate) fn start() -> Self {
        let port = port::free();
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"]);
        java.arg(format!("-Dquarkus.http.port={port}")).arg("-jar");
        java.arg(jar().expect("make test says where it is"));
        let server = java.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        let mut registry = Self { server: server.expect("java starts"), url };
        let subjects = format!("{}/subjects", registry.url);
        wait::until("the registry answers", || {
            let ended = registry.server.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            ureq::get(&subjects).call().is_ok()
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

//! `fresnel demo`: runs the demo pipeline in a simulated room.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use engine::{Auth, Cluster, Plan, RunOptions, WhenAlive};

use crate::run::{run, stop_on_signal};

/// The demo's files, by path. The demo writes them to its folder and runs them from there, so that users
/// can read and change them.
const DEMO_FILES: [(&str, &[u8]); 3] = [
    ("pipelines/demo.toml", include_bytes!("../pipelines/demo.toml")),
    ("pipelines/scenes/flat.toml", include_bytes!("../pipelines/scenes/flat.toml")),
    ("models/flat.safetensors", include_bytes!("../models/flat.safetensors")),
];

pub(crate) fn demo(
    directory: PathBuf,
    listen: SocketAddr,
    workers: usize,
    when_alive: WhenAlive,
) -> Result<ExitCode> {
    for (name, content) in DEMO_FILES {
        let path = directory.join(name);
        let is_text = path.extension().is_some_and(|ending| ending == "toml");
        let differs = |existing: Vec<u8>| !existing.is_empty() && existing != content;
        if is_text && fs::read(&path).is_ok_and(differs) {
            eprintln!("using {}, which was changed; remove it to restore it", path.display());
            continue;
        }
        let folder = path.parent().unwrap_or(&directory);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    eprintln!("simulated room: all sensors and people are computed");
    let history = directory.join("history");
    eprintln!(
        "query its history with: fresnel sql --history {} \"SELECT * FROM events\"",
        history.display()
    );
    let mut plan = Plan::load(&directory.join("pipelines/demo.toml"))?;
    if let Some(api) = plan.api.as_mut().filter(|_| !listen.ip().is_loopback()) {
        api.auth = Auth::Required;
    }
    let (cluster, stop) = (Cluster::default(), stop_on_signal()?);
    let (fresh, quarantine, drop_state) = (false, Vec::new(), Vec::new());
    let options =
        RunOptions { directory, workers, cluster, fresh, quarantine, drop_state, when_alive, stop };
    run(plan, options, Some(listen), false)
}

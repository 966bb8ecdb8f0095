//! `fresnel run`: a pipeline and its API until its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use api::Server;
use engine::{ApiConfig, Plan, Run, RunOptions, clear_output, warn_of_output};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Runs it; `listen` is where its API is served instead of where it says itself. With `clear`, what
/// earlier runs have left is removed first.
pub(crate) fn run(
    mut plan: Plan,
    options: &RunOptions,
    listen: Option<SocketAddr>,
    clear: bool,
) -> Result<()> {
    // Other processes serve what they count, if they are told where.
    plan.api = plan.api.filter(|_| options.cluster.is_first());
    if let Some(listen) = listen {
        plan.api = Some(ApiConfig { listen });
    }
    let server = plan.api.as_ref().map(|api| Server::bind(api.listen)).transpose()?;
    if clear {
        clear_output(&plan, &options.directory)?;
    }
    if options.fresh {
        warn_of_output(&plan, &options.directory);
    }
    let run = Run::start(plan, options)?;
    let serving = server.map(|server| {
        eprintln!("listening on http://{}", server.address());
        server.serve(run.shared())
    });
    let summary = run.wait();
    if let Some(serving) = serving {
        serving.end();
    }
    eprint!("{}", summary?);
    Ok(())
}

/// A flag that an interrupt or a request to terminate sets; a second one ends the process at once.
pub(crate) fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("could not listen for signals")?;
    }
    Ok(stop)
}

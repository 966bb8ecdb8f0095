//! `fresnel run`: a pipeline and its API until its end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use api::Server;
use engine::{ApiConfig, Plan, RunBuilder, RunOptions};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::EXIT_ELSEWHERE;

/// Runs it; `listen` is where its API is served instead of where it says itself. With `clear`, what
/// earlier runs have left is removed first.
pub(crate) fn run(
    mut plan: Plan,
    options: RunOptions,
    listen: Option<SocketAddr>,
    clear: bool,
) -> Result<ExitCode> {
    // Other processes serve what they count, if they are told where.
    plan.api = plan.api.filter(|_| options.cluster.is_first());
    if let Some(listen) = listen {
        plan.api = Some(ApiConfig { listen });
    }
    let listen = plan.api.as_ref().map(|api| api.listen);
    let builder = RunBuilder::new(plan, options)?;
    let server = match prepare(&builder, listen, clear) {
        Ok(server) => server,
        Err(error) => {
            builder.cancel();
            return Err(error);
        }
    };
    let run = builder.start()?;
    let serving = server.map(|server| {
        eprintln!("listening on http://{}", server.address());
        api::serve(server, run.shared())
    });
    let ended = run.wait();
    // Who takes over needs the port.
    if let Some(serving) = serving {
        serving.end();
    }
    let summary = ended?.release();
    eprint!("{summary}");
    Ok(match summary.handed_over_to() {
        Some(process) => {
            eprintln!("handed over to {process}");
            ExitCode::from(EXIT_ELSEWHERE)
        }
        None => ExitCode::SUCCESS,
    })
}

/// What comes behind the lease and before the start: a run that hands over has the port and writes its
/// output until then.
fn prepare(
    builder: &RunBuilder,
    listen: Option<SocketAddr>,
    clear: bool,
) -> Result<Option<Server>> {
    let server = listen.map(Server::bind).transpose()?;
    if clear {
        builder.clear_output()?;
    }
    builder.warn_of_output();
    Ok(server)
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

//! `fresnel run`: runs a pipeline and serves its API until the end of the run.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use api::Server;
use chrono::DateTime;
use engine::{ApiConfig, Counters, Plan, Progress, RunBuilder, RunOptions, Summary};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::EXIT_ELSEWHERE;

/// Runs a pipeline. `listen` replaces the address of its API. With `clear`, first removes the output of
/// earlier runs.
pub(crate) fn run(
    plan: Plan,
    options: RunOptions,
    listen: Option<SocketAddr>,
    clear: bool,
) -> Result<ExitCode> {
    run_observed(plan, options, (listen, clear), |_| ())
}

/// The same; what `observe` returns lives until the end of the run.
pub(crate) fn run_observed<O>(
    mut plan: Plan,
    options: RunOptions,
    (listen, clear): (Option<SocketAddr>, bool),
    observe: impl FnOnce(Arc<Counters>) -> O,
) -> Result<ExitCode> {
    // The other processes of a run serve their API only at an explicit address.
    plan.api = plan.api.filter(|_| options.cluster.is_first());
    if let Some(listen) = listen {
        plan.api.get_or_insert_default().listen = listen;
    }
    if let Some(problem) = plan.api.iter().flat_map(ApiConfig::problems).next() {
        bail!("api: {problem}");
    }
    let (api, directory) = (plan.api.clone(), options.directory.clone());
    let store = store_argument(&plan, &directory);
    let (stop, is_alone) = (Arc::clone(&options.stop), !options.cluster.has_others());
    let builder = RunBuilder::new(plan, options)?;
    let server = match prepare(&builder, api.as_ref(), &directory, clear) {
        Ok(server) => server,
        Err(error) => {
            builder.cancel();
            return Err(error);
        }
    };
    report_start(&builder);
    let is_first_run = builder.starts_at() == Some(Progress::Reached(0));
    let run = builder.start()?;
    let serving = server.map(|server| {
        server.urls().for_each(|url| eprintln!("listening on {url}"));
        api::serve(server, run.shared(), announce(store))
    });
    let observer = observe(Arc::clone(&run.shared().counters));
    let ended = run.wait();
    drop(observer);
    // A run that takes over needs the port.
    if let Some(serving) = serving {
        serving.end();
    }
    let summary = ended?.release();
    eprint!("{summary}");
    let was_stopped = stop.load(Ordering::Relaxed) || summary.handed_over_to().is_some();
    if is_first_run && is_alone && !was_stopped {
        check_records(&summary)?;
    }
    Ok(match summary.handed_over_to() {
        Some(process) => {
            eprintln!("handed over to {process}");
            ExitCode::from(EXIT_ELSEWHERE)
        }
        None => ExitCode::SUCCESS,
    })
}

/// Returns what prints the password of the first user of a store, once.
fn announce(store: String) -> impl FnOnce(&str, &str) {
    move |user, password| {
        eprintln!("first start: sign in as {user} with the password {password}");
        eprintln!(
            "it is not shown again; `fresnel users password {user} --store {store}` sets another one"
        );
    }
}

/// Returns the store of a plan as `--store` takes it in the current folder, without a password.
fn store_argument(plan: &Plan, directory: &Path) -> String {
    let store = &plan.checkpoint.store;
    match store.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..."),
        None => directory.join(store).display().to_string(),
    }
}

/// The sources have ended without any record.
#[derive(Debug)]
pub(crate) struct NoRecords {
    /// The sources with the probable causes.
    sources: Vec<(String, String)>,
}

impl NoRecords {
    /// Returns the probable causes as an error of something.
    pub(crate) fn context(&self, of: String) -> anyhow::Error {
        anyhow::anyhow!(self.causes()).context(of)
    }

    fn causes(&self) -> String {
        let causes = self.sources.iter().map(|(source, cause)| format!("{source}: {cause}"));
        causes.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for NoRecords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = self.causes();
        write!(formatter, "no source has read a record: {causes}; run it again with --fresh")
    }
}

impl std::error::Error for NoRecords {}

/// Fails if the sources have ended without any record, and the sinks have accepted none, such as errors.
fn check_records(summary: &Summary) -> Result<()> {
    match summary.nothing_read() {
        Some(sources) => Err(NoRecords { sources: sources.to_owned() }.into()),
        None => Ok(()),
    }
}

/// Prints where the run starts; only the first process of a run has the checkpoint.
fn report_start(builder: &RunBuilder) {
    match builder.starts_at() {
        Some(Progress::Reached(0)) => eprintln!("starting at the beginning of the sources"),
        Some(Progress::Reached(tick)) => {
            let time = i64::try_from(tick).ok().and_then(DateTime::from_timestamp_millis);
            let time = time.map(|time| time.format("%FT%T%.3fZ").to_string()).unwrap_or_default();
            eprintln!("resuming from the checkpoint at tick {tick} ({time})");
        }
        Some(Progress::Ended | Progress::Failed) => {}
        None => eprintln!("waiting for the other processes of the run"),
    }
}

/// Binds the port and clears or reports old output, after this run has the lease. Until then, a run that
/// hands over uses the port and writes its output.
fn prepare(
    builder: &RunBuilder,
    api: Option<&ApiConfig>,
    directory: &Path,
    clear: bool,
) -> Result<Option<Server>> {
    let server = api.map(|api| Server::bind(api, directory)).transpose()?;
    if clear {
        builder.clear_output()?;
    }
    builder.warn_of_output();
    Ok(server)
}

/// Returns a flag that SIGINT and SIGTERM set. A second signal ends the process at once.
pub(crate) fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("could not listen for signals")?;
    }
    Ok(stop)
}

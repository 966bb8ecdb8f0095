//! The start of a run. Its processes open their sinks and sources in step, the first process takes the
//! generation, and all processes start their threads. A failure before the generation is taken does not
//! affect an earlier run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use schemas::Tick;
use serde::{Deserialize, Serialize};

use crate::dataflow::{Configured, DataflowInputs, Placed};
use crate::run::checkpoint_thread;
use crate::run::cluster::Connected;
use crate::run::configuration::Configuration;
use crate::run::context::RunContext;
use crate::run::endpoints::{Begun, Endpoints, OpenedEndpoints, OpenedSinks, SinksMessage};
use crate::run::models::Models;
use crate::run::quarantine::QuarantinedPartitions;
use crate::run::resume::{Resumed, join};
use crate::run::startup::{RoundMessage, StartupCoordinator};
use crate::store::{RunId, Session, Store};
use crate::{RunError, Shared, State, Taps};

/// The configuration and the dataflow's ends of it by operator, in the first process.
type Changeable = Option<(Configuration, BTreeMap<String, Configured>)>;

/// The message of the first round: the identity of the run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct RunMessage {
    /// Sent by the first process only.
    run: Option<RunId>,
    /// The names of partitions that are to be quarantined.
    quarantine: Vec<String>,
}

impl RoundMessage for RunMessage {
    fn join(&mut self, other: Self) {
        self.run = self.run.take().or(other.run);
        self.quarantine.extend(other.quarantine);
    }
}

/// Opens a run.
pub(super) struct RunOpener {
    pub(super) context: RunContext,
    /// The models of the plan's operators, by operator.
    pub(super) models: Models,
    /// The checkpoint to resume from, in the first process.
    pub(super) loaded: Mutex<Option<(Session, Resumed)>>,
    /// Set to the generation when it is taken.
    pub(super) generation: Arc<AtomicI64>,
}

/// The parts of a run outside its workers.
pub(super) struct StartedRun {
    pub(super) shared: Arc<Shared>,
    /// The store, in a process that has joined the run.
    pub(super) store: Option<Store>,
}

impl RunOpener {
    /// Connects the workers of all processes.
    pub(super) fn connect(&self) -> Result<Connected, RunError> {
        self.context.options.cluster.connect(&self.context.plan, self.context.options.workers)
    }

    /// True for the first worker of this process, which opens the process's sources and sinks.
    pub(super) fn is_opened_by(&self, worker: usize) -> bool {
        worker.is_multiple_of(self.context.options.workers.max(1))
    }

    /// Opens this process's sources and sinks, in step with the other processes.
    pub(super) fn open(
        &self,
        startup: &mut StartupCoordinator<'_>,
    ) -> Result<(DataflowInputs, StartedRun), RunError> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = loaded.as_ref().map(|(session, _)| session.run_id());
        let message = RunMessage { run, quarantine: self.context.options.quarantine.clone() };
        let ((), agreed) = startup.end_round(Ok(((), message)))?;
        let run = agreed.run.expect("the first process sends it");
        let generation = run.generation;
        let _span =
            tracing::info_span!("open", pipeline = self.context.plan.name, generation).entered();
        // Sinks first: a sink that cannot be opened must not cost records of live sources.
        let sinks = self.open_sinks(loaded, &run, &agreed.quarantine);
        let (sinks, SinksMessage { upper }) = startup.end_round(sinks)?;
        let sources = sinks.release(upper).open_sources();
        let (opened, of_sources) = startup.end_round(sources)?;
        // Sources and sinks of all processes are open: now the new generation fences earlier runs.
        let taken = self.take_generation(opened, &of_sources.begun);
        let (opened, ()) = startup.end_round(taken)?;
        let begun = opened.begin().and_then(|begun| self.with_configuration(begun));
        let ((begun, configuration), ()) = startup.end_round(begun)?;
        Ok(self.start(begun, configuration, of_sources.quarantined))
    }

    /// Opens the sinks of a run that this process has loaded or joins.
    fn open_sinks<'a>(
        &'a self,
        loaded: Option<(Session, Resumed)>,
        run: &RunId,
        quarantine: &'a [String],
    ) -> Result<(OpenedSinks<'a>, SinksMessage), RunError> {
        let (store, loaded) = if let Some(loaded) = loaded {
            (None, loaded)
        } else {
            let location = &self.context.plan.checkpoint.store;
            let store = Store::open(&self.context.options.directory, location);
            let store = store.map_err(RunError::Store)?;
            let joined = join(&store, &self.context.plan, &self.context.options, run)?;
            (Some(store), joined)
        };
        Endpoints::new(&self.context, quarantine, store, loaded).open_sinks()
    }

    /// Takes the generation of the run, in the first process.
    fn take_generation<'a>(
        &self,
        mut opened: OpenedEndpoints<'a>,
        begun: &State,
    ) -> Result<(OpenedEndpoints<'a>, ()), RunError> {
        if self.context.options.cluster.is_first() {
            let generation = opened.take_generation(begun)?;
            self.generation.store(generation, Ordering::Release);
        }
        Ok((opened, ()))
    }

    /// Adds the configuration, in the first process.
    fn with_configuration<'a>(
        &self,
        begun: Begun<'a>,
    ) -> Result<((Begun<'a>, Changeable), ()), RunError> {
        let configuration = self.configuration(begun.session(), begun.starts_at())?;
        Ok(((begun, configuration), ()))
    }

    /// Starts the threads. Returns the inputs of the workers, and the parts of the run outside the
    /// workers.
    #[expect(clippy::disallowed_methods, reason = "the start of a run is a matter of clocks")]
    fn start(
        &self,
        begun: Begun<'_>,
        configuration: Changeable,
        quarantined: QuarantinedPartitions,
    ) -> (DataflowInputs, StartedRun) {
        let (endpoints, started) = begun.start();
        let Endpoints {
            store,
            session,
            resumed,
            quarantine,
            counters,
            routers,
            hub,
            history,
            checkpointed_through,
            ..
        } = endpoints;
        let mut threads = started.threads;
        let (configuration, configured) = configuration.unzip();
        let (accounts, templates) = (session.store().accounts(), session.store().templates());
        let items = session.store().items(&self.context.plan.name);
        let checkpointer = self.context.options.cluster.is_first().then(|| {
            let log = self.context.connectors.commit_log(session);
            let (checkpointer, thread) = checkpoint_thread::spawn(
                &self.context.plan,
                log,
                resumed.progress,
                quarantined,
                &self.context.control,
            );
            threads.push(("checkpoints".to_owned(), thread));
            checkpointer
        });
        self.context.control.health().watch(threads);
        let taps = Arc::<Taps>::default();
        let parts = DataflowInputs {
            plan: self.context.plan.clone(),
            counters: Arc::clone(&counters),
            taps: Arc::clone(&taps),
            models: self.models.clone(),
            source_queues: started.source_queues,
            sink_queues: started.sink_queues,
            configured: Placed::new(0, configured),
            checkpointer: Placed::new(0, checkpointer),
            starts_at: resumed.tick(),
            resumed: resumed.progress,
            restored: resumed.entries,
            stop: Arc::clone(&self.context.options.stop),
            checkpointed_through,
            has_quarantined: !quarantine.is_empty(),
        };
        let (plan, started) = (self.context.plan.clone(), Instant::now());
        let (configuration, health) =
            (configuration.map(Arc::new), Arc::clone(self.context.control.health()));
        let stop = Arc::clone(&self.context.options.stop);
        let shared = Shared {
            plan,
            counters,
            routers,
            taps,
            hub,
            history,
            configuration,
            accounts,
            templates,
            items,
            health,
            started,
            stop,
        };
        (parts, StartedRun { shared: Arc::new(shared), store })
    }

    /// Opens the configuration, in the first process.
    fn configuration(&self, session: &Session, starts_at: Tick) -> Result<Changeable, RunError> {
        if !self.context.options.cluster.is_first() {
            return Ok(None);
        }
        let configuration =
            Configuration::open(&self.context.plan, session, starts_at, &self.context.control);
        configuration.map(Some).map_err(RunError::Store)
    }
}

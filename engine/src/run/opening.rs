//! The start of a run: its processes open their sinks and sources in step, and start their threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use operators::Model;
use schemas::Tick;
use timely::CommunicationConfig;

use crate::dataflow::{Configured, Parts, Placed};
use crate::run::agreement::{Agreement, Word};
use crate::run::checkpoint_thread;
use crate::run::configuration::Configuration;
use crate::run::control::Control;
use crate::run::ends::{Ends, Feeds, Outlets};
use crate::run::held::Held;
use crate::run::resume::{Resumed, join, resume};
use crate::store::Session;
use crate::{Plan, RunError, RunOptions, Shared, Taps};

/// A run that is about to start.
pub(super) struct Opening {
    pub(super) plan: Plan,
    /// The models of the plan's operators, by operator.
    pub(super) models: BTreeMap<String, Arc<Model>>,
    pub(super) options: RunOptions,
    pub(super) control: Arc<Control>,
    /// In the first process: what the run goes on from.
    begun: Mutex<Option<(Session, Resumed)>>,
}

/// What of a run is beside its workers.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Opening {
    /// Begins the run, if this is its first process: from here on, an earlier run of the pipeline can
    /// commit nothing.
    pub(super) fn begin(
        plan: Plan,
        models: BTreeMap<String, Arc<Model>>,
        options: RunOptions,
        control: Arc<Control>,
    ) -> Result<Self, RunError> {
        let is_first = options.cluster.is_first();
        let begun = is_first.then(|| resume(&plan, &options)).transpose()?;
        Ok(Self { plan, models, options, control, begun: Mutex::new(begun) })
    }

    pub(super) fn communication(&self) -> CommunicationConfig {
        self.options.cluster.communication(self.options.workers)
    }

    /// True for the one worker of this process that opens what is the process's.
    pub(super) fn is_opened_by(&self, worker: usize) -> bool {
        worker.is_multiple_of(self.options.workers.max(1))
    }

    /// Opens what is this process's, in step with the others.
    pub(super) fn open(&self, agreement: &mut Agreement<'_>) -> Result<(Parts, Opened), RunError> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let generation = begun.as_ref().map(|(session, _)| session.generation());
        let asks = Word { generation, hold: self.options.hold.clone(), ..Word::default() };
        let ((), agreed) = agreement.end_round(Ok(((), asks)))?;
        let generation = agreed.generation.expect("the first process says it");
        let _span = tracing::info_span!("open", pipeline = self.plan.name, generation).entered();
        // Sinks first: a sink that cannot be opened must not cost records of live sources.
        let with_sinks = self.with_sinks(begun, generation, &agreed.hold);
        let ((mut ends, outlets), sinks) = agreement.end_round(with_sinks)?;
        agreement.end_round(ends.release(sinks.behind_sinks))?;
        let (feeds, sources) = agreement.end_round(ends.sources(sinks.behind_sinks))?;
        agreement.end_round(ends.begin(sources.begun))?;
        self.assemble(ends, outlets, feeds, sources.held)
    }

    /// Opens the sinks, for a run that this process has begun or joins now.
    fn with_sinks<'a>(
        &'a self,
        begun: Option<(Session, Resumed)>,
        generation: i64,
        hold: &'a [String],
    ) -> Result<((Ends<'a>, Outlets), Word), RunError> {
        let begun = match begun {
            Some(begun) => begun,
            None => join(&self.plan, &self.options, generation)?,
        };
        let mut ends = Ends::new(self, hold, begun);
        let (outlets, word) = ends.sinks()?;
        Ok(((ends, outlets), word))
    }

    /// Puts together what the workers need, and what is beside them.
    #[expect(clippy::disallowed_methods, reason = "the start of a run is a matter of clocks")]
    fn assemble(
        &self,
        ends: Ends<'_>,
        outlets: Outlets,
        feeds: Feeds,
        held: Held,
    ) -> Result<(Parts, Opened), RunError> {
        let Ends { session, resumed, hold, counters, hub, history, done_with, .. } = ends;
        let mut threads = ends.threads;
        let (configuration, configured) = self.configuration(&session, resumed.tick)?.unzip();
        let checkpointer = self.options.cluster.is_first().then(|| {
            let (checkpointer, thread) =
                checkpoint_thread::spawn(&self.plan, session, resumed.tick, held, &self.control);
            threads.push(thread);
            checkpointer
        });
        let taps = Arc::<Taps>::default();
        let parts = Parts {
            plan: self.plan.clone(),
            counters: Arc::clone(&counters),
            taps: Arc::clone(&taps),
            models: self.models.clone(),
            feeds,
            outlets,
            configured: Placed::new(0, configured),
            checkpointer: Placed::new(0, checkpointer),
            starts_at: resumed.tick,
            restored: resumed.entries,
            stop: Arc::clone(&self.options.stop),
            done_with,
            holds_some: !hold.is_empty(),
        };
        let (plan, started) = (self.plan.clone(), Instant::now());
        let configuration = configuration.map(Arc::new);
        let shared = Shared { plan, counters, taps, hub, history, configuration, started };
        Ok((parts, Opened { shared: Arc::new(shared), threads }))
    }

    /// What can be changed, in the first process.
    fn configuration(
        &self,
        session: &Session,
        starts_at: Tick,
    ) -> Result<Option<(Configuration, Configured)>, RunError> {
        if !self.options.cluster.is_first() {
            return Ok(None);
        }
        let configuration = Configuration::open(&self.plan, session, starts_at, &self.control);
        configuration.map(Some).map_err(RunError::Store)
    }
}

//! The start of a run: opens the sinks and sources of this process, and starts their threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use operators::Model;
use queries::{History, LiveTail};
use schemas::{Record, Tick};
use sinks::{DeltaTail, Hub, SinkConfig, SinkContext};
use sources::{Silences, SourceContext};
use timely::CommunicationConfig;

use crate::dataflow::{Configured, Feed, Outlet, Parts, Placed};
use crate::run::configuration::Configuration;
use crate::run::control::Control;
use crate::run::held::{self, Held, is_held};
use crate::run::resume::{Resumed, join, resume};
use crate::run::source_thread::Surroundings;
use crate::run::{checkpoint_thread, sink_thread, source_thread};
use crate::store::Session;
use crate::{
    Counters, Placement, Plan, PlannedSink, PlannedSource, RunError, RunOptions, Shared, Taps,
};

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
    pub(super) fn new(
        plan: Plan,
        models: BTreeMap<String, Arc<Model>>,
        options: RunOptions,
        control: Arc<Control>,
    ) -> Self {
        Self { plan, models, options, control, begun: Mutex::default() }
    }

    /// Begins the run, if this is its first process: from here on, an earlier run of the pipeline can
    /// commit nothing. Gives the run's generation.
    pub(super) fn begin(&self) -> Result<Option<i64>, RunError> {
        if !self.options.cluster.is_first() {
            return Ok(None);
        }
        let (session, resumed) = resume(&self.plan, &self.options)?;
        let generation = session.generation();
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some((session, resumed));
        Ok(Some(generation))
    }

    pub(super) fn communication(&self) -> CommunicationConfig {
        self.options.cluster.communication(self.options.workers)
    }

    /// Opens what is this process's.
    #[expect(clippy::disallowed_methods, reason = "the start of a run is a matter of clocks")]
    pub(super) fn open(&self, generation: i64) -> Result<(Parts, Opened), RunError> {
        let _span = tracing::info_span!("open", pipeline = self.plan.name, generation).entered();
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (mut session, mut resumed) = match begun {
            Some(begun) => begun,
            None => join(&self.plan, &self.options, generation)?,
        };
        let mut ends = Ends::new(self, &session);
        // Sinks first: a sink that cannot be opened must not cost records of live sources.
        let outlets = ends.sinks(&session, &resumed)?;
        self.release(ends.behind_sinks, &mut session, &mut resumed)?;
        let feeds = ends.sources(&resumed)?;
        let Ends { counters, hub, history, done_with, held, mut threads, .. } = ends;
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
            holds_some: !self.options.hold.is_empty(),
        };
        let (plan, started) = (self.plan.clone(), Instant::now());
        let configuration = configuration.map(Arc::new);
        let shared = Shared { plan, counters, taps, hub, history, configuration, started };
        let shared = Arc::new(shared);
        Ok((parts, Opened { shared, threads }))
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

    /// Reads partitions again that were left alone, behind all that sinks hold.
    fn release(
        &self,
        from: Tick,
        session: &mut Session,
        resumed: &mut Resumed,
    ) -> Result<(), RunError> {
        let released = held::release(&self.plan, &self.options.hold, from, resumed);
        if released.components.is_empty() {
            return Ok(());
        }
        if self.options.cluster.has_others() {
            return Err(RunError::Held);
        }
        session.commit(resumed.tick, &released).map(drop).map_err(RunError::Store)
    }
}

/// The sources and sinks of this process, while they are opened.
struct Ends<'a> {
    plan: &'a Plan,
    directory: &'a Path,
    placement: Placement,
    hold: &'a [String],
    held: Held,
    /// Every sink has less than everything before this tick.
    behind_sinks: Tick,
    silences: Arc<dyn Silences>,
    journal: PathBuf,
    done_with: Arc<AtomicU64>,
    counters: Arc<Counters>,
    hub: Arc<Hub>,
    control: &'a Arc<Control>,
    history: Option<Arc<History>>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Ends<'a> {
    fn new(opening: &'a Opening, session: &Session) -> Self {
        let Opening { plan, options, control, .. } = opening;
        Self {
            plan,
            directory: &options.directory,
            placement: options.cluster.placement(options.workers),
            hold: &options.hold,
            held: Held::default(),
            behind_sinks: 0,
            silences: session.silences(),
            journal: journal_folder(&options.directory, &plan.name, session.lineage()),
            done_with: Arc::default(),
            counters: Arc::default(),
            hub: Arc::default(),
            control,
            history: None,
            threads: Vec::new(),
        }
    }

    fn sinks(
        &mut self,
        session: &Session,
        resumed: &Resumed,
    ) -> Result<Vec<Placed<Outlet>>, RunError> {
        let first = (self.plan.sources.len() + self.plan.operators.len()) as u32;
        let sinks = self.plan.sinks.iter().zip(first..);
        let place = |(sink, component): (&PlannedSink, u32)| {
            let worker = self.placement.of_outlet(component, sink.config.is_served());
            let here = self.placement.is_here(worker);
            let outlet = here.then(|| self.sink(sink, session, resumed)).transpose()?;
            Ok(Placed::new(worker, outlet))
        };
        sinks.map(place).collect()
    }

    fn sink(
        &mut self,
        sink: &PlannedSink,
        session: &Session,
        resumed: &Resumed,
    ) -> Result<Outlet, RunError> {
        let streams = self.plan.streams();
        let inputs = sink.inputs.iter().map(|input| (input.to_string(), streams[input]));
        let inputs: Vec<_> = inputs.collect();
        let context = SinkContext {
            pipeline: &self.plan.name,
            name: &sink.name,
            inputs: &inputs,
            lineage: session.lineage(),
            generation: session.generation(),
            directory: self.directory,
            hub: &self.hub,
        };
        let failed = |source| RunError::Sink { name: sink.name.clone(), source };
        let open = sink.config.open(&context).map_err(failed)?;
        resumed.check_upper(&sink.name, open.sink.upper())?;
        self.behind_sinks = self.behind_sinks.max(open.sink.upper().unwrap_or(0));
        if let SinkConfig::Delta(config) = &sink.config {
            let tail = open.tail.map(|tail| Arc::new(Tail(tail)) as Arc<dyn LiveTail>);
            let history = || Arc::new(History::new(self.directory.join(&config.path), tail));
            self.history.get_or_insert_with(history);
        }
        let (outlet, thread) =
            sink_thread::spawn(&sink.name, open.sink, &self.counters, self.control);
        self.threads.push(thread);
        Ok(outlet)
    }

    fn sources(&mut self, resumed: &Resumed) -> Result<Vec<Vec<Placed<Feed>>>, RunError> {
        let sources = self.plan.sources.iter().zip(0..);
        sources.map(|(source, component)| self.source(source, component, resumed)).collect()
    }

    fn source(
        &mut self,
        source: &PlannedSource,
        component: u32,
        resumed: &Resumed,
    ) -> Result<Vec<Placed<Feed>>, RunError> {
        let PlannedSource { name, config } = source;
        let context = SourceContext {
            name,
            site: &self.plan.name,
            directory: self.directory,
            tick_length: self.plan.tick_length,
            granule: self.plan.granule(),
            starts_at: resumed.tick,
            positions: resumed.entries(name),
            journal: &self.journal,
            silences: &self.silences,
            share: self.placement.share(component),
        };
        let failed = |source| RunError::Source { name: name.clone(), source };
        let partitions = config.open(&context).map_err(failed)?;
        let surroundings = Surroundings {
            counters: Arc::clone(&self.counters),
            control: Arc::clone(self.control),
            done_with: Arc::clone(&self.done_with),
        };
        let mut feeds = Vec::new();
        for partition in partitions {
            if is_held(self.hold, name, &partition.name) {
                tracing::error!(source = name, partition = partition.name, "left alone");
                self.held.add(component, &partition.name, context.position(&partition.name));
                self.threads.extend(source_thread::spawn_receiver(name, partition, &surroundings));
                continue;
            }
            let worker = self.placement.of_feed(component, partition.number);
            let (feed, threads) = source_thread::spawn(name, partition, &surroundings);
            self.threads.extend(threads);
            feeds.push(Placed::new(worker, Some(feed)));
        }
        Ok(feeds)
    }
}

/// Where a pipeline's sources keep what cannot be asked again. Each history has its own folder; those
/// of earlier ones are removed.
fn journal_folder(directory: &Path, pipeline: &str, lineage: &str) -> PathBuf {
    let journals = directory.join("fresnel.journal").join(pipeline);
    let folders = fs::read_dir(&journals).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.file_name() != lineage) {
        if let Err(error) = fs::remove_dir_all(folder.path()) {
            tracing::warn!(%error, folder = %folder.path().display(), "an old journal stays");
        }
    }
    journals.join(lineage)
}

/// Lets queries see what the `delta` sink has accepted.
#[derive(Debug)]
struct Tail(DeltaTail);

impl LiveTail for Tail {
    fn writer(&self) -> &str {
        self.0.writer()
    }

    fn tables(&self) -> Vec<String> {
        self.0.tables()
    }

    fn rows(&self, table: &str) -> Vec<(Tick, Record)> {
        self.0.rows(table)
    }
}

//! The sources and sinks of this process, while a run opens them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use queries::{History, LiveTail};
use schemas::{Record, Tick};
use sinks::{DeltaTail, Hub, SinkConfig, SinkContext};
use sources::{Silences, SourceContext};

use crate::dataflow::{Feed, Outlet, Placed};
use crate::run::agreement::Word;
use crate::run::control::Control;
use crate::run::held::{self, Held};
use crate::run::opening::Opening;
use crate::run::resume::Resumed;
use crate::run::source_thread::Surroundings;
use crate::run::{begun, sink_thread, source_thread};
use crate::store::Session;
use crate::{Counters, Placement, Plan, PlannedSink, PlannedSource, RunError, State, journals};

/// For each source of the plan, one for each of its partitions.
pub(super) type Feeds = Vec<Vec<Placed<Feed>>>;
/// One for each sink of the plan.
pub(super) type Outlets = Vec<Placed<Outlet>>;

pub(super) struct Ends<'a> {
    plan: &'a Plan,
    directory: &'a Path,
    is_first: bool,
    placement: Placement,
    /// The names of partitions that are left alone.
    pub(super) hold: &'a [String],
    silences: Arc<dyn Silences>,
    journal: PathBuf,
    control: &'a Arc<Control>,
    pub(super) session: Session,
    pub(super) resumed: Resumed,
    pub(super) done_with: Arc<AtomicU64>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Arc<Hub>,
    pub(super) history: Option<Arc<History>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Where partitions begin that no earlier run has read.
    begins_at: Tick,
    /// Where those begin that are opened here.
    begun: State,
}

impl<'a> Ends<'a> {
    pub(super) fn new(
        opening: &'a Opening,
        hold: &'a [String],
        (session, resumed): (Session, Resumed),
    ) -> Self {
        let Opening { plan, options, control, .. } = opening;
        Self {
            plan,
            directory: &options.directory,
            is_first: options.cluster.is_first(),
            placement: options.cluster.placement(options.workers),
            hold,
            silences: session.silences(),
            journal: journal_folder(&options.directory, &plan.name, session.lineage()),
            control,
            session,
            resumed,
            done_with: Arc::default(),
            counters: Arc::default(),
            hub: Arc::default(),
            history: None,
            threads: Vec::new(),
            begins_at: 0,
            begun: State::default(),
        }
    }

    /// Opens the sinks. Says behind which tick all of them are.
    pub(super) fn sinks(&mut self) -> Result<(Outlets, Word), RunError> {
        let first = (self.plan.sources.len() + self.plan.operators.len()) as u32;
        let mut behind_sinks = 0;
        let mut outlets = Vec::new();
        for (sink, component) in self.plan.sinks.iter().zip(first..) {
            let worker = self.placement.of_outlet(component, sink.config.is_served());
            let here = self.placement.is_here(worker);
            let outlet = here.then(|| self.sink(sink)).transpose()?;
            let (outlet, upper) = outlet.unzip();
            behind_sinks = behind_sinks.max(upper.flatten().unwrap_or(0));
            outlets.push(Placed::new(worker, outlet));
        }
        Ok((outlets, Word { behind_sinks, ..Word::default() }))
    }

    /// Opens a sink; gives its upper as well, if it knows one.
    fn sink(&mut self, sink: &PlannedSink) -> Result<(Outlet, Option<Tick>), RunError> {
        let streams = self.plan.streams();
        let inputs = sink.inputs.iter().map(|input| (input.to_string(), streams[input]));
        let inputs: Vec<_> = inputs.collect();
        let context = SinkContext {
            pipeline: &self.plan.name,
            name: &sink.name,
            inputs: &inputs,
            lineage: self.session.lineage(),
            generation: self.session.generation(),
            directory: self.directory,
            hub: &self.hub,
        };
        let failed = |source| RunError::Sink { name: sink.name.clone(), source };
        let open = sink.config.open(&context).map_err(failed)?;
        let upper = open.sink.upper();
        self.resumed.check_upper(&sink.name, upper)?;
        if let SinkConfig::Delta(config) = &sink.config {
            let tail = open.tail.map(|tail| Arc::new(Tail(tail)) as Arc<dyn LiveTail>);
            let history = || Arc::new(History::new(self.directory.join(&config.path), tail));
            self.history.get_or_insert_with(history);
        }
        let (outlet, thread) =
            sink_thread::spawn(&sink.name, open.sink, &self.counters, self.control);
        self.threads.push(thread);
        Ok((outlet, upper))
    }

    /// Reads partitions again that were left alone, from a tick on that is behind all that sinks hold.
    /// Durable before anything is read.
    pub(super) fn release(&mut self, from: Tick) -> Result<((), Word), RunError> {
        let released = held::release(self.plan, self.hold, from, &mut self.resumed);
        if self.is_first && !released.components.is_empty() {
            self.session.commit(self.resumed.tick, &released).map_err(RunError::Store)?;
        }
        Ok(((), Word::default()))
    }

    /// Opens the sources; partitions that no earlier run has read begin at `begins_at`, behind all that
    /// sinks hold. Says which are left alone, and which begin.
    pub(super) fn sources(&mut self, begins_at: Tick) -> Result<(Feeds, Word), RunError> {
        self.begins_at = begins_at.max(self.resumed.tick);
        let mut held = Held::default();
        let sources = self.plan.sources.iter().zip(0..);
        let feeds = sources.map(|(source, component)| self.source(source, component, &mut held));
        let feeds = feeds.collect::<Result<_, _>>()?;
        let begun = std::mem::take(&mut self.begun);
        Ok((feeds, Word { held, begun, ..Word::default() }))
    }

    /// Makes durable which state is dropped, and where partitions begin that no earlier run has read. That is
    /// before anything that they give is durable: so they begin there again, and nothing of them is lost or
    /// doubled.
    pub(super) fn begin(&mut self, begun: State) -> Result<((), Word), RunError> {
        let mut changes = std::mem::take(&mut self.resumed.dropped);
        changes.apply(begun);
        if self.is_first && !changes.components.is_empty() {
            self.session.commit(self.resumed.tick, &changes).map_err(RunError::Store)?;
        }
        Ok(((), Word::default()))
    }

    fn source(
        &mut self,
        source: &PlannedSource,
        component: u32,
        held: &mut Held,
    ) -> Result<Vec<Placed<Feed>>, RunError> {
        let PlannedSource { name, config } = source;
        let context = SourceContext {
            name,
            site: &self.plan.name,
            directory: self.directory,
            tick_length: self.plan.tick_length,
            granule: self.plan.granule(),
            starts_at: self.resumed.tick,
            begins_at: self.begins_at,
            positions: self.resumed.entries(name),
            journal: &self.journal,
            silences: &self.silences,
            share: self.placement.share(component),
            hold: self.hold,
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
            begun::note(&mut self.begun, source, &partition, &context);
            if context.is_held(&partition.name) {
                tracing::error!(source = name, partition = partition.name, "left alone");
                held.add(component, &partition.name, &context);
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

/// Where a pipeline's sources keep what cannot be asked again. Each lineage has its own folder; those of
/// earlier ones stay, so that a fresh start loses nothing that was received.
fn journal_folder(directory: &Path, pipeline: &str, lineage: &str) -> PathBuf {
    journals(directory, pipeline).join(lineage)
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

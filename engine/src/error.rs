//! Errors of runs.

use std::path::PathBuf;

use operators::OperatorError;
use sinks::SinkError;
use sources::SourceError;

use crate::StoreError;

/// A failure of a run. Output that was committed before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A source could not be opened, or failed while it was read.
    #[error("source {name:?} failed")]
    Source {
        /// The source's name.
        name: String,
        /// The cause.
        source: SourceError,
    },
    /// The pipeline has no source of this name.
    #[error("the pipeline has no source {name:?}")]
    NoSuchSource {
        /// The name.
        name: String,
    },
    /// A flag names a component that neither the pipeline nor its checkpoint has.
    #[error("{flag} {name:?}: no such component; expected one of {}", known.join(", "))]
    NoSuchComponent {
        /// The flag.
        flag: &'static str,
        /// The name.
        name: String,
        /// The components.
        known: Vec<String>,
    },
    /// An operator could not be prepared.
    #[error("operator {name:?} failed")]
    Operator {
        /// The operator's name.
        name: String,
        /// The cause.
        source: OperatorError,
    },
    /// A sink could not be opened, or did not accept records after several tries.
    #[error("sink {name:?} failed")]
    Sink {
        /// The sink's name.
        name: String,
        /// The cause.
        source: SinkError,
    },
    /// A checkpoint could not be read or written.
    #[error("could not use the checkpoints")]
    Store(#[source] StoreError),
    /// Another run of the pipeline is alive.
    #[error(
        "pipeline {pipeline:?} is running already, as {holder}: --take-over stops that run after its \
         last commit and continues from there, --standby waits until it has ended"
    )]
    Alive {
        /// The pipeline.
        pipeline: String,
        /// The process that runs the pipeline.
        holder: String,
    },
    /// The run was stopped while it waited for another run to end.
    #[error("stopped while waiting for another run of pipeline {pipeline:?}")]
    StoppedWaiting {
        /// The pipeline.
        pipeline: String,
    },
    /// A process of the run differs from the first process.
    #[error("process {process} cannot run with process 0: {difference}")]
    Different {
        /// The number of the process.
        process: usize,
        /// The difference, and how to resolve it.
        difference: String,
    },
    /// The saved state does not fit the pipeline.
    #[error(
        "the saved state of {} does not fit: {}; {} forgets it and continues, --fresh starts the pipeline \
         anew (with --clear also without its earlier output)",
        names(.0), mismatches(.0), flags(.0)
    )]
    State(Vec<Mismatch>),
    /// The saved state does not fit the pipeline, which has ended.
    #[error(
        "the saved state of {} does not fit: {}; the pipeline has ended, so only --fresh starts it anew (with \
         --clear without its earlier output)",
        names(.0), mismatches(.0)
    )]
    StateOfEnded(Vec<Mismatch>),
    /// The upper of a sink is behind its upper in the checkpoint: the sink has lost committed records.
    #[error(
        "sink {name:?} holds everything before tick {upper}, but it held everything before \
         {expected}: was its destination replaced? --drop-state {name} goes on with what there is"
    )]
    Behind {
        /// The sink's name.
        name: String,
        /// The upper of the sink.
        upper: u64,
        /// The upper in the checkpoint.
        expected: u64,
    },
    /// The pipeline has ended, and a source has new records.
    #[error(
        "source {name:?} has new records, but the pipeline has ended and its sinks accept no more: --fresh \
         starts it anew and adds to its earlier output, --fresh --clear replaces that output"
    )]
    Ended {
        /// The source's name.
        name: String,
    },
    /// The file with the hosts of a run could not be read, or is not valid.
    #[error("the list of hosts {file:?} cannot be used: {reason}")]
    Hosts {
        /// The file.
        file: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The workers could not be started, or one of them panicked.
    #[error("workers failed: {reason}")]
    Workers {
        /// The cause.
        reason: String,
    },
}

/// State that a component cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The component that the state was saved for.
    pub name: String,
    /// The shape of the state.
    pub saved: String,
    /// The shape that the component needs; none if the component is missing or has no state.
    pub needed: Option<String>,
}

fn names(mismatches: &[Mismatch]) -> String {
    let names = mismatches.iter().map(|mismatch| format!("\"{}\"", mismatch.name));
    names.collect::<Vec<_>>().join(", ")
}

fn flags(mismatches: &[Mismatch]) -> String {
    let flags = mismatches.iter().map(|mismatch| format!("--drop-state {}", mismatch.name));
    flags.collect::<Vec<_>>().join(" ")
}

fn mismatches(mismatches: &[Mismatch]) -> String {
    let mismatches = mismatches.iter().map(|Mismatch { name, saved, needed }| match needed {
        Some(needed) => format!("\"{name}\" saved \"{saved}\" and needs \"{needed}\""),
        None => format!("nothing named \"{name}\" needs \"{saved}\" any more"),
    });
    mismatches.collect::<Vec<_>>().join(", ")
}

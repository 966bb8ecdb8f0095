//! Edges: a stream of one of the record types.

use operators::{into_records, select};
use schemas::{
    ActivityWindow, CsiBatch, Event, PoseFrame, Presence, Record, RecordKind, Tick, ZoneOccupancy,
};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::{Scope, StreamVec};

/// A typed stream.
#[derive(Clone)]
pub(super) enum Edge<'scope> {
    Csi(StreamVec<'scope, Tick, CsiBatch>),
    Pose(StreamVec<'scope, Tick, PoseFrame>),
    Presence(StreamVec<'scope, Tick, Presence>),
    Occupancy(StreamVec<'scope, Tick, ZoneOccupancy>),
    Activity(StreamVec<'scope, Tick, ActivityWindow>),
    Event(StreamVec<'scope, Tick, Event>),
}

impl<'scope> Edge<'scope> {
    /// The records of one kind.
    pub(super) fn select(kind: RecordKind, records: StreamVec<'scope, Tick, Record>) -> Self {
        match kind {
            RecordKind::Csi => Self::Csi(select(records)),
            RecordKind::Pose => Self::Pose(select(records)),
            RecordKind::Presence => Self::Presence(select(records)),
            RecordKind::Occupancy => Self::Occupancy(select(records)),
            RecordKind::Activity => Self::Activity(select(records)),
            RecordKind::Event => Self::Event(select(records)),
        }
    }

    /// Forgets the type, for sinks.
    pub(super) fn into_records(self) -> StreamVec<'scope, Tick, Record> {
        match self {
            Self::Csi(stream) => into_records(stream),
            Self::Pose(stream) => into_records(stream),
            Self::Presence(stream) => into_records(stream),
            Self::Occupancy(stream) => into_records(stream),
            Self::Activity(stream) => into_records(stream),
            Self::Event(stream) => into_records(stream),
        }
    }
}

/// All inputs as one stream of CSI; the plan has checked that they are.
pub(super) fn csi<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, CsiBatch> {
    scope.concatenate(inputs.into_iter().filter_map(|input| match input {
        Edge::Csi(stream) => Some(stream),
        _ => None,
    }))
}

/// All inputs as one stream of poses; the plan has checked that they are.
pub(super) fn pose<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, PoseFrame> {
    scope.concatenate(inputs.into_iter().filter_map(|input| match input {
        Edge::Pose(stream) => Some(stream),
        _ => None,
    }))
}

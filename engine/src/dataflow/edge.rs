//! Edges: a stream of one of the record types.

use operators::{Component, into_records, into_rows};
use schemas::{
    ActivityWindow, CsiBatch, Event, PoseFrame, Presence, Record, Rows, Tick, ZoneOccupancy,
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
    Rows(StreamVec<'scope, Tick, Rows>),
}

impl<'scope> Edge<'scope> {
    /// Converts the stream to records of any type, for sinks.
    pub(super) fn into_records(self) -> StreamVec<'scope, Tick, Record> {
        match self {
            Self::Csi(stream) => into_records(stream),
            Self::Pose(stream) => into_records(stream),
            Self::Presence(stream) => into_records(stream),
            Self::Occupancy(stream) => into_records(stream),
            Self::Activity(stream) => into_records(stream),
            Self::Event(stream) => into_records(stream),
            Self::Rows(stream) => into_records(stream),
        }
    }
}

/// Joins all inputs to one stream of CSI; the plan has checked their types.
pub(super) fn csi<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, CsiBatch> {
    scope.concatenate(inputs.into_iter().filter_map(|input| match input {
        Edge::Csi(stream) => Some(stream),
        _ => None,
    }))
}

/// Joins all inputs to one stream of poses; the plan has checked their types.
pub(super) fn pose<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, PoseFrame> {
    scope.concatenate(inputs.into_iter().filter_map(|input| match input {
        Edge::Pose(stream) => Some(stream),
        _ => None,
    }))
}

/// Joins all inputs to one stream of rows; records of other kinds become rows of their tables.
pub(super) fn rows<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    component: &Component,
) -> StreamVec<'scope, Tick, Rows> {
    scope.concatenate(inputs.into_iter().map(|input| match input {
        Edge::Csi(stream) => into_rows(stream, component),
        Edge::Pose(stream) => into_rows(stream, component),
        Edge::Presence(stream) => into_rows(stream, component),
        Edge::Occupancy(stream) => into_rows(stream, component),
        Edge::Activity(stream) => into_rows(stream, component),
        Edge::Event(stream) => into_rows(stream, component),
        Edge::Rows(stream) => stream,
    }))
}

//! Edges: a stream of one of the record types.

use operators::{Component, into_records, into_rows};
use schemas::{CsiBatch, PoseFrame, Record, Rows, Tick, record_kinds};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::{Scope, StreamVec};

macro_rules! define_edges {
    ($(
        $(#[$doc:meta])*
        $kind:ident($record:ty) => $($names:literal),*;
    )*) => {
        /// A typed stream.
        #[derive(Clone)]
        pub(super) enum Edge<'scope> {
            $($kind(StreamVec<'scope, Tick, $record>),)*
            Rows(StreamVec<'scope, Tick, Rows>),
        }

        impl<'scope> Edge<'scope> {
            /// Converts the stream to records of any type, for sinks.
            pub(super) fn into_records(self) -> StreamVec<'scope, Tick, Record> {
                match self {
                    $(Self::$kind(stream) => into_records(stream),)*
                    Self::Rows(stream) => into_records(stream),
                }
            }

            /// Converts the records to rows of their tables.
            fn into_rows(self, component: &Component) -> StreamVec<'scope, Tick, Rows> {
                match self {
                    $(Self::$kind(stream) => into_rows(stream, component),)*
                    Self::Rows(stream) => stream,
                }
            }
        }
    };
}

record_kinds!(define_edges);

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
    scope.concatenate(inputs.into_iter().map(|input| input.into_rows(component)))
}

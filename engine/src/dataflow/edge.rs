//! Edges: a stream of one of the record types.

use operators::{Component, into_records, into_rows};
use schemas::{CsiBatch, PoseFrame, Presence, Record, Rows, Tick, VideoFrame, record_kinds};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;
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
            Video(StreamVec<'scope, Tick, VideoFrame>),
        }

        impl<'scope> Edge<'scope> {
            /// Converts the stream to records of any type, for sinks.
            pub(super) fn into_records(self) -> StreamVec<'scope, Tick, Record> {
                match self {
                    $(Self::$kind(stream) => into_records(stream),)*
                    Self::Rows(stream) => into_records(stream),
                    Self::Video(stream) => into_records(stream),
                }
            }

            /// Converts the records to rows of their tables.
            fn into_rows(self, component: &Component) -> StreamVec<'scope, Tick, Rows> {
                match self {
                    $(Self::$kind(stream) => into_rows(stream, component),)*
                    Self::Rows(stream) => stream,
                    // The plan has refused pictures here.
                    Self::Video(stream) => stream.flat_map(|_| None),
                }
            }
        }
    };
}

record_kinds!(define_edges);

/// Joins all inputs to one stream of CSI.
pub(super) fn csi<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, CsiBatch> {
    join(scope, inputs, |input| if let Edge::Csi(stream) = input { Some(stream) } else { None })
}

/// Joins all inputs to one stream of motion and presence.
pub(super) fn presence<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, Presence> {
    join(
        scope,
        inputs,
        |input| if let Edge::Presence(stream) = input { Some(stream) } else { None },
    )
}

/// Joins all inputs to one stream of poses.
pub(super) fn pose<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, PoseFrame> {
    join(scope, inputs, |input| if let Edge::Pose(stream) = input { Some(stream) } else { None })
}

/// Joins all inputs to one stream of pictures.
pub(super) fn video<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
) -> StreamVec<'scope, Tick, VideoFrame> {
    join(scope, inputs, |input| if let Edge::Video(stream) = input { Some(stream) } else { None })
}

/// Joins the inputs of one type; the plan has checked the types.
fn join<'scope, R: 'static>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    of_type: impl Fn(Edge<'scope>) -> Option<StreamVec<'scope, Tick, R>>,
) -> StreamVec<'scope, Tick, R> {
    scope.concatenate(inputs.into_iter().filter_map(of_type).collect::<Vec<_>>())
}

/// Joins all inputs to one stream of rows; records of other kinds become rows of their tables.
pub(super) fn rows<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    component: &Component,
) -> StreamVec<'scope, Tick, Rows> {
    scope.concatenate(inputs.into_iter().map(|input| input.into_rows(component)))
}

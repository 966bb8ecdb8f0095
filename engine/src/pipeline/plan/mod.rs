//! The plan: a checked pipeline. Its names are resolved, its streams fit and have no cycle, and its
//! components do not use the same files or sockets.

mod clashes;
pub(in crate::pipeline) mod inputs;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use operators::OperatorConfig;
use schemas::{Granule, RecordKind, TickLength};
use sinks::SinkConfig;
use sources::SourceConfig;

use crate::pipeline::Component;
use crate::pipeline::parse::list;
use crate::{ApiConfig, CheckpointConfig, Diagnostic, Pipeline};

/// A checked pipeline.
///
/// - every input names a stream of an earlier source or operator
/// - every operator receives records of the kind that it accepts
/// - names are unique among all components
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// The length of a tick, in event time.
    pub tick_length: TickLength,
    /// Maximum lead of a source over the slowest sink in event time, in milliseconds.
    pub max_lead_ms: u64,
    /// Maximum size of the records of a partition that the slowest sink has not accepted, in mebibytes.
    pub max_in_flight_mib: NonZeroUsize,
    /// The settings of checkpoints.
    pub checkpoint: CheckpointConfig,
    /// The address of the API, if it is served.
    pub api: Option<ApiConfig>,
    /// The sources.
    pub sources: Vec<PlannedSource>,
    /// The operators, each after the operators that it reads.
    pub operators: Vec<PlannedOperator>,
    /// The sinks.
    pub sinks: Vec<PlannedSink>,
}

/// A source of a plan.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: SourceConfig,
}

/// An operator of a plan.
#[derive(Clone, Debug)]
pub struct PlannedOperator {
    /// Its name.
    pub name: String,
    /// The input streams.
    pub inputs: Vec<StreamName>,
    /// Its settings.
    pub config: OperatorConfig,
    /// The columns of the output rows; none if the operator sends other records.
    pub schema: Option<SchemaRef>,
}

/// A sink of a plan.
#[derive(Clone, Debug)]
pub struct PlannedSink {
    /// Its name.
    pub name: String,
    /// The input streams.
    pub inputs: Vec<StreamName>,
    /// Its settings.
    pub config: SinkConfig,
}

/// The name of a stream: a component and one of its ports, empty for the main one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    /// The component that sends the stream.
    pub component: String,
    /// The component's output port.
    pub port: String,
}

impl StreamName {
    fn new(component: &str, port: &str) -> Self {
        Self { component: component.to_owned(), port: port.to_owned() }
    }

    fn parse(text: &str) -> Self {
        let (component, port) = text.split_once('.').unwrap_or((text, ""));
        Self::new(component, port)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port.is_empty() {
            formatter.write_str(&self.component)
        } else {
            write!(formatter, "{}.{}", self.component, self.port)
        }
    }
}

/// Every stream of the pipeline, with the kind of its records.
type Streams = BTreeMap<StreamName, RecordKind>;

impl Plan {
    /// Checks a pipeline. Relative paths are relative to `directory`.
    pub(in crate::pipeline) fn new(
        pipeline: Pipeline,
        directory: &Path,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut diagnostics = duplicates(&pipeline);
        diagnostics.extend(pipeline.problems());
        if pipeline.sources.is_empty() {
            diagnostics
                .push(Diagnostic::new(0..0, "the pipeline has no source: expected [sources.NAME]"));
        }
        if pipeline.sinks.is_empty() {
            diagnostics
                .push(Diagnostic::new(0..0, "the pipeline has no sink: expected [sinks.NAME]"));
        }
        let streams = streams(&pipeline);
        for operator in &pipeline.operators {
            let takes = operator.config.input().map_or(Takes::Tables, Takes::Kind);
            check_inputs(&operator.name, takes, &operator.inputs, &streams, &mut diagnostics);
        }
        for sink in &pipeline.sinks {
            let takes = if sink.config.takes_pictures() { Takes::All } else { Takes::Tables };
            check_inputs(&sink.name, takes, &sink.inputs, &streams, &mut diagnostics);
        }
        diagnostics.extend(tables::diagnostics(&pipeline, &streams));
        diagnostics.extend(inputs::without_view(&pipeline, &streams));
        diagnostics.extend(inputs::without_pictures(&pipeline, &streams));
        diagnostics.extend(clashes::clashes(&pipeline, directory));
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        let operators = in_order(pipeline.operators)?;
        let columns = columns(&pipeline.sources, &operators, &streams)?;
        let operators = operators.into_iter().map(|Component { name, inputs, config, .. }| {
            let schema = columns.get(&StreamName::new(&name, "")).cloned();
            PlannedOperator { name, inputs: stream_names(&inputs), config, schema }
        });
        let sources = pipeline.sources.into_iter();
        let sinks = pipeline.sinks.into_iter();
        Ok(Self {
            name: pipeline.name,
            tick_length: pipeline.tick_length,
            max_lead_ms: pipeline.max_lead.as_ms(),
            max_in_flight_mib: pipeline.max_in_flight_mib,
            checkpoint: pipeline.checkpoint,
            api: pipeline.api,
            sources: sources
                .map(|Component { name, config, .. }| PlannedSource { name, config })
                .collect(),
            operators: operators.collect(),
            sinks: sinks
                .map(|Component { name, inputs, config, .. }| PlannedSink {
                    name,
                    inputs: stream_names(&inputs),
                    config,
                })
                .collect(),
        })
    }

    /// Returns the unit of checkpoints, a whole number of ticks.
    pub fn granule(&self) -> Granule {
        Granule::new(self.checkpoint.granule.as_ms(), self.tick_length)
    }

    /// Returns every component with the shape of its state, if it has state: sources, operators, sinks. The
    /// index of a component is its number in the dataflow.
    pub fn components(&self) -> Vec<(&str, Option<String>)> {
        let sources =
            self.sources.iter().map(|source| (&*source.name, Some(source.config.state_shape())));
        let operators =
            self.operators.iter().map(|operator| (&*operator.name, operator.config.state_shape()));
        let sinks = self.sinks.iter().map(|sink| (&*sink.name, sink.config.state_shape()));
        sources.chain(operators).chain(sinks).collect()
    }

    /// Returns the number of a component in the dataflow: its index in [`Plan::components`].
    pub(crate) fn number_of(&self, name: &str) -> u32 {
        let number = self.components().iter().position(|(component, _)| *component == name);
        number.expect("it is a component of the plan") as u32
    }

    /// Returns the sources that the inputs of an operator come from, directly or through other operators.
    pub(crate) fn sources_of(&self, operator: &str) -> BTreeSet<&str> {
        let planned = self.operators.iter().find(|planned| planned.name == operator);
        let inputs = planned.into_iter().flat_map(|planned| &planned.inputs);
        let of_input = |input: &StreamName| {
            let source = self.sources.iter().find(|source| source.name == input.component);
            match source {
                Some(source) => BTreeSet::from([source.name.as_str()]),
                None => self.sources_of(&input.component),
            }
        };
        inputs.flat_map(of_input).collect()
    }

    /// Returns the sources and operators none of whose streams is an input.
    pub fn unread(&self) -> Vec<&str> {
        let of_operators = self.operators.iter().flat_map(|operator| &operator.inputs);
        let of_sinks = self.sinks.iter().flat_map(|sink| &sink.inputs);
        let inputs = of_operators.chain(of_sinks).map(|input| input.component.as_str());
        let read: BTreeSet<_> = inputs.collect();
        let sources = self.sources.iter().map(|source| source.name.as_str());
        let operators = self.operators.iter().map(|operator| operator.name.as_str());
        sources.chain(operators).filter(|name| !read.contains(name)).collect()
    }

    /// Returns every stream of the plan with the kind of its records.
    pub fn streams(&self) -> BTreeMap<StreamName, RecordKind> {
        let sources = self.sources.iter().map(|source| (&source.name, source.config.outputs()));
        let operators =
            self.operators.iter().map(|operator| (&operator.name, operator.config.outputs()));
        named_outputs(sources.chain(operators))
    }
}

fn stream_names(inputs: &[(String, Range<usize>)]) -> Vec<StreamName> {
    inputs.iter().map(|(input, _)| StreamName::parse(input)).collect()
}

fn streams(pipeline: &Pipeline) -> Streams {
    let sources = pipeline.sources.iter().map(|source| (&source.name, source.config.outputs()));
    let operators = pipeline.operators.iter();
    let operators = operators.map(|operator| (&operator.name, operator.config.outputs()));
    named_outputs(sources.chain(operators))
}

fn named_outputs<'a>(
    components: impl Iterator<Item = (&'a String, &'static [(&'static str, RecordKind)])>,
) -> Streams {
    let streams = components.flat_map(|(name, outputs)| {
        outputs.iter().map(|(port, kind)| (StreamName::new(name, port), *kind))
    });
    streams.collect()
}

/// Reports components whose name is also the name of an earlier component.
fn duplicates(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let sources = pipeline.sources.iter().map(|source| (&source.name, &source.name_at));
    let operators = pipeline.operators.iter().map(|operator| (&operator.name, &operator.name_at));
    let sinks = pipeline.sinks.iter().map(|sink| (&sink.name, &sink.name_at));
    let mut seen = BTreeSet::new();
    let mut diagnostics = Vec::new();
    for (name, at) in sources.chain(operators).chain(sinks) {
        if !seen.insert(name) {
            let message = format!("the name \"{name}\" is taken by another component");
            diagnostics.push(Diagnostic::new(at.clone(), message));
        }
    }
    diagnostics
}

/// What a component takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// Records of one kind.
    Kind(RecordKind),
    /// All records that have a table: pictures have neither columns nor messages.
    Tables,
    /// All records.
    All,
}

impl Takes {
    fn fits(self, kind: RecordKind) -> bool {
        match self {
            Self::Kind(takes) => takes == kind,
            Self::Tables => kind != RecordKind::Video,
            Self::All => true,
        }
    }
}

fn check_inputs(
    name: &str,
    takes: Takes,
    inputs: &[(String, Range<usize>)],
    streams: &Streams,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let fits = |kind: RecordKind| takes.fits(kind);
    let fitting: Vec<_> = streams
        .iter()
        .filter(|(stream, kind)| fits(**kind) && stream.component != name)
        .map(|(stream, _)| stream.to_string())
        .collect();
    let fitting = || fitting.iter().map(String::as_str);
    let what_fits = || match fitting().count() {
        0 => "no stream of this pipeline would fit".to_owned(),
        _ => format!("what would fit: {}", list(fitting())),
    };
    let mut seen = BTreeSet::new();
    for (input, at) in inputs {
        if !seen.insert(input) {
            let message = format!("\"{name}\" takes \"{input}\" twice: name each input once");
            diagnostics.push(Diagnostic::new(at.clone(), message));
        }
        match streams.get(&StreamName::parse(input)) {
            None => {
                let message = format!("there is no stream \"{input}\"; {}", what_fits());
                diagnostics.push(Diagnostic::new(at.clone(), message).suggesting(input, fitting()));
            }
            Some(kind) if !fits(*kind) => {
                let message = match takes {
                    Takes::Kind(takes) => {
                        format!("\"{name}\" takes {takes}, but \"{input}\" gives {kind}")
                    }
                    _ => format!("\"{name}\" does not take {kind}, which \"{input}\" gives"),
                };
                diagnostics.push(Diagnostic::new(at.clone(), message).with_help(what_fits()));
            }
            Some(_) => {}
        }
    }
}

/// Sorts operators so that each is after its inputs (Kahn 1962). Reports operators in a cycle.
fn in_order(
    mut operators: Vec<Component<OperatorConfig>>,
) -> Result<Vec<Component<OperatorConfig>>, Vec<Diagnostic>> {
    let mut ordered = Vec::new();
    while !operators.is_empty() {
        let waits = |operator: &Component<OperatorConfig>| {
            let inputs = stream_names(&operator.inputs);
            let mut behind = inputs.iter();
            behind.any(|input| operators.iter().any(|other| other.name == input.component))
        };
        let Some(ready) = operators.iter().position(|operator| !waits(operator)) else {
            let names = list(operators.iter().map(|operator| operator.name.as_str()));
            let diagnostics = operators.iter().map(|operator| {
                let message = format!("\"{}\" is part of a cycle of {names}", operator.name);
                Diagnostic::new(operator.name_at.clone(), message)
            });
            return Err(diagnostics.collect());
        };
        ordered.push(operators.remove(ready));
    }
    Ok(ordered)
}

/// Returns the columns of each stream of rows.
fn columns(
    sources: &[Component<SourceConfig>],
    operators: &[Component<OperatorConfig>],
    streams: &Streams,
) -> Result<BTreeMap<StreamName, SchemaRef>, Vec<Diagnostic>> {
    let of_sources = sources.iter().flat_map(|source| {
        source.config.outputs().iter().filter_map(|(port, _)| {
            Some((StreamName::new(&source.name, port), source.config.schema(port)?))
        })
    });
    let mut columns: BTreeMap<_, _> = of_sources.collect();
    let mut diagnostics = Vec::new();
    for operator in operators {
        let OperatorConfig::Windows(config) = &operator.config else { continue };
        let inputs = stream_names(&operator.inputs);
        // A stream without columns is the output of an invalid operator, which is already reported.
        let of_stream = |name: &StreamName| match streams[name] {
            RecordKind::Rows => columns.get(name).cloned(),
            kind => Some(kind.arrow_schema()),
        };
        let Some(schemas) = inputs.iter().map(of_stream).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let Some(input) = schemas.first().cloned() else { continue };
        if let Some(nth) = schemas.iter().position(|schema| *schema != input) {
            let (name, input, first) = (&operator.name, &inputs[nth], &inputs[0]);
            let text =
                format!("operator \"{name}\": \"{input}\" has other columns than \"{first}\"");
            diagnostics.push(Diagnostic::new(operator.inputs[nth].1.clone(), text));
        }
        match config.schema(&input) {
            Ok(schema) => {
                columns.insert(StreamName::new(&operator.name, ""), schema);
                columns.insert(StreamName::new(&operator.name, "late"), input);
            }
            Err(error) => {
                diagnostics.extend(operator.diagnostics("operator", vec![error.to_string()]));
            }
        }
    }
    if diagnostics.is_empty() { Ok(columns) } else { Err(diagnostics) }
}

#[cfg(test)]
mod tests;

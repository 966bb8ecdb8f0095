//! A plan as a picture: text for people, DOT for Graphviz.

use std::fmt::Write as _;

use crate::{Plan, StreamName};

impl Plan {
    /// One line for each edge: from, what flows, to.
    pub fn graph_text(&self) -> String {
        let streams = self.streams();
        let mut text = String::new();
        for (from, to) in self.edges() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{from} --{}--> {to}", streams[from]);
        }
        text
    }

    /// The plan in Graphviz' DOT language.
    pub fn graph_dot(&self) -> String {
        let streams = self.streams();
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", self.name);
        let sources = self.sources.iter().map(|source| (&source.name, "house"));
        let operators = self.operators.iter().map(|operator| (&operator.name, "box"));
        let sinks = self.sinks.iter().map(|sink| (&sink.name, "cylinder"));
        for (name, shape) in sources.chain(operators).chain(sinks) {
            let _ = writeln!(text, "  \"{name}\" [shape={shape}];");
        }
        for (from, to) in self.edges() {
            let port =
                if from.port.is_empty() { String::new() } else { format!("{}: ", from.port) };
            let (from, kind) = (&from.component, streams[from]);
            let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{port}{kind}\"];");
        }
        text.push_str("}\n");
        text
    }

    fn edges(&self) -> impl Iterator<Item = (&StreamName, &str)> {
        let operators =
            self.operators.iter().map(|operator| (&operator.inputs, operator.name.as_str()));
        let sinks = self.sinks.iter().map(|sink| (&sink.inputs, sink.name.as_str()));
        operators.chain(sinks).flat_map(|(inputs, to)| inputs.iter().map(move |from| (from, to)))
    }
}

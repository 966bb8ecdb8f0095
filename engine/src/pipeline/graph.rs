//! Graphs of plans: drawn as text, in Graphviz' DOT language, and in Mermaid's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::{Plan, StreamName};

impl Plan {
    /// Draws the plan as trees, one for each source. A component with several inputs is drawn in full once.
    pub fn graph_text(&self) -> String {
        let mut tree = Tree { plan: self, drawn: BTreeSet::new(), text: String::new() };
        for source in &self.sources {
            let _ = writeln!(tree.text, "{}", source.name);
            tree.draw_consumers(&source.name, "");
        }
        tree.text
    }

    /// Returns the plan in Graphviz' DOT language.
    pub fn graph_dot(&self) -> String {
        let shapes = ["house", "box", "cylinder"];
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", self.name);
        for (name, role) in self.components_by_role() {
            let _ = writeln!(text, "  \"{name}\" [shape={}];", shapes[role as usize]);
        }
        for (from, to) in self.edges() {
            let (label, from) = (self.label(from), &from.component);
            let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{label}\"];");
        }
        text.push_str("}\n");
        text
    }

    /// Returns the plan in Mermaid's language, which Markdown viewers draw.
    pub fn graph_mermaid(&self) -> String {
        let shapes = [("[/", "/]"), ("[", "]"), ("[(", ")]")];
        let mut text = String::from("flowchart LR\n");
        for (name, role) in self.components_by_role() {
            let (open, close) = shapes[role as usize];
            let _ = writeln!(text, "  {}{open}\"{name}\"{close}", self.number_of(name));
        }
        for (from, to) in self.edges() {
            let (label, from) = (self.label(from), self.number_of(&from.component));
            let _ = writeln!(text, "  {from} -- \"{label}\" --> {}", self.number_of(to));
        }
        text
    }

    fn components_by_role(&self) -> impl Iterator<Item = (&str, Role)> {
        let sources = self.sources.iter().map(|source| (source.name.as_str(), Role::Source));
        let operators =
            self.operators.iter().map(|operator| (operator.name.as_str(), Role::Operator));
        let sinks = self.sinks.iter().map(|sink| (sink.name.as_str(), Role::Sink));
        sources.chain(operators).chain(sinks)
    }

    /// Returns the port and the kind of record of a stream.
    fn label(&self, stream: &StreamName) -> String {
        let kind = self.streams()[stream];
        if stream.port.is_empty() { kind.to_string() } else { format!("{}: {kind}", stream.port) }
    }

    fn edges(&self) -> impl Iterator<Item = (&StreamName, &str)> {
        let operators =
            self.operators.iter().map(|operator| (&operator.inputs, operator.name.as_str()));
        let sinks = self.sinks.iter().map(|sink| (&sink.inputs, sink.name.as_str()));
        operators.chain(sinks).flat_map(|(inputs, to)| inputs.iter().map(move |from| (from, to)))
    }
}

/// The role of a component in a plan.
#[derive(Clone, Copy)]
enum Role {
    Source,
    Operator,
    Sink,
}

/// A drawing of a plan.
struct Tree<'a> {
    plan: &'a Plan,
    /// Components whose consumers are drawn.
    drawn: BTreeSet<&'a str>,
    text: String,
}

impl<'a> Tree<'a> {
    /// Draws the consumers of a component, each line after `indent`.
    fn draw_consumers(&mut self, component: &'a str, indent: &str) {
        let plan = self.plan;
        let edges: Vec<_> = plan.edges().filter(|(from, _)| from.component == component).collect();
        if !edges.is_empty() && !self.drawn.insert(component) {
            let _ = writeln!(self.text, "{indent}└─ (see above)");
            return;
        }
        for (nth, (from, to)) in edges.iter().enumerate() {
            let is_last = nth + 1 == edges.len();
            let (branch, below) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
            let _ = writeln!(self.text, "{indent}{branch} {} → {to}", plan.label(from));
            self.draw_consumers(to, &format!("{indent}{below}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan() -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/demo.toml");
        Plan::load(&path).expect("the example is valid")
    }

    #[test]
    fn a_component_is_drawn_in_full_once() {
        let text = plan().graph_text();
        assert!(text.starts_with("room\n├─ csi → pose\n│  └─ pose → people\n"), "{text}");
        assert_eq!(text.matches("→ people").count(), 1, "{text}");
    }

    #[test]
    fn mermaid_has_every_component_and_edge() {
        let (plan, text) = (plan(), plan().graph_mermaid());
        assert_eq!(
            text.lines().filter(|line| line.contains(" --> ")).count(),
            plan.edges().count()
        );
        assert!(text.contains("[/\"room\"/]") && text.contains("[(\"history\")]"), "{text}");
    }
}

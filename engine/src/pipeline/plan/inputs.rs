//! Checks of inputs: files that do not exist, streams that a live view cannot show, and overlays without pictures.

use std::path::Path;

use operators::OperatorConfig;
use schemas::RecordKind;
use sinks::SinkConfig;

use crate::pipeline::Component;
use crate::pipeline::plan::{StreamName, Streams};
use crate::{Diagnostic, Pipeline};

/// Reports scenes, models, captures and recordings that do not exist. Relative paths are relative to
/// `directory`.
pub(in crate::pipeline) fn missing_files(pipeline: &Pipeline, directory: &Path) -> Vec<Diagnostic> {
    let sources = pipeline.sources.iter().filter_map(|source| {
        let (setting, path) = source.config.input_file()?;
        source.missing(setting, path, directory)
    });
    let operators = pipeline.operators.iter().filter_map(|operator| match &operator.config {
        OperatorConfig::Infer(config) => operator.missing("model", &config.model, directory),
        _ => None,
    });
    sources.chain(operators).collect()
}

impl<C> Component<C> {
    fn missing(&self, setting: &str, path: &Path, directory: &Path) -> Option<Diagnostic> {
        if directory.join(path).exists() {
            return None;
        }
        let at = self.at(setting);
        let message = format!("\"{}\": {setting} {} not found", self.name, path.display());
        let help = format!("relative paths are relative to {}", directory.display());
        Some(Diagnostic::new(at, message).with_help(help))
    }
}

/// Reports CSI streams among the inputs of a `live` sink: no view shows CSI.
pub(super) fn without_view(pipeline: &Pipeline, streams: &Streams) -> Vec<Diagnostic> {
    let live = pipeline.sinks.iter().filter(|sink| matches!(sink.config, SinkConfig::Live(_)));
    let inputs = live.flat_map(|sink| sink.inputs.iter().map(move |input| (&sink.name, input)));
    let csi = inputs
        .filter(|(_, (input, _))| streams.get(&StreamName::parse(input)) == Some(&RecordKind::Csi));
    let diagnostics = csi.map(|(sink, (input, at))| {
        let message = format!("\"{sink}\" cannot show \"{input}\": no live view shows csi");
        let help = "use the output of `motion` or `infer`, or see the frames with `fresnel tap`";
        Diagnostic::new(at.clone(), message).with_help(help)
    });
    diagnostics.collect()
}

/// Reports `video_overlay` sinks without pictures among their inputs: they would write nothing.
pub(super) fn without_pictures(pipeline: &Pipeline, streams: &Streams) -> Vec<Diagnostic> {
    let is_video = |input: &str| streams.get(&StreamName::parse(input)) == Some(&RecordKind::Video);
    let overlays = pipeline.sinks.iter().filter(|sink| {
        matches!(sink.config, SinkConfig::VideoOverlay(_))
            && !sink.inputs.iter().any(|(input, _)| is_video(input))
    });
    let diagnostics = overlays.map(|sink| {
        let message = format!("sink \"{}\" has no pictures among its inputs", sink.name);
        let help = "add the `video` source whose people it draws";
        Diagnostic::new(sink.name_at.clone(), message).with_help(help)
    });
    diagnostics.collect()
}

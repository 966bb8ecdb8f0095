//! The interface between the settings of a source and the engine.

use std::path::Path;

use arrow::datatypes::SchemaRef;
use schemas::RecordKind;

use crate::{CsiFormat, Decoder, Partition, SourceContext, SourceError, Transport};

/// Output ports with the kind of their records. The name of the main port is empty.
pub(crate) type Outputs = &'static [(&'static str, RecordKind)];

/// The properties of a source that follow from its settings, and its opening.
pub(crate) trait SourceSettings {
    /// Returns the output ports.
    fn outputs(&self) -> Outputs;

    /// Returns the columns of the main output, if it has rows.
    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    fn problems(&self) -> Vec<String>;

    /// Returns the shape of the position, which depends on the source's content.
    fn state_shape(&self) -> String;

    /// Returns the transport of the source's bytes; none for a simulation.
    fn transport(&self) -> Option<&Transport>;

    /// Returns a decoder of the source's bytes; none for a simulation.
    fn decoder(&self) -> Option<Box<dyn Decoder>>;

    /// Returns the format of CSI.
    fn format(&self) -> Option<CsiFormat> {
        None
    }

    /// Returns the file or folder that the source reads, which must exist, with the setting that names it.
    fn input_file(&self) -> Option<(&'static str, &Path)> {
        match self.transport()? {
            Transport::File(path) | Transport::Journal(path) => Some(("transport", path)),
            _ => None,
        }
    }

    /// Returns the origin of the records, for messages.
    fn origin(&self) -> String {
        self.transport().map(ToString::to_string).unwrap_or_default()
    }

    /// Opens the partitions of the source that are in `context`'s share.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if a file cannot be read or an address cannot be bound.
    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError>;
}

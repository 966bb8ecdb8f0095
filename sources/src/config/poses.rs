//! The `poses` source.

use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::config::checks::problems_in_time;
use crate::config::settings::{Outputs, SourceSettings};
use crate::config::{default_idle_timeout, default_max_ahead};
use crate::formats::poses::{AvroPoses, JsonPoses, PoseFormat};
use crate::partitions::ingress::Ingress;
use crate::{Clock, Decoder, LinkNames, Partition, SourceContext, SourceError, Speed, Transport};

/// Settings of the `poses` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PosesConfig {
    /// The transport of pose frames, as lines or messages that the `kafka` and `json_lines` sinks write.
    pub transport: Transport,
    /// The encoding: "json" (default), or `{ avro = { registry = "http://host:8081" } }`.
    #[serde(default)]
    pub format: PoseFormat,
    /// How far frames may be out of order without being late; "0s" by default.
    #[serde(default)]
    pub max_delay: TimeSpan,
    /// How far a record's time may be ahead of its arrival, or of the opening of its file;
    /// "1m" by default. A record that is further ahead is an error, and the clock does not follow it.
    #[serde(default = "default_max_ahead")]
    pub max_ahead: TimeSpan,
    /// Time without a message after which a partition of a topic, or a socket, is idle; "30s" by
    /// default. The clock of an idle partition follows the wall clock at this distance, so it does not
    /// delay the watermark.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: TimeSpan,
    /// Speed of reading a file: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
}

impl PosesConfig {
    fn problem_of_transport(&self) -> Option<String> {
        let problem = self.transport.is_stream() && self.registry().is_some();
        problem.then(|| "transport: avro comes in messages, so not in a stream of bytes".to_owned())
    }

    fn registry(&self) -> Option<&str> {
        match &self.format {
            PoseFormat::Json => None,
            PoseFormat::Avro { registry } => Some(registry),
        }
    }

    fn new_decoder(&self) -> Box<dyn Decoder> {
        match self.format {
            PoseFormat::Json => Box::new(JsonPoses),
            PoseFormat::Avro { .. } => Box::<AvroPoses>::default(),
        }
    }
}

impl SourceSettings for PosesConfig {
    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose), ("errors", RecordKind::Rows)]
    }

    fn problems(&self) -> Vec<String> {
        let common = problems_in_time(self.max_delay, self.idle_timeout, self.speed);
        self.problem_of_transport().into_iter().chain(common).collect()
    }

    fn state_shape(&self) -> String {
        self.transport.state_shape("poses")
    }

    fn transport(&self) -> Option<&Transport> {
        Some(&self.transport)
    }

    fn decoder(&self) -> Option<Box<dyn Decoder>> {
        Some(self.new_decoder())
    }

    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        self.transport.open(&Ingress {
            context,
            by_sender: false,
            names: LinkNames::default(),
            schema: None,
            speed: self.speed,
            clock: Some(Clock::Device),
            max_delay: self.max_delay,
            max_ahead: self.max_ahead,
            calendar: true,
            idle_timeout: self.idle_timeout,
            registry: self.registry(),
            decoder: &|| self.new_decoder(),
        })
    }
}

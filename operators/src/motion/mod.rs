//! Motion on a link: the moments of its amplitudes over a moving window.
//!
//! A chain of kernels: amplitudes relative to their mean, which the receiver's gain does not change; a Hampel
//! filter against outliers; then two moments of a moving window. The correlation of neighbouring frames is near
//! 0 for the noise of any receiver, and high while a body moves. The variance also shows motion where frames are
//! too rare to correlate; its threshold is calibrated, and follows slow changes of the room. "Still" is not
//! "absent": while nobody moves, the spectrum of slow changes shows whether somebody breathes, or nothing moves.

mod breathing;
mod calibration;
mod detector;
mod moments;
mod recalibration;

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use schemas::{CsiBatch, Link, Presence, RecordKind, Tick, TimeSpan};
use serde::Deserialize;
use timely::dataflow::StreamVec;

use crate::Context;
use crate::keyed::{DAY_MS, StateLimits};
use crate::motion::detector::{Buffers, LinkState};
use crate::motion::recalibration::{FramesOrRequest, with_requests};
use crate::settings::{DAY, Outputs, SHORTEST, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};

pub use crate::motion::breathing::{Breathing, Vitals, find_breathing};
pub use crate::motion::detector::MotionDetector;
pub use crate::motion::moments::{ColumnSums, Moments, moments};
pub use crate::motion::recalibration::Recalibration;

/// The longest moving window in frames: minutes, at any rate of radios.
const MAX_WINDOW_FRAMES: usize = 100_000;

/// How amplitudes are freed from the receiver's gain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainCompensation {
    /// Relative to their quadratic mean in the frame: right for every receiver.
    #[default]
    Relative,
    /// By the gain that the receiver reports: also shows changes of the whole channel.
    Reported,
}

/// Settings of the `motion` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// Frames in the moving window, at most 100000; 75 by default.
    pub window_frames: NonZeroUsize,
    /// Positions of the subcarriers to use, from 0, two or more; by default 12 evenly spaced ones of those with a signal.
    pub subcarriers: Vec<usize>,
    /// Length of the calibration, at most 3000 frames; "3s" by default. It ends once nobody has moved for this
    /// time; until then, motion is unknown.
    pub calibration: TimeSpan,
    /// Longest time that motion is unknown because it was never quiet enough for the calibration; "1min" by
    /// default. After that, the correlation of frames alone decides, until the calibration ends.
    pub calibration_timeout: TimeSpan,
    /// A known threshold of the variance of amplitudes, which are relative to their mean: at most 1, and usually
    /// about 0.001. Without it, the operator calibrates one. Motion with a high correlation is detected below it.
    pub threshold: Option<f32>,
    /// Time between reports of a link without a change of motion; "1s" by default.
    pub report_every: TimeSpan,
    /// Time for which motion is reported after its last evidence; "1s" by default.
    pub hold: TimeSpan,
    /// How amplitudes are freed from the receiver's gain: "relative" to their mean in the frame (default), or as
    /// "reported" by the receiver, in the column `scale`. The latter also shows changes of the whole channel, and
    /// needs a format with gains: Intel 5300, or ESP32 with columns of gain.
    pub gain: GainCompensation,
    /// Detects breathing while nobody moves, so that a person who sits still is present; false by
    /// default. A link needs 10 frames a second, and 30 s without motion.
    pub breathing: bool,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self {
            window_frames: NonZeroUsize::new(75).expect("75 is not zero"),
            subcarriers: Vec::new(),
            calibration: TimeSpan::from_s(3),
            calibration_timeout: TimeSpan::from_s(60),
            threshold: None,
            report_every: TimeSpan::from_s(1),
            hold: TimeSpan::from_s(1),
            gain: GainCompensation::Relative,
            breathing: false,
        }
    }
}

impl Settings for MotionConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Presence)]
    }

    fn problems(&self) -> Vec<String> {
        let is_alone = self.subcarriers.len() == 1 && self.gain == GainCompensation::Relative;
        let alone = "subcarriers must be two or more: amplitudes are relative to their mean";
        let alone = is_alone.then(|| alone.to_owned());
        let window = outside("window_frames", self.window_frames.get(), &(1..=MAX_WINDOW_FRAMES));
        let threshold = self.threshold.and_then(|it| outside("threshold", it, &(0.0..=1.0)));
        let calibration = outside("calibration", self.calibration, &(SHORTEST..=DAY));
        let timeout =
            outside("calibration_timeout", self.calibration_timeout, &(TimeSpan::ZERO..=DAY));
        let report_every = outside("report_every", self.report_every, &(TimeSpan::ZERO..=DAY));
        let hold = outside("hold", self.hold, &(TimeSpan::ZERO..=DAY));
        [alone, window, threshold, calibration, timeout, report_every, hold]
            .into_iter()
            .flatten()
            .collect()
    }

    fn state_shape(&self) -> Option<String> {
        let breathing = if self.breathing { ", breathing" } else { "" };
        Some(format!("motion 5, {} frames{breathing}", self.window_frames))
    }
}

/// Motion detection on streams of CSI.
pub trait DetectMotion<'scope> {
    /// Reports motion on each link, at every change and regularly.
    ///
    /// Motion is "unknown" until the window is full and the threshold is known. State: the window of each
    /// link, on the worker that the link hashes to. A link without frames for a day expires, and is
    /// calibrated again. `requests` calibrate links again at once.
    ///
    /// ```
    /// use num_complex::Complex32;
    /// use operators::{Context, DetectMotion, MotionConfig, Recalibration};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, Motion, SourceKind};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..CsiLayout::default() };
    /// let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Live);
    /// // The second subcarrier is steady at first, and then fades in.
    /// let amplitudes = [10.0, 10.1].repeat(10).into_iter().chain((0..20).map(|nth| 10.0 + nth as f32));
    /// for (nth, amplitude) in amplitudes.enumerate() {
    ///     batch.iq.extend([Complex32::new(10.0, 0.0), Complex32::new(amplitude, 0.0)]);
    ///     let captured_at_ns = nth as i64 * 10_000_000;
    ///     batch.push_scalars(CsiFrame { captured_at_ns, ..CsiFrame::default() })?;
    /// }
    /// let config: MotionConfig = serde_json::from_str(r#"{ "window_frames": 10, "threshold": 0.001 }"#)?;
    /// let (to, found) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![batch].to_stream(scope).container::<Vec<_>>();
    ///     let requests = Vec::<Recalibration>::new().to_stream(scope).container::<Vec<_>>();
    ///     let reports = frames.detect_motion(requests, config, Context::detached("motion"));
    ///     reports.inspect(move |report| to.send(report.motion).unwrap());
    /// });
    /// let found: Vec<_> = found.iter().collect();
    /// assert_eq!(found, [Motion::Unknown, Motion::Still, Motion::Moving]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn detect_motion(
        self,
        requests: StreamVec<'scope, Tick, Recalibration>,
        config: MotionConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Presence>;
}

impl<'scope> DetectMotion<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn detect_motion(
        self,
        requests: StreamVec<'scope, Tick, Recalibration>,
        config: MotionConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Presence> {
        let inputs = with_requests(self, requests);
        stateful(inputs, &context, DetectsMotion { config, buffers: Buffers::default() })
    }
}

struct DetectsMotion {
    config: MotionConfig,
    buffers: Buffers,
}

impl Stateful for DetectsMotion {
    type Input = FramesOrRequest;
    type Output = Presence;
    type Key = Link;
    type State = LinkState;

    /// Transmitters use random addresses, so links appear and disappear. A calibration survives a night.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(DAY_MS), max_keys_per_group: 128 };

    fn route(input: &FramesOrRequest) -> u64 {
        input.route()
    }

    fn on_tick(&mut self, _tick: Tick, inputs: Vec<FramesOrRequest>, work: &mut Work<'_, Self>) {
        let Self { config, buffers } = self;
        for input in inputs {
            match input {
                FramesOrRequest::Frames(batch) => {
                    let state = work.state.change(&batch.link, || LinkState::new(config));
                    state.observe(&batch, config, buffers, work.outputs);
                }
                FramesOrRequest::Request { group, link: name } => {
                    let known = work.state.iter_group(group as u64).map(|(link, _)| link);
                    let named =
                        known.filter(|it| name.as_ref().is_none_or(|name| *name == it.name()));
                    for link in named.cloned().collect::<Vec<_>>() {
                        work.state.change(&link, || LinkState::new(config)).calibrate_again();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::{frame, nothing, remember};

    #[test]
    fn made_up_transmitters_are_forgotten() {
        const N_TICKS: u64 = 60;
        const N_MADE_UP: u64 = 500;
        let of_tick = |nth: u64| {
            let made_up = (0..N_MADE_UP).map(|mth| format!("{:012x}", nth * N_MADE_UP + mth));
            let frames = made_up.chain(["ap".to_owned()]).map(|name| frame(&name, 0));
            (nth * 100, frames.collect::<Vec<_>>())
        };
        let mut inputs: Vec<_> = (0..N_TICKS).map(of_tick).collect();
        inputs.push((2 * DAY_MS, vec![frame("ap", 0)]));
        let found = remember(inputs, |frames, context| {
            let requests = nothing(frames.scope());
            frames.detect_motion(requests, MotionConfig::default(), context)
        });
        let max_keys = DetectsMotion::LIMITS.max_keys_per_group * N_KEY_GROUPS;
        assert!(found.most_keys <= max_keys, "{} links are saved", found.most_keys);
        assert!(found.dropped["too many keys"] > 10_000, "{:?}", found.dropped);
        // The steady link is not among the dropped ones, except after the idle period at the end.
        assert_eq!(found.dropped.values().sum::<u64>(), N_TICKS * N_MADE_UP + 1);
        assert_eq!(found.n_keys, 1);
    }
}

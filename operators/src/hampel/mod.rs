//! Outliers of amplitudes: the Hampel filter on each link.
//!
//! Interference and steps of the receiver's gain make single frames that have nothing to do with the room.

mod filter;

use num_complex::Complex32;
use schemars::JsonSchema;
use schemas::{CsiBatch, Link, RecordKind, Tick};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::Context;
use crate::StateKey;
use crate::keyed::{HOUR_MS, StateLimits};
use crate::settings::{Outputs, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};

pub use crate::hampel::filter::{Hampel, without_outlier};

/// Settings of the `hampel` operator.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HampelConfig {
    /// Frames that an amplitude is compared with, itself included: from 3 to 31; 9 by default.
    pub frames: usize,
    /// Standard deviations from their median beyond which an amplitude is an outlier; 4 by default.
    pub sigmas: f32,
}

impl Default for HampelConfig {
    fn default() -> Self {
        Self { frames: 9, sigmas: 4.0 }
    }
}

impl Settings for HampelConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Csi)]
    }

    fn problems(&self) -> Vec<String> {
        let frames = outside("frames", self.frames, &(3..=filter::MAX_LENGTH));
        let sigmas = outside("sigmas", self.sigmas, &(0.0..=1000.0));
        frames.into_iter().chain(sigmas).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("hampel 1, {} frames", self.frames))
    }
}

/// The Hampel filter on streams of CSI.
pub trait RemoveOutliers<'scope> {
    /// Replaces outliers among the amplitudes of each value by the median of the value's recent amplitudes.
    ///
    /// Phases stay. Frames are not delayed. State: the last few frames of each link, on the worker that the
    /// link hashes to. A link without frames for an hour, or with frames of another layout, starts again.
    ///
    /// ```
    /// use num_complex::Complex32;
    /// use operators::{Context, HampelConfig, RemoveOutliers};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![1], ..CsiLayout::default() };
    /// let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Live);
    /// for amplitude in [10.0, 10.1, 9.9, 10.0, 500.0, 10.1] {
    ///     batch.iq.push(Complex32::new(0.0, amplitude));
    ///     batch.push_scalars(CsiFrame::default())?;
    /// }
    /// let (to, filtered) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![batch].to_stream(scope).container::<Vec<_>>();
    ///     let filtered = frames.remove_outliers(HampelConfig::default(), Context::detached("hampel"));
    ///     filtered.inspect(move |batch| to.send(batch.clone()).unwrap());
    /// });
    /// let amplitudes: Vec<_> = filtered.iter().flat_map(|batch| batch.iq).map(|value| value.im).collect();
    /// assert_eq!(amplitudes, [10.0, 10.1, 9.9, 10.0, 10.0, 10.1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn remove_outliers(self, config: HampelConfig, context: Context<'scope>) -> Self;
}

impl<'scope> RemoveOutliers<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn remove_outliers(self, config: HampelConfig, context: Context<'scope>) -> Self {
        stateful(self, &context, RemovesOutliers { config, amplitudes: Vec::new() })
    }
}

struct RemovesOutliers {
    config: HampelConfig,
    /// A buffer for the amplitudes of a frame.
    amplitudes: Vec<f32>,
}

/// The state of a link.
#[derive(Debug, Serialize, Deserialize)]
struct LinkFilter {
    n_values: usize,
    hampel: Hampel,
}

impl Stateful for RemovesOutliers {
    type Input = CsiBatch;
    type Output = CsiBatch;
    type Key = Link;
    type State = LinkFilter;

    /// Transmitters use random addresses, so links appear and disappear. Only a few frames matter.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(HOUR_MS), max_keys_per_group: 128 };

    fn route(batch: &CsiBatch) -> u64 {
        batch.link.route()
    }

    fn on_tick(&mut self, _tick: Tick, batches: Vec<CsiBatch>, work: &mut Work<'_, Self>) {
        let HampelConfig { frames, sigmas } = self.config;
        for mut batch in batches {
            let n_values = batch.layout.n_values();
            let new = || LinkFilter { n_values, hampel: Hampel::new(frames, sigmas) };
            let state = work.state.change(&batch.link, new);
            if state.n_values != n_values {
                *state = new();
            }
            for values in batch.iq.chunks_exact_mut(n_values.max(1)) {
                filter(values, &mut state.hampel, &mut self.amplitudes);
            }
            work.outputs.push(batch);
        }
    }
}

/// Replaces the outliers of a frame; `amplitudes` is a buffer.
fn filter(values: &mut [Complex32], hampel: &mut Hampel, amplitudes: &mut Vec<f32>) {
    amplitudes.clear();
    amplitudes.extend(values.iter().map(|value| value.norm()));
    hampel.filter(amplitudes);
    for (value, amplitude) in values.iter_mut().zip(amplitudes) {
        let before = value.norm();
        // Most values are no outliers, and stay as they are to the bit.
        if before != *amplitude && before.is_normal() {
            *value *= *amplitude / before;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{CsiFrame, CsiLayout, SourceKind};

    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::remember;

    fn batch(transmitter: &str, amplitudes: &[f32]) -> CsiBatch {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![1], ..CsiLayout::default() };
        let link = Link { transmitter: transmitter.to_owned(), ..Link::default() };
        let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Simulated);
        for amplitude in amplitudes {
            batch.iq.push(Complex32::from_polar(*amplitude, 0.3));
            batch.push_scalars(CsiFrame::default()).expect("the frame is full");
        }
        batch
    }

    #[test]
    fn phases_and_other_values_stay() {
        let mut frames = batch("ap", &[1.0, 1.1, 0.9, 1.0, 30.0, 1.1, 0.0, f32::NAN, 1.0]);
        let expected = batch("ap", &[1.0, 1.1, 0.9, 1.0, 1.0, 1.1, 0.0, f32::NAN, 1.0]);
        let mut hampel = Hampel::new(9, 4.0);
        for values in frames.iq.chunks_exact_mut(1) {
            filter(values, &mut hampel, &mut Vec::new());
        }
        for (value, expected) in frames.iq.iter().zip(&expected.iq) {
            assert!(
                (value - expected).norm() < 1e-6 || expected.norm().is_nan(),
                "{value} {expected}"
            );
        }
    }

    #[test]
    fn made_up_transmitters_are_forgotten() {
        let of_tick = |nth: u64| {
            let names = (0..500).map(|mth| format!("{:012x}", nth * 500 + mth));
            (nth * 100, names.map(|name| batch(&name, &[1.0])).collect::<Vec<_>>())
        };
        let inputs: Vec<_> = (0..60).map(of_tick).collect();
        let found = remember(inputs, |frames, context| {
            frames.remove_outliers(HampelConfig::default(), context)
        });
        let max_keys = RemovesOutliers::LIMITS.max_keys_per_group * N_KEY_GROUPS;
        assert!(found.most_keys <= max_keys, "{} links are saved", found.most_keys);
    }
}

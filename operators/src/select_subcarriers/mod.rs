//! Subcarriers: only those that are strong and steady.
//!
//! Some subcarriers of a link are weak or disturbed. Without them, captures are smaller, and operators that follow
//! are not misled by them. Steady subcarriers are less sensitive too: fewer of them show less motion.

mod nbvi;

use std::sync::Arc;

use schemars::JsonSchema;
use schemas::{CsiBatch, CsiLayout, Link, RecordKind, Tick};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::keyed::{DAY_MS, StateLimits};
use crate::select_subcarriers::nbvi::subcarrier_amplitudes;
use crate::settings::{Outputs, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Context, CountDropped, StateKey};

pub use crate::select_subcarriers::nbvi::ColumnStatistics;

/// The most subcarriers of any layout that is known.
const MAX_SUBCARRIERS: usize = 4096;
const MAX_FRAMES: u32 = 100_000;
/// The most layouts of a link that are kept, the most recently seen ones.
const MAX_LAYOUTS: usize = 16;

/// Settings of the `select_subcarriers` operator.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectSubcarriersConfig {
    /// Number of subcarriers to keep, from 2 to 4096; 24 by default. `motion` needs no selection: it chooses
    /// subcarriers with a signal itself, and detects less motion on few that are steady.
    pub count: usize,
    /// Frames that the selection is made from, from 2 to 100000; 300 by default. They are dropped, and nobody should
    /// move meanwhile.
    pub frames: u32,
}

impl Default for SelectSubcarriersConfig {
    fn default() -> Self {
        Self { count: 24, frames: 300 }
    }
}

impl Settings for SelectSubcarriersConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Csi)]
    }

    fn problems(&self) -> Vec<String> {
        let count = outside("count", self.count, &(2..=MAX_SUBCARRIERS));
        let frames = outside("frames", self.frames, &(2..=MAX_FRAMES));
        count.into_iter().chain(frames).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("select_subcarriers 1, {} of {} frames", self.count, self.frames))
    }
}

/// Selection of subcarriers on streams of CSI.
pub trait SelectSubcarriers<'scope> {
    /// Keeps the steadiest of the strong subcarriers of each link and layout.
    ///
    /// The frames that the selection is made from are dropped and counted. State: the selection of each link, on
    /// the worker that the link hashes to. A link without frames for a day expires, and starts again.
    ///
    /// ```
    /// use num_complex::Complex32;
    /// use operators::{Context, SelectSubcarriers, SelectSubcarriersConfig};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-2, -1, 1, 2], ..CsiLayout::default() };
    /// let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Live);
    /// for disturbed in [10.0, 14.0, 6.0, 10.0, 14.0, 6.0] {
    ///     batch.iq.extend([disturbed, 10.0, 0.1, 10.1].map(Complex32::from));
    ///     batch.push_scalars(CsiFrame::default())?;
    /// }
    /// let config = SelectSubcarriersConfig { count: 2, frames: 4 };
    /// let (to, selected) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![batch].to_stream(scope).container::<Vec<_>>();
    ///     let selected = frames.select_subcarriers(config, Context::detached("select"));
    ///     selected.inspect(move |batch| to.send(batch.clone()).unwrap());
    /// });
    /// let selected: Vec<_> = selected.iter().collect();
    /// assert_eq!(selected[0].layout.subcarriers, [-1, 2]);
    /// assert_eq!(selected[0].len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn select_subcarriers(self, config: SelectSubcarriersConfig, context: Context<'scope>) -> Self;
}

impl<'scope> SelectSubcarriers<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn select_subcarriers(self, config: SelectSubcarriersConfig, context: Context<'scope>) -> Self {
        let dropped = CountDropped::clone(&context.component.dropped);
        stateful(self, &context, SelectsSubcarriers { config, dropped, amplitudes: Vec::new() })
    }
}

struct SelectsSubcarriers {
    config: SelectSubcarriersConfig,
    dropped: CountDropped,
    /// A buffer for the amplitudes of a frame.
    amplitudes: Vec<f32>,
}

/// The selections of a link, one for each layout; the most recently seen layout is the last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LinkSelections {
    by_layout: Vec<Selection>,
}

/// The selection for one layout.
#[derive(Debug, Serialize, Deserialize)]
struct Selection {
    layout: Arc<CsiLayout>,
    statistics: ColumnStatistics,
    selected: Option<Selected>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Selected {
    /// Positions of the subcarriers in the original layout.
    positions: Vec<usize>,
    layout: Arc<CsiLayout>,
}

impl LinkSelections {
    fn of_layout(&mut self, layout: &Arc<CsiLayout>) -> &mut Selection {
        let known = self.by_layout.iter().position(|selection| selection.layout == *layout);
        let selection = known.map(|at| self.by_layout.remove(at));
        if self.by_layout.len() == MAX_LAYOUTS {
            self.by_layout.remove(0);
        }
        let new = || Selection {
            layout: Arc::clone(layout),
            statistics: ColumnStatistics::default(),
            selected: None,
        };
        self.by_layout.push(selection.unwrap_or_else(new));
        self.by_layout.last_mut().expect("it was pushed")
    }
}

impl Selection {
    /// Returns the frames after the selection, with the selected subcarriers.
    fn apply(
        &mut self,
        batch: &CsiBatch,
        config: SelectSubcarriersConfig,
        amplitudes: &mut Vec<f32>,
    ) -> Option<CsiBatch> {
        let n_observed = self.observe(batch, config, amplitudes);
        let selected = self.selected.as_ref().filter(|_| n_observed < batch.len())?;
        Some(selected.take(batch, n_observed))
    }

    /// Adds frames until there are enough of them. Returns their number.
    fn observe(
        &mut self,
        batch: &CsiBatch,
        config: SelectSubcarriersConfig,
        amplitudes: &mut Vec<f32>,
    ) -> usize {
        let mut frames = 0..batch.len();
        while self.selected.is_none() {
            let Some(frame_idx) = frames.next() else { break };
            subcarrier_amplitudes(
                batch.values(frame_idx),
                batch.layout.subcarriers.len(),
                amplitudes,
            );
            // A frame without a signal says nothing about the subcarriers.
            if amplitudes.iter().any(|amplitude| *amplitude > 0.0) {
                self.statistics.add(amplitudes);
            }
            if self.statistics.n_rows() >= config.frames {
                self.selected =
                    Some(Selected::new(&batch.layout, self.statistics.best(config.count)));
                self.statistics = ColumnStatistics::default();
            }
        }
        frames.start
    }
}

impl Selected {
    fn new(layout: &CsiLayout, positions: Vec<usize>) -> Self {
        let subcarriers = positions.iter().map(|at| layout.subcarriers[*at]).collect();
        Self { positions, layout: Arc::new(CsiLayout { subcarriers, ..layout.clone() }) }
    }

    /// Returns the frames of a batch from one on, with the selected subcarriers.
    fn take(&self, batch: &CsiBatch, from: usize) -> CsiBatch {
        let layout = Arc::clone(&self.layout);
        let selected = CsiBatch::new(batch.link.clone(), layout, batch.source_kind);
        let mut selected = selected.behind(batch.n_before + from as u64);
        selected.reserve(batch.len() - from);
        let n_subcarriers = batch.layout.subcarriers.len();
        for frame_idx in from..batch.len() {
            for antenna in batch.values(frame_idx).chunks_exact(n_subcarriers) {
                selected.iq.extend(self.positions.iter().map(|at| antenna[*at]));
            }
            let scalars = batch.frame(frame_idx);
            selected.push_scalars(scalars).expect("the frame has the selected subcarriers");
        }
        selected
    }
}

impl Stateful for SelectsSubcarriers {
    type Input = CsiBatch;
    type Output = CsiBatch;
    type Key = Link;
    type State = LinkSelections;

    /// Transmitters use random addresses, so links appear and disappear. A selection survives a night.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(DAY_MS), max_keys_per_group: 128 };

    fn route(batch: &CsiBatch) -> u64 {
        batch.link.route()
    }

    fn on_tick(&mut self, _tick: Tick, batches: Vec<CsiBatch>, work: &mut Work<'_, Self>) {
        for batch in batches {
            let state = work.state.change(&batch.link, LinkSelections::default);
            let selection = state.of_layout(&batch.layout);
            let selected = selection.apply(&batch, self.config, &mut self.amplitudes);
            let n_dropped = batch.len() - selected.as_ref().map_or(0, CsiBatch::len);
            if n_dropped > 0 {
                (self.dropped)("subcarriers not selected yet", n_dropped as u64);
            }
            work.outputs.extend(selected);
        }
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex32;
    use schemas::{CsiFrame, SourceKind};

    use super::*;

    const CONFIG: SelectSubcarriersConfig = SelectSubcarriersConfig { count: 2, frames: 10 };

    /// Frames of two antennas whose subcarriers have these amplitudes; the first one is disturbed.
    fn batch(amplitudes: &[f32], n_frames: usize) -> CsiBatch {
        let subcarriers = (0_i16..).zip(amplitudes).map(|(nth, _)| 10 + nth).collect();
        let layout = CsiLayout { n_rx: 2, n_tx: 1, subcarriers, ..CsiLayout::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        for nth in 0..n_frames {
            for _antenna in 0..2 {
                batch.iq.extend(amplitudes.iter().map(|amplitude| Complex32::from(*amplitude)));
                if let Some(first) = batch.iq.iter_mut().rev().nth(amplitudes.len().wrapping_sub(1))
                {
                    *first *= 1.0 + 0.3 * (nth % 3) as f32;
                }
            }
            batch.push_scalars(CsiFrame::default()).expect("the frame is full");
        }
        batch
    }

    fn apply(state: &mut LinkSelections, batch: &CsiBatch) -> Option<CsiBatch> {
        state.of_layout(&batch.layout).apply(batch, CONFIG, &mut Vec::new())
    }

    #[test]
    fn frames_pass_once_there_were_enough() {
        let mut state = LinkSelections::default();
        let frames = batch(&[1.0, 1.0, 0.1, 1.2], 8);
        assert_eq!(apply(&mut state, &frames), None);
        let selected = apply(&mut state, &frames).expect("ten frames have passed");
        assert_eq!((selected.len(), selected.n_before), (6, 2));
        assert_eq!(selected.layout.subcarriers, [11, 13]);
        assert_eq!(selected.values(0), [1.0, 1.2, 1.0, 1.2].map(Complex32::from));
        assert_eq!(apply(&mut state, &frames).map(|it| it.len()), Some(8));
    }

    #[test]
    fn layouts_that_alternate_have_a_selection_each() {
        let mut state = LinkSelections::default();
        let (narrow, wide) = (batch(&[1.0, 1.0, 1.2], 5), batch(&[1.0, 1.0, 0.1, 1.2], 5));
        for _ in 0..2 {
            assert_eq!(apply(&mut state, &narrow), None);
            assert_eq!(apply(&mut state, &wide), None);
        }
        let subcarriers =
            |selected: Option<CsiBatch>| selected.map(|it| it.layout.subcarriers.clone());
        assert_eq!(subcarriers(apply(&mut state, &narrow)), Some(vec![11, 12]));
        assert_eq!(subcarriers(apply(&mut state, &wide)), Some(vec![11, 13]));
    }

    #[test]
    fn made_up_layouts_are_forgotten() {
        let mut state = LinkSelections::default();
        for n_subcarriers in 2..50 {
            apply(&mut state, &batch(&vec![1.0; n_subcarriers], 1));
        }
        assert_eq!(state.by_layout.len(), MAX_LAYOUTS);
    }

    #[test]
    fn links_without_a_signal_have_no_selection() {
        let mut state = LinkSelections::default();
        for amplitude in [0.0, f32::NAN] {
            let frames = batch(&[amplitude; 3], 20);
            assert_eq!(apply(&mut state, &frames), None);
        }
        assert_eq!(apply(&mut state, &batch(&[], 20)), None);
    }
}

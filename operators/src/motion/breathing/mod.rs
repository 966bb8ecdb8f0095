//! Breathing of somebody who does not move otherwise, on one link.

mod resampler;
mod spectrum;

use std::num::NonZeroUsize;

use schemas::Motion;
use serde::{Deserialize, Serialize};

use crate::motion::breathing::resampler::{Closed, Resampler};
use crate::moving_window::MovingWindow;

pub use crate::motion::breathing::spectrum::{Breathing, Vitals, find_breathing};

/// The rate of rows, and their number in a window: 30 s, three of the slowest breaths.
const ROW_NS: i64 = 200_000_000;
const ROWS_HZ: f32 = 5.0;
const N_ROWS: NonZeroUsize = NonZeroUsize::new(150).expect("not zero");
/// Rows from one look at the window to the next.
const ROWS_PER_LOOK: u32 = 5;

/// The state of a link.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BreathingState {
    resampler: Resampler,
    window: MovingWindow,
    /// Rows since the last look at the window.
    n_new_rows: u32,
    found: Option<Breathing>,
}

impl BreathingState {
    pub(super) fn new() -> Self {
        let (resampler, window) = (Resampler::new(ROW_NS), MovingWindow::new(N_ROWS));
        Self { resampler, window, n_new_rows: 0, found: None }
    }

    /// Returns what the last window was; None before the window is full.
    pub(super) fn found(&self) -> Option<Breathing> {
        self.found
    }

    /// Adds a frame. Only frames without motion count.
    pub(super) fn observe(&mut self, captured_at_ns: i64, amplitudes: &[f32], motion: Motion) {
        if motion != Motion::Still {
            *self = Self::new();
            return;
        }
        match self.resampler.push(captured_at_ns, amplitudes) {
            Closed::Nothing => {}
            Closed::Everything => self.clear(),
            Closed::Row { row, n_repeats } => {
                for _ in 0..n_repeats {
                    self.add(&row);
                }
            }
        }
    }

    fn add(&mut self, row: &[f32]) {
        let window = self.window.push(row);
        self.n_new_rows += 1;
        if let Some(window) = window
            && self.n_new_rows >= ROWS_PER_LOOK
        {
            self.n_new_rows = 0;
            self.found = Some(find_breathing(window, row.len(), ROWS_HZ));
        }
    }

    fn clear(&mut self) {
        self.window.clear();
        self.n_new_rows = 0;
        self.found = None;
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    /// Adds seconds of frames at 50 Hz: a breath every four seconds, and noise.
    fn breathe(state: &mut BreathingState, from_s: i64, to_s: i64, motion: Motion) {
        let mut noise = 1_u32;
        for nth in from_s * 50..to_s * 50 {
            let breath = (TAU * 0.25 * nth as f32 / 50.0).sin();
            let row = [0, 1, 2].map(|column| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                1.0 + 0.02 * breath * (column as f32 - 0.5) + (noise >> 8) as f32 * 1e-9
            });
            state.observe(nth * 20_000_000, &row, motion);
        }
    }

    #[test]
    fn breathing_is_found_once_the_window_is_full() {
        let mut state = BreathingState::new();
        breathe(&mut state, 0, 29, Motion::Still);
        assert_eq!(state.found(), None);
        breathe(&mut state, 29, 32, Motion::Still);
        let Some(Breathing::Found(vitals)) = state.found() else { panic!("{:?}", state.found()) };
        assert!((vitals.breaths_per_minute - 15.0).abs() < 0.5, "{vitals:?}");
    }

    #[test]
    fn motion_and_gaps_start_again() {
        let mut state = BreathingState::new();
        breathe(&mut state, 0, 32, Motion::Still);
        breathe(&mut state, 32, 33, Motion::Moving);
        assert_eq!(state.found(), None);
        breathe(&mut state, 33, 65, Motion::Still);
        assert!(state.found().is_some());
        breathe(&mut state, 70, 71, Motion::Still);
        assert_eq!(state.found(), None);
    }
}

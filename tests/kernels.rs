//! Numeric kernels against `NumPy` and `SciPy`.

use num_complex::Complex32;
use operators::{
    ColumnStatistics, ColumnSums, Hampel, MovingWindow, PhaseFit, conjugate_product,
    fit_end_points, fit_least_squares, moments, relative_amplitudes, unwrap_phase, without_outlier,
};
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};

use crate::support::{data, npy, python};

const TOLERANCE: f64 = 2e-4;

pub(crate) fn phase_methods_agree_with_the_reference() {
    let golden = npy::read_npz(&data::file("csi-truth/golden/sample0x5_first256_tx0.npz"));
    let (h, k) = (&golden["H"], &golden["k"].values);
    let [n_frames, n_subcarriers, n_rx] = [h.shape[0], h.shape[1], h.shape[2]];
    let index: Vec<f32> = k.iter().map(|k| *k as f32).collect();
    let at = |frame: usize, subcarrier: usize, rx: usize| {
        (frame * n_subcarriers + subcarrier) * n_rx + rx
    };
    let value = |at: usize| Complex32::new(h.values[2 * at] as f32, h.values[2 * at + 1] as f32);
    for frame in 0..n_frames {
        let (mut all, mut all_index) = (Vec::new(), Vec::new());
        for rx in 0..n_rx {
            let column = |name: &str| -> Vec<f64> {
                let values = &golden[name].values;
                (0..n_subcarriers).map(|subcarrier| values[at(frame, subcarrier, rx)]).collect()
            };
            let mut phase: Vec<_> = (0..n_subcarriers)
                .map(|subcarrier| value(at(frame, subcarrier, rx)).arg())
                .collect();
            unwrap_phase(&mut phase);
            near("unwrap", &phase, &column("unwrap"));
            near(
                "end points",
                &less(&phase, &index, fit_end_points(&phase, &index)),
                &column("endpoint_calib"),
            );
            let fit = fit_least_squares(&phase, &index);
            near("least squares", &less(&phase, &index, fit), &column("lsq_calib"));
            all.extend(phase);
            all_index.extend(&index);
        }
        let common = fit_least_squares(&all, &all_index);
        near("spotfi slope", &[common.slope_rad], &[golden["spotfi_slope"].values[frame]]);
        near("spotfi intercept", &[common.intercept_rad], &[golden["spotfi_icpt"].values[frame]]);
    }
    let product = conjugate_product(&batch(n_rx, n_frames, |frame, subcarrier, rx| {
        value(at(frame, subcarrier, rx))
    }));
    let product = product.expect("three antennas");
    let expected = &golden["conjmult_rx0"].values;
    for frame in 0..n_frames {
        for (rx, values) in product.values(frame).chunks(n_subcarriers).enumerate() {
            for (subcarrier, value) in values.iter().enumerate() {
                let at = 2 * ((frame * n_subcarriers + subcarrier) * (n_rx - 1) + rx);
                let off = (f64::from(value.re) - expected[at]).abs()
                    + (f64::from(value.im).abs() - expected[at + 1].abs()).abs();
                assert!(off < 1e-2, "conjugate product of frame {frame}");
            }
        }
    }
}

fn less(phase: &[f32], index: &[f32], line: PhaseFit) -> Vec<f32> {
    phase
        .iter()
        .zip(index)
        .map(|(phase, index)| phase - line.slope_rad * index - line.intercept_rad)
        .collect()
}

fn near(name: &str, found: &[f32], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < TOLERANCE,
            "{name}: {found}, expected {expected}"
        );
    }
}

fn batch(
    n_rx: usize,
    n_frames: usize,
    value: impl Fn(usize, usize, usize) -> Complex32,
) -> CsiBatch {
    let layout = CsiLayout {
        n_rx: u16::try_from(n_rx).expect("few"),
        n_tx: 1,
        subcarriers: (0..30).collect(),
        ..CsiLayout::default()
    };
    let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Replay);
    for frame in 0..n_frames {
        for rx in 0..n_rx {
            batch.iq.extend((0..30).map(|subcarrier| value(frame, subcarrier, rx)));
        }
        batch.push_scalars(CsiFrame::default()).expect("the frame is full");
    }
    batch
}

pub(crate) fn moving_variance_agrees_with_the_reference() {
    let golden = npy::read_npz(&data::file("csi-truth/golden/espectre_test_c3_mvs.npz"));
    let mut window = MovingWindow::new(75.try_into().expect("not zero"));
    let mut sums = ColumnSums::default();
    let turbulence = golden["turbulence"].values.iter().map(|value| *value as f32);
    let variance = |turbulence: f32| {
        let window = window.push(&[turbulence])?;
        Some(moments(window, 1, &mut sums).variance)
    };
    let variances: Vec<_> = turbulence.filter_map(variance).collect();
    let expected = &golden["moving_variance"].values;
    assert_eq!(variances.len(), expected.len());
    for (found, expected) in variances.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-3 * expected.max(0.1),
            "{found}, expected {expected}"
        );
    }
}

/// The filter as published: a value is compared with five neighbours on each side.
pub(crate) fn outliers_agree_with_the_reference() {
    const HALF: usize = 5;
    let golden = npy::read_npz(&data::file("csi-truth/golden/sample0x5_first256_tx0.npz"));
    let (amplitudes, expected) = (&golden["scaled_amp"], &golden["hampel_w5_n3"].values);
    let (n_frames, n_columns) = (amplitudes.shape[0], expected.len() / amplitudes.shape[0]);
    let mut n_outliers = 0;
    for column in 0..n_columns {
        let value = |frame: usize| amplitudes.values[frame * n_columns + column] as f32;
        for frame in 0..n_frames {
            let around = frame.saturating_sub(HALF)..(frame + HALF + 1).min(n_frames);
            let mut neighbours: Vec<_> = around.map(value).collect();
            let found = without_outlier(value(frame), &mut neighbours, 3.0);
            n_outliers += usize::from(found.to_bits() != value(frame).to_bits());
            near("outliers", &[found], &[expected[frame * n_columns + column]]);
        }
    }
    assert!(n_outliers > 500, "{n_outliers} values were replaced");
}

/// The same kernels in `NumPy` and `SciPy`. Prints a line of numbers for each.
const SCIPY: &str = r"
import sys
import numpy as np
from scipy import ndimage, stats
values = np.fromfile(sys.argv[1], np.float32).astype(np.float64).reshape(-1, 16)
relative = values / np.sqrt((values ** 2).mean(1, keepdims=True))
def last(rank_filter):
    return lambda a, size: rank_filter(a, size=(size, 1), origin=(size // 2, 0), mode='nearest')
median = last(ndimage.median_filter)(relative, 9)
windows = np.lib.stride_tricks.sliding_window_view(relative, 9, axis=0)
mad = stats.median_abs_deviation(windows, axis=-1, scale=1 / 1.4826)
clean = relative[8:].copy()
outlier = np.abs(clean - median[8:]) > 4 * mad
clean[outlier] = median[8:][outlier]
print(*clean.ravel())
windows = np.lib.stride_tricks.sliding_window_view(clean, 75, axis=0)
print(*windows.var(-1).mean(1))
deviations = windows - windows.mean(-1, keepdims=True)
products = (deviations[..., 1:] * deviations[..., :-1]).mean(-1)
print(*(products / windows.var(-1)).mean(1))
mean, deviation = relative.mean(0), relative.std(0)
print(*(0.75 * deviation / mean ** 2 + 0.25 * stats.variation(relative, axis=0)))
";

pub(crate) fn the_chain_of_motion_agrees_with_scipy() {
    const N_COLUMNS: usize = 16;
    let mut random = 1_u32;
    let mut noise = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 24) as f32
    };
    let values = (0..400 * N_COLUMNS).map(|nth| {
        let (frame, column) = (nth / N_COLUMNS, nth % N_COLUMNS);
        let moved = (frame as f32 * 0.07 + column as f32).sin();
        let outlier = if noise() > 0.98 { 30.0 } else { 0.0 };
        20.0 + column as f32 + 3.0 * moved + noise() + outlier
    });
    let values: Vec<f32> = values.collect();
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("values");
    let bytes: Vec<_> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&path, bytes).expect("room");
    let output = python::run(SCIPY, &[&path.to_string_lossy()]);
    let expected: Vec<Vec<f64>> = output
        .lines()
        .map(|line| line.split(' ').map(|it| it.parse().expect("a number")).collect())
        .collect();

    let (mut hampel, mut sums) = (Hampel::new(9, 4.0), ColumnSums::default());
    let mut window = MovingWindow::new(75.try_into().expect("not zero"));
    let (mut clean, mut found) = (Vec::new(), Vec::new());
    let (mut statistics, mut row) = (ColumnStatistics::default(), Vec::new());
    let all: Vec<_> = (0..N_COLUMNS).collect();
    for (nth, frame) in values.chunks_exact(N_COLUMNS).enumerate() {
        let frame: Vec<_> = frame.iter().map(|value| Complex32::from(*value)).collect();
        relative_amplitudes(&frame, &all, &mut row);
        statistics.add(&row);
        hampel.filter(&mut row);
        // The reference begins with a full history.
        if nth >= 8 {
            clean.extend_from_slice(&row);
            let window = window.push(&row);
            found.extend(window.map(|window| moments(window, N_COLUMNS, &mut sums)));
        }
    }
    let variances: Vec<_> = found.iter().map(|moments| moments.variance).collect();
    let correlations: Vec<_> = found.iter().map(|moments| moments.correlation).collect();
    for (name, found, expected) in [
        ("outliers", clean, &expected[0]),
        ("variance", variances, &expected[1]),
        ("correlation", correlations, &expected[2]),
        ("index", statistics.nbvi(), &expected[3]),
    ] {
        assert_eq!(found.len(), expected.len(), "{name}");
        near(name, &found, expected);
    }
}

//! Numeric kernels against `NumPy` on real frames.

use num_complex::Complex32;
use operators::{
    ColumnSums, MovingWindow, PhaseFit, conjugate_product, fit_end_points, fit_least_squares,
    unwrap_phase,
};
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};

use crate::support::{data, npy};

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
    let moments = turbulence.filter_map(|turbulence| window.push(&[turbulence], &mut sums));
    let variances: Vec<_> = moments.map(|moments| moments.variance).collect();
    let expected = &golden["moving_variance"].values;
    assert_eq!(variances.len(), expected.len());
    for (found, expected) in variances.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-3 * expected.max(0.1),
            "{found}, expected {expected}"
        );
    }
}

//! Convolution over all channels: pointwise (1x1) layers and the few larger ones.
//!
//! Pictures are stored with their channels last, so the inputs of one row of the filter are one contiguous
//! run of numbers. A tile of pixels and output channels is kept in registers while the run is read once:
//! each step loads a vector of weights for several output channels, and multiplies it by one input of each
//! pixel. No input is copied, except for a border of zeros around filters larger than 1x1.

use pulp::{Arch, Simd, WithSimd};

use super::convolution::Convolution;

/// Pixels that are computed for all output channels before the next ones: their inputs stay in the cache.
const PIXELS_AT_ONCE: usize = 48;
/// Panels that are computed for all pixels before the next ones, if their weights are many.
const PANELS_AT_ONCE: usize = 12;
/// Weights that fit into the second cache.
const CACHED: usize = 1 << 18;

/// Computes all of the output with the instructions of this processor. Weights: see [`super::pack_dense`].
pub(super) fn convolve(dense: &Convolution<'_>, output: &mut [f32]) {
    Arch::new().dispatch(Dispatch { dense, output });
}

struct Dispatch<'a> {
    dense: &'a Convolution<'a>,
    output: &'a mut [f32],
}

impl WithSimd for Dispatch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        run(simd, self.dense, self.output);
    }
}

/// Computes all of the output.
#[inline(always)]
pub(super) fn run<S: Simd>(simd: S, dense: &Convolution<'_>, output: &mut [f32]) {
    let n_panels = dense.bias.len() / S::F32_LANES;
    // Weights that do not fit into the cache are read once, if the inputs are fewer.
    let is_large = dense.weight.len() > dense.input.map.len().max(CACHED);
    let at_once = if is_large { PANELS_AT_ONCE } else { n_panels };
    for first_panel in (0..n_panels).step_by(at_once) {
        let panels = first_panel..n_panels.min(first_panel + at_once);
        for line in lines(dense) {
            for first in (0..line.pixels).step_by(PIXELS_AT_ONCE) {
                let pixels = first..line.pixels.min(first + PIXELS_AT_ONCE);
                Block { dense, line, pixels }.run(simd, panels.clone(), output);
            }
        }
    }
}

/// A row of output pixels whose inputs are equally far apart.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Index of the first pixel's first input.
    input: usize,
    /// Index of the first pixel's first output.
    output: usize,
    pixels: usize,
}

/// Returns the rows of the output; all of it is one row if the filter is a single pixel.
fn lines(dense: &Convolution<'_>) -> impl Iterator<Item = Line> {
    let (from, to, filter) = (dense.input.map, dense.output_map, dense.filter);
    let single = filter.size == 1 && filter.stride == 1;
    let (rows, pixels) = if single { (1, to.pixels()) } else { (to.batch * to.rows, to.columns) };
    (0..rows).map(move |row| {
        let (picture, row_in_picture) = (row / to.rows, row % to.rows);
        let input_row = picture * from.rows + row_in_picture * filter.stride;
        Line {
            input: input_row * from.columns * dense.input.step,
            output: row * to.columns * to.channels,
            pixels,
        }
    })
}

/// Some pixels of a row.
struct Block<'a> {
    dense: &'a Convolution<'a>,
    line: Line,
    pixels: std::ops::Range<usize>,
}

impl Block<'_> {
    /// Computes the output channels of some panels, as many vectors at once as leave a register for each sum.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, panels: std::ops::Range<usize>, output: &mut [f32]) {
        let mut panel = panels.start;
        while panel < panels.end {
            panel += self.some_panels(simd, panel, panels.end - panel, output);
        }
    }

    /// Computes some of the `left` panels from `panel` on. Returns how many.
    #[inline(always)]
    fn some_panels<S: Simd>(
        &self,
        simd: S,
        panel: usize,
        left: usize,
        output: &mut [f32],
    ) -> usize {
        let pixels = self.line.pixels;
        if S::REGISTER_COUNT < 32 {
            return match left {
                1 => self.tiles::<S, 1, 10>(simd, panel, output),
                _ => self.tiles::<S, 2, 6>(simd, panel, output),
            };
        }
        // Wider tiles would need more pointers than there are registers.
        match left {
            1 => self.tiles::<S, 1, 10>(simd, panel, output),
            2 => self.tiles::<S, 2, 10>(simd, panel, output),
            4 => self.tiles::<S, 4, 6>(simd, panel, output),
            _ => match best_fit(pixels) {
                6 if left >= 4 => self.tiles::<S, 4, 6>(simd, panel, output),
                7 => self.tiles::<S, 3, 7>(simd, panel, output),
                _ => self.tiles::<S, 3, 8>(simd, panel, output),
            },
        }
    }

    /// Computes `V` panels from `panel` on, `P` pixels at once. Returns `V`.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize, const P: usize>(
        &self,
        simd: S,
        panel: usize,
        output: &mut [f32],
    ) -> usize {
        let mut pixel = self.pixels.start;
        while pixel + P <= self.pixels.end {
            self.tile::<S, V, P>(simd, panel, pixel, output);
            pixel += P;
        }
        if pixel < self.pixels.end && self.line.pixels >= P {
            // The last tile overlaps the one before it, and computes the same values again.
            let pixel = self.pixels.end.max(P) - P;
            self.tile::<S, V, P>(simd, panel, pixel, output);
        } else {
            for pixel in pixel..self.pixels.end {
                self.tile::<S, V, 1>(simd, panel, pixel, output);
            }
        }
        V
    }

    #[inline(always)]
    fn tile<S: Simd, const V: usize, const P: usize>(
        &self,
        simd: S,
        panel: usize,
        pixel: usize,
        output: &mut [f32],
    ) {
        let Convolution { filter, input, .. } = *self.dense;
        // Filters larger than a pixel have all channels.
        let run = filter.size * input.map.channels;
        let taps = filter.size * run;
        let weight = S::as_simd_f32s(self.dense.weight).0;
        let bias = S::as_simd_f32s(self.dense.bias).0;
        let mut sums = [[simd.splat_f32s(0.0); V]; P];
        for of_pixel in &mut sums {
            for (nth, sum) in of_pixel.iter_mut().enumerate() {
                *sum = bias[panel + nth];
            }
        }
        let mut panels = [weight; V];
        for (nth, weights) in panels.iter_mut().enumerate() {
            *weights = &weight[(panel + nth) * taps..][..taps];
        }
        let step = filter.stride * input.step;
        for row in 0..filter.size {
            let first = self.line.input + row * input.map.columns * input.step + pixel * step;
            let mut inputs = [input.values; P];
            for (nth, of_pixel) in inputs.iter_mut().enumerate() {
                *of_pixel = &input.values[first + nth * step..][..run];
            }
            let mut weights = panels;
            for of_panel in &mut weights {
                *of_panel = &of_panel[row * run..][..run];
            }
            sums = multiply(simd, run, &inputs, &weights, sums);
        }
        let channels = self.dense.output_map.channels;
        let lanes = S::F32_LANES;
        for (nth, of_pixel) in sums.iter().enumerate() {
            let start = self.line.output + (pixel + nth) * channels;
            let pixel = &mut output[start..start + channels];
            for (nth, sum) in of_pixel.iter().enumerate() {
                let from = (panel + nth) * lanes;
                let value = self.dense.activation.apply(simd, *sum);
                if let Some(full) = pixel.get_mut(from..from + lanes) {
                    S::as_mut_simd_f32s(full).0[0] = value;
                } else {
                    simd.partial_store_f32s(&mut pixel[from..], value);
                }
            }
        }
    }
}

/// Returns the tile width that computes the fewest pixels of a row twice; the widest of several.
fn best_fit(pixels: usize) -> usize {
    [8, 7, 6].into_iter().min_by_key(|at_once| pixels.next_multiple_of(*at_once)).unwrap_or(8)
}

/// Adds the products of `run` inputs of each pixel with their weights.
#[inline(always)]
fn multiply<S: Simd, const V: usize, const P: usize>(
    simd: S,
    run: usize,
    inputs: &[&[f32]; P],
    weights: &[&[S::f32s]; V],
    mut sums: [[S::f32s; V]; P],
) -> [[S::f32s; V]; P] {
    let mut inputs = *inputs;
    for input in &mut inputs {
        *input = &input[..run];
    }
    let mut weights = *weights;
    for of_panel in &mut weights {
        *of_panel = &of_panel[..run];
    }
    for tap in 0..run {
        for (input, of_pixel) in inputs.iter().zip(&mut sums) {
            let input = simd.splat_f32s(input[tap]);
            for (of_panel, sum) in weights.iter().zip(of_pixel) {
                *sum = simd.mul_add_e_f32s(input, of_panel[tap], *sum);
            }
        }
    }
    sums
}

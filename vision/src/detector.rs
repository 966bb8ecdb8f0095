//! What detectors of people have in common.

use std::fmt::Debug;

use burn::tensor::{Device, Tensor};

use crate::kernels::{buffer, recycle};
use crate::layers::tensor;
use crate::pictures::{Axis, Border, Normalisation, Picture, Rectangle, sample};

/// A person that a detector found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Around the person, in pixels of the picture; it may reach beyond the picture.
    pub rectangle: Rectangle,
    /// Confidence between 0 and 1.
    pub confidence: f32,
}

/// Finds people in pictures.
pub trait Detector: Debug + Send + Sync {
    /// Returns the people in each picture with at least `confidence`, the most certain one first.
    ///
    /// The people of a picture do not depend on the other pictures.
    fn detect(&self, pictures: &[Picture<'_>], confidence: f32) -> Vec<Vec<Detection>>;
}

/// A picture in the upper left of a square, as large as fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letterbox {
    /// Side of the square.
    pub(crate) side: usize,
    /// The value of the rest of the square.
    pub(crate) rest: f32,
}

impl Letterbox {
    /// Writes the picture, and returns how many pixels of the square one of the picture's pixels is.
    ///
    /// # Shapes
    ///
    /// - output: `[side, side, 3]`, red, green and blue from 0 to 255
    pub(crate) fn write(self, picture: Picture<'_>, output: &mut [f32]) -> f32 {
        let (width, height) = (picture.width(), picture.height());
        let ratio = self.side as f32 / width.max(height) as f32;
        let scaled = |len: usize| ((len as f32 * ratio) as usize).clamp(1, self.side);
        let (rows, columns) = (scaled(height), scaled(width));
        let mut part = buffer(rows * columns * 3);
        let axes = (Axis::resize(height, rows), Axis::resize(width, columns));
        sample(picture, axes.0, axes.1, Border::Replicate, &mut part);
        output.fill(self.rest);
        for (line, row) in
            output.chunks_exact_mut(self.side * 3).zip(part.chunks_exact(columns * 3))
        {
            line[..columns * 3].copy_from_slice(row);
        }
        recycle(part);
        ratio
    }
}

/// Removes detections that overlap a more certain one by more than `overlap`, and sorts the rest by confidence.
pub(crate) fn suppress(mut detections: Vec<Detection>, overlap: f32) -> Vec<Detection> {
    detections.retain(|detection| detection.rectangle.has_area());
    detections.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Vec<Detection> = Vec::new();
    for detection in detections {
        let covers = |other: &Detection| other.rectangle.overlap(detection.rectangle) > overlap;
        if !kept.iter().any(covers) {
            kept.push(detection);
        }
    }
    kept
}

/// What differs between the detectors that look at a square and answer for each cell of three grids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GridDetector {
    pub(crate) input: Letterbox,
    pub(crate) normalisation: Normalisation,
    /// Returns the person in a cell, if one is there with this confidence: values, column and row, the cell's size
    /// in pixels, confidence.
    pub(crate) person: fn(&[f32], [f32; 2], f32, f32) -> Option<Detection>,
    /// The overlap from which two boxes are the same person.
    pub(crate) same_person: f32,
}

/// Pixels of a cell of each grid.
const CELLS: [f32; 3] = [8.0, 16.0, 32.0];

impl GridDetector {
    /// Detects people with a network's function.
    ///
    /// # Shapes
    ///
    /// - network: `[batch, side, side, 3]` to the grids, `[batch, rows, columns, values]` each
    pub(crate) fn detect(
        self,
        pictures: &[Picture<'_>],
        confidence: f32,
        device: &Device,
        network: impl FnOnce(Tensor<4>) -> [Tensor<4>; 3],
    ) -> Vec<Vec<Detection>> {
        let (input, ratios) = self.input(pictures, device);
        let mut found = vec![Vec::new(); pictures.len()];
        for (grid, cell_px) in network(input).into_iter().zip(CELLS) {
            let [_, rows, columns, len] = grid.dims();
            let data = grid.into_data();
            let values: &[f32] = data
                .as_slice()
                .unwrap_or_else(|error| unreachable!("values of another type: {error}"));
            for (found, cells) in found.iter_mut().zip(values.chunks_exact(rows * columns * len)) {
                for (nth, cell) in cells.chunks_exact(len).enumerate() {
                    let place = [nth % columns, nth / columns].map(|place| place as f32);
                    found.extend((self.person)(cell, place, cell_px, confidence));
                }
            }
        }
        let found = found.into_iter().zip(ratios);
        found.map(|(found, ratio)| self.in_picture(found, ratio)).collect()
    }

    /// Returns the network's input, and how many of its pixels one pixel of each picture is.
    fn input(self, pictures: &[Picture<'_>], device: &Device) -> (Tensor<4>, Vec<f32>) {
        let side = self.input.side;
        let mut values = buffer(pictures.len() * side * side * 3);
        let squares = values.chunks_exact_mut(side * side * 3);
        let write = |(picture, square): (&Picture<'_>, &mut [f32])| {
            let ratio = self.input.write(*picture, square);
            self.normalisation.apply(square);
            ratio
        };
        let ratios = pictures.iter().zip(squares).map(write).collect();
        (tensor(values, [pictures.len(), side, side, 3], device), ratios)
    }

    fn in_picture(self, found: Vec<Detection>, ratio: f32) -> Vec<Detection> {
        let mut found = suppress(found, self.same_person);
        for detection in &mut found {
            detection.rectangle = detection.rectangle.scaled(1.0 / ratio);
        }
        found
    }
}

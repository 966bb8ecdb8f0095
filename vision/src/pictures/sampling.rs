//! Scaled parts of a picture, interpolated between pixels.
//!
//! Rows are interpolated before columns, each row of the result once: that reads the picture in order, and
//! the compiler vectorises it.

use super::Picture;

/// What lies outside the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Border {
    /// One value in all channels.
    Constant(f32),
    /// The nearest pixel.
    Replicate,
}

/// Where the rows or columns of the result lie in the picture: the nth at `offset + nth * scale`, in pixels from
/// the centre of the first one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Number of rows or columns of the result.
    pub len: usize,
    /// Place of the first one.
    pub offset: f32,
    /// Distance between two of them.
    pub scale: f32,
}

impl Axis {
    /// Returns an axis on which `from` pixels become `len`, with the same outer edges.
    pub fn resize(from: usize, len: usize) -> Self {
        let scale = from as f32 / len as f32;
        Self { len, offset: 0.5 * scale - 0.5, scale }
    }

    fn taps(self, n: usize, border: Border) -> Vec<Tap> {
        let last = n as f32 - 1.0;
        let tap = |nth: usize| {
            let place = self.offset + nth as f32 * self.scale;
            let place = match border {
                Border::Replicate => place.clamp(0.0, last),
                // Beyond these, the border alone counts.
                Border::Constant(_) => place.clamp(-1.0, last + 1.0),
            };
            let before = place.floor();
            let index = |place: f32| (0.0..=last).contains(&place).then_some(place as usize);
            let after =
                if border == Border::Replicate { (before + 1.0).min(last) } else { before + 1.0 };
            Tap { before: index(before), after: index(after), share: place - before }
        };
        (0..self.len).map(tap).collect()
    }
}

/// The two rows or columns that one of the result lies between; none is the border.
#[derive(Clone, Copy, Debug)]
struct Tap {
    before: Option<usize>,
    after: Option<usize>,
    /// The share of the later one.
    share: f32,
}

/// Writes a scaled part of the picture, values from 0 to 255.
///
/// # Shapes
///
/// - output: `[rows.len, columns.len, 3]`
pub fn sample(picture: Picture<'_>, rows: Axis, columns: Axis, border: Border, output: &mut [f32]) {
    let outside = match border {
        Border::Constant(value) => value,
        Border::Replicate => 0.0,
    };
    let column_taps = columns.taps(picture.width, border);
    let first = column_taps.iter().filter_map(|tap| tap.before.or(tap.after)).min().unwrap_or(0);
    let last = column_taps.iter().filter_map(|tap| tap.after.or(tap.before)).max().unwrap_or(0);
    // The columns in use, and a pixel of the border after them.
    let width = last + 1 - first;
    let mut between = vec![outside; (width + 1) * 3];
    let place = |tap: Option<usize>| tap.map_or(width, |column| column - first) * 3;
    let places: Vec<_> =
        column_taps.iter().map(|tap| (place(tap.before), place(tap.after), tap.share)).collect();
    let lines = output.chunks_exact_mut(columns.len * 3);
    for (line, tap) in lines.zip(rows.taps(picture.height, border)) {
        let run = first * 3..(last + 1) * 3;
        let row = |nth: Option<usize>| nth.map(|nth| &picture.row(nth)[run.clone()]);
        blend(row(tap.before), row(tap.after), tap.share, outside, &mut between[..width * 3]);
        for (to, (before, after, share)) in line.as_chunks_mut::<3>().0.iter_mut().zip(&places) {
            for (channel, value) in to.iter_mut().enumerate() {
                let (left, right) = (between[before + channel], between[after + channel]);
                *value = left + (right - left) * share;
            }
        }
    }
}

/// Writes the values between two rows.
fn blend(
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    share: f32,
    outside: f32,
    output: &mut [f32],
) {
    match (before, after) {
        (Some(before), Some(after)) => {
            for ((value, before), after) in output.iter_mut().zip(before).zip(after) {
                let before = f32::from(*before);
                *value = before + (f32::from(*after) - before) * share;
            }
        }
        (Some(row), None) => mix(row, 1.0 - share, outside * share, output),
        (None, Some(row)) => mix(row, share, outside * (1.0 - share), output),
        (None, None) => output.fill(outside),
    }
}

fn mix(row: &[u8], share: f32, rest: f32, output: &mut [f32]) {
    for (value, row) in output.iter_mut().zip(row) {
        *value = f32::from(*row) * share + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples one channel of a picture of two rows and three columns: 0, 10, 20 and 30, 40, 50.
    fn sampled(rows: Axis, columns: Axis, border: Border) -> Vec<f32> {
        let rgb: Vec<u8> = (0..6).flat_map(|nth| [nth * 10, 0, 255]).collect();
        let picture = Picture::new(3, 2, &rgb).unwrap();
        let mut output = vec![f32::NAN; rows.len * columns.len * 3];
        sample(picture, rows, columns, border, &mut output);
        output.chunks_exact(3).map(|pixel| pixel[0]).collect()
    }

    fn axis(len: usize, offset: f32, scale: f32) -> Axis {
        Axis { len, offset, scale }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let output = sampled(Axis::resize(2, 2), Axis::resize(3, 3), Border::Replicate);
        assert_eq!(output, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    }

    #[test]
    fn values_between_pixels_are_interpolated() {
        let output = sampled(axis(1, 0.5, 1.0), axis(2, 0.25, 1.0), Border::Replicate);
        assert_eq!(output, [17.5, 27.5]);
    }

    #[test]
    fn the_border_counts_where_the_picture_ends() {
        let line = |border| sampled(axis(1, 0.0, 1.0), axis(5, -1.5, 1.0), border);
        assert_eq!(line(Border::Replicate), [0.0, 0.0, 5.0, 15.0, 20.0]);
        assert_eq!(line(Border::Constant(100.0)), [100.0, 50.0, 5.0, 15.0, 60.0]);
        let beyond = sampled(axis(1, -7.0, 1.0), axis(2, 9.0, 1.0), Border::Constant(7.0));
        assert_eq!(beyond, [7.0, 7.0]);
    }

    #[test]
    fn a_picture_needs_all_of_its_pixels() {
        assert!(Picture::new(2, 2, &[0; 11]).is_none());
        assert!(Picture::new(0, 2, &[]).is_none());
        assert!(Picture::new(usize::MAX, 2, &[]).is_none());
    }
}

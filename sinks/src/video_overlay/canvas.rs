//! Smooth lines, discs and text on a picture.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, ScaleFont, point};

/// Red, green and blue.
pub(super) type Colour = [u8; 3];

static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(dejavu::sans::bold()).ok());

/// A picture to draw on.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// `[height, width, 3]`.
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self { width: width as usize, height: height as usize, pixels }
    }

    pub(super) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Width and height in pixels.
    pub(super) fn size(&self) -> [f32; 2] {
        [self.width as f32, self.height as f32]
    }

    /// Draws a line with round ends.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, colour: Colour) {
        let radius = thickness / 2.0;
        let distance = |at: [f32; 2]| distance_to_segment(at, from, to);
        let reach = radius + 1.0;
        let low = [from[0].min(to[0]) - reach, from[1].min(to[1]) - reach];
        let high = [from[0].max(to[0]) + reach, from[1].max(to[1]) + reach];
        self.fill(low, high, |at| radius + 0.5 - distance(at), colour);
    }

    pub(super) fn disc(&mut self, centre: [f32; 2], radius: f32, colour: Colour) {
        self.line(centre, centre, 2.0 * radius, colour);
    }

    pub(super) fn rectangle(
        &mut self,
        [left, top, right, bottom]: [f32; 4],
        thickness: f32,
        colour: Colour,
    ) {
        let corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]];
        for pair in corners.windows(2) {
            self.line(pair[0], pair[1], thickness, colour);
        }
    }

    /// Writes text on a background, with its lower left corner at a place, and within the picture.
    pub(super) fn label(&mut self, [x, y]: [f32; 2], size: f32, text: &str, background: Colour) {
        let Some(font) = FONT.as_ref() else { return };
        let font = font.as_scaled(size);
        let advance = |letter| font.h_advance(font.glyph_id(letter));
        let width = text.chars().map(advance).sum::<f32>() + size / 2.0;
        let height = font.height() + size / 4.0;
        let x = x.min(self.width as f32 - width).max(0.0);
        let top = (y - height).max(0.0);
        self.fill([x, top], [x + width, top + height], |_| 1.0, background);
        let ink = readable_on(background);
        let (mut at, baseline) = (x + size / 4.0, top + size / 8.0 + font.ascent());
        for letter in text.chars() {
            let glyph = font.glyph_id(letter).with_scale_and_position(size, point(at, baseline));
            at += advance(letter);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|column, row, share| {
                let (x, y) = (bounds.min.x + column as f32, bounds.min.y + row as f32);
                if x >= 0.0 && y >= 0.0 {
                    self.blend(x as usize, y as usize, share, ink);
                }
            });
        }
    }

    /// Blends a colour into the pixels between two corners, by the share at the centre of each.
    fn fill(
        &mut self,
        low: [f32; 2],
        high: [f32; 2],
        share: impl Fn([f32; 2]) -> f32,
        colour: Colour,
    ) {
        let ends = low.into_iter().chain(high);
        if !ends.into_iter().all(f32::is_finite) {
            return;
        }
        let within = |from: f32, to: f32, len: usize| {
            (from.max(0.0) as usize).min(len)..(to.max(0.0).ceil() as usize).min(len)
        };
        for row in within(low[1], high[1], self.height) {
            for column in within(low[0], high[0], self.width) {
                let at = [column as f32 + 0.5, row as f32 + 0.5];
                self.blend(column, row, share(at), colour);
            }
        }
    }

    fn blend(&mut self, column: usize, row: usize, share: f32, colour: Colour) {
        let share = share.clamp(0.0, 1.0);
        if share == 0.0 || column >= self.width || row >= self.height {
            return;
        }
        let first = (row * self.width + column) * 3;
        for (value, colour) in self.pixels.iter_mut().skip(first).zip(colour) {
            let mixed = f32::from(*value) + (f32::from(colour) - f32::from(*value)) * share;
            *value = mixed.round() as u8;
        }
    }
}

/// Black or white, whichever can be read on a colour.
fn readable_on([red, green, blue]: Colour) -> Colour {
    let luminance = 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
    if luminance > 140.0 { [0; 3] } else { [255; 3] }
}

fn distance_to_segment(at: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let offset = [at[0] - from[0], at[1] - from[1]];
    let squared = along[0] * along[0] + along[1] * along[1];
    let share = if squared > 0.0 {
        ((offset[0] * along[0] + offset[1] * along[1]) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (offset[0] - share * along[0]).hypot(offset[1] - share * along[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = [255; 3];

    fn black() -> Canvas {
        Canvas::new(20, 10, vec![0; 20 * 10 * 3])
    }

    fn red_at(canvas: &Canvas, column: usize, row: usize) -> u8 {
        canvas.pixels[(row * 20 + column) * 3]
    }

    #[test]
    fn lines_cover_what_is_near_them() {
        let mut canvas = black();
        canvas.line([5.0, 5.0], [15.0, 5.0], 2.0, WHITE);
        assert_eq!(red_at(&canvas, 10, 4), 255);
        assert_eq!(red_at(&canvas, 10, 5), 255);
        assert_eq!(red_at(&canvas, 10, 7), 0);
        assert_eq!(red_at(&canvas, 1, 5), 0);
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        for at in [[-100.0, -100.0], [100.0, 5.0], [f32::NAN, 1.0], [f32::INFINITY, 0.0]] {
            let mut canvas = black();
            canvas.disc(at, 3.0, WHITE);
            canvas.label(at, 8.0, "p1", WHITE);
            canvas.line(at, [5.0, 5.0], 2.0, WHITE);
            assert_eq!(canvas.pixels.len(), 600);
        }
    }

    #[test]
    fn text_has_ink_on_its_background() {
        let mut canvas = Canvas::new(60, 30, vec![0; 60 * 30 * 3]);
        canvas.label([5.0, 28.0], 16.0, "p1", [230, 159, 0]);
        let background = canvas.pixels.chunks_exact(3).filter(|it| **it == [230, 159, 0]).count();
        let changed = canvas.pixels.chunks_exact(3).filter(|it| **it != [0, 0, 0]).count();
        assert!(background > 100 && changed > background, "{background} of {changed}");
    }
}

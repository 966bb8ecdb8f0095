//! Pictures, and the parts of them that networks see.

mod normalisation;
mod sampling;

pub(crate) use normalisation::{Normalisation, Order};
pub use sampling::{Axis, Border, sample};

/// A picture of 8-bit red, green and blue.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    width: usize,
    height: usize,
    /// `[height, width, 3]`.
    rgb: &'a [u8],
}

impl<'a> Picture<'a> {
    /// Returns a picture, or nothing if there is no pixel or the number of values differs.
    ///
    /// # Shapes
    ///
    /// - rgb: `[height, width, 3]`
    pub fn new(width: usize, height: usize, rgb: &'a [u8]) -> Option<Self> {
        let len = width.checked_mul(height)?.checked_mul(3)?;
        (len > 0 && rgb.len() == len).then_some(Self { width, height, rgb })
    }

    /// Width in pixels.
    pub fn width(self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(self) -> usize {
        self.height
    }

    fn row(self, nth: usize) -> &'a [u8] {
        &self.rgb[nth * self.width * 3..][..self.width * 3]
    }
}

impl std::fmt::Debug for Picture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// A rectangle in pixels; the upper left pixel begins at (0, 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectangle {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Rectangle {
    /// Returns the rectangle around the same centre that has the aspect ratio `width / height` and holds this
    /// one, `scale` times larger.
    #[must_use]
    pub fn with_aspect(self, aspect: f32, scale: f32) -> Self {
        let (centre_x, centre_y) = self.centre();
        let width = self.width.max(self.height * aspect) * scale;
        let height = self.height.max(self.width / aspect) * scale;
        Self { x: centre_x - width / 2.0, y: centre_y - height / 2.0, width, height }
    }

    /// Returns x and y of the centre.
    pub fn centre(self) -> (f32, f32) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// Returns the rectangle in a picture that is scaled by a factor.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        Self {
            x: self.x * factor,
            y: self.y * factor,
            width: self.width * factor,
            height: self.height * factor,
        }
    }

    /// Returns the intersection over union with another one, between 0 and 1.
    pub fn overlap(self, other: Self) -> f32 {
        let along = |a: f32, a_len: f32, b: f32, b_len: f32| {
            ((a + a_len).min(b + b_len) - a.max(b)).max(0.0)
        };
        let common = along(self.x, self.width, other.x, other.width)
            * along(self.y, self.height, other.y, other.height);
        let union = self.width * self.height + other.width * other.height - common;
        if union > 0.0 { common / union } else { 0.0 }
    }

    /// Returns whether all numbers are finite and there is an area.
    pub fn has_area(self) -> bool {
        let numbers = [self.x, self.y, self.width, self.height];
        numbers.iter().all(|number| number.is_finite()) && self.width > 0.0 && self.height > 0.0
    }
}

//! Sizes of feature maps and filters.

/// The size of a batch of feature maps, `[batch, rows, columns, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Number of pictures.
    pub batch: usize,
    /// Height.
    pub rows: usize,
    /// Width.
    pub columns: usize,
    /// Values per pixel.
    pub channels: usize,
}

impl Map {
    /// Returns the number of pixels of all pictures.
    pub fn pixels(self) -> usize {
        self.batch * self.rows * self.columns
    }

    /// Returns the number of values.
    pub fn len(self) -> usize {
        self.pixels() * self.channels
    }

    /// Returns whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A view of all or some channels of feature maps.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Values, from the first channel of the first pixel on.
    pub values: &'a [f32],
    /// Batch, rows and columns of the maps, and the number of channels in the view.
    pub map: Map,
    /// Number of values from one pixel to the next, at least the number of channels.
    pub step: usize,
}

impl<'a> View<'a> {
    /// Returns all channels of feature maps.
    pub fn whole(values: &'a [f32], map: Map) -> Self {
        Self { values, map, step: map.channels }
    }
}

/// A square filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Side.
    pub size: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zeros before the first row and column, and at least as many after the last ones.
    pub padding: usize,
    /// Zeros after the last row and column.
    pub padding_after: usize,
}

impl Filter {
    /// Returns a filter with as many zeros on each side as keep the size at stride 1.
    pub fn same(size: usize, stride: usize) -> Self {
        Self { size, stride, padding: size / 2, padding_after: size / 2 }
    }

    /// Returns the size of the output.
    pub fn output(self, input: Map, channels: usize) -> Map {
        let along = |n: usize| {
            (n + self.padding + self.padding_after).saturating_sub(self.size) / self.stride + 1
        };
        Map { rows: along(input.rows), columns: along(input.columns), channels, ..input }
    }
}

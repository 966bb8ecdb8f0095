//! The values of pixels as a network was trained with.

/// The order of a pixel's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    RedGreenBlue,
    BlueGreenRed,
}

/// Mean and standard deviation of values from 0 to 255, in the network's order: a network sees how many standard
/// deviations a value is above the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normalisation {
    pub(crate) order: Order,
    pub(crate) mean: [f32; 3],
    pub(crate) deviation: [f32; 3],
}

impl Normalisation {
    /// For networks that were trained with `ImageNet`'s red, green and blue.
    pub(crate) const IMAGE_NET: Self = Self {
        order: Order::RedGreenBlue,
        mean: [0.485 * 255.0, 0.456 * 255.0, 0.406 * 255.0],
        deviation: [0.229 * 255.0, 0.224 * 255.0, 0.225 * 255.0],
    };

    /// Changes pixels of red, green and blue from 0 to 255.
    pub(crate) fn apply(self, values: &mut [f32]) {
        let factors = self.deviation.map(|deviation| 1.0 / deviation);
        for pixel in values.as_chunks_mut::<3>().0 {
            if self.order == Order::BlueGreenRed {
                pixel.swap(0, 2);
            }
            for (nth, value) in pixel.iter_mut().enumerate() {
                *value = (*value - self.mean[nth]) * factors[nth];
            }
        }
    }
}

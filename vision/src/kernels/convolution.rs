//! The arguments that all convolution kernels share.

use super::activation::Activation;
use super::shape::{Filter, Map, View};

/// The arguments of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution<'a> {
    pub(super) input: View<'a>,
    /// In the order of the kernel.
    pub(super) weight: &'a [f32],
    /// `[output channels rounded up to lanes]`.
    pub(super) bias: &'a [f32],
    pub(super) filter: Filter,
    pub(super) activation: Activation,
    pub(super) output_map: Map,
}

//! What the kernels of convolutions have in common: their arguments, and the choice of instructions at run time.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use super::activation::Activation;
use super::shape::{Filter, Map};

/// The arguments of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution<'a> {
    pub(super) input: &'a [f32],
    pub(super) input_map: Map,
    /// In the order of the kernel.
    pub(super) weight: &'a [f32],
    /// `[output channels rounded up to lanes]`.
    pub(super) bias: &'a [f32],
    pub(super) filter: Filter,
    pub(super) activation: Activation,
    pub(super) output_map: Map,
}

/// A way to compute a convolution.
pub(super) trait Kernel {
    /// Computes all of the output.
    fn run<S: Simd>(simd: S, convolution: &Convolution<'_>, output: &mut [f32]);
}

impl Convolution<'_> {
    /// Computes the output with the instructions of this processor.
    pub(super) fn run<K: Kernel>(&self, output: &mut [f32]) {
        Arch::new().dispatch(Dispatch { convolution: self, output, kernel: PhantomData::<K> });
    }
}

struct Dispatch<'a, K> {
    convolution: &'a Convolution<'a>,
    output: &'a mut [f32],
    kernel: PhantomData<K>,
}

impl<K: Kernel> WithSimd for Dispatch<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        K::run(simd, self.convolution, self.output);
    }
}

//! Activation functions of a layer, applied while its output is still in registers.

use pulp::{Simd, cast};

/// The activation function at the end of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// None: the output is linear.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` if positive, otherwise `0.1 x`.
    LeakyRelu,
    /// `x / (1 + exp(-x))`, also called Swish.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    /// Returns the function's values. The choice costs little once per tile, where one copy of each kernel per
    /// function would cost much of the program's size.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        match self {
            Self::Linear => x,
            Self::Relu => simd.max_f32s(x, zero),
            Self::Relu6 => simd.min_f32s(simd.max_f32s(x, zero), simd.splat_f32s(6.0)),
            Self::LeakyRelu => simd.max_f32s(x, simd.mul_f32s(x, simd.splat_f32s(0.1))),
            Self::Silu => simd.mul_f32s(x, sigmoid(simd, x)),
            Self::Sigmoid => sigmoid(simd, x),
        }
    }
}

#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one_more = simd.add_f32s(exp(simd, minus(simd, x)), simd.splat_f32s(1.0));
    reciprocal(simd, one_more)
}

/// Returns `-x`. pulp's default methods are not inlined, and neither are closures; a call would spill all registers.
#[inline(always)]
fn minus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.sub_f32s(simd.splat_f32s(0.0), x)
}

/// Returns `1 / x` of a positive number with a relative error below 2e-7, in less time than a division.
///
/// The bits of a float are about its logarithm, so a difference of bits is a quotient with an error below 6 %; a step
/// of Halley's method and one of Newton's do the rest.
#[inline(always)]
fn reciprocal<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ONE_TWICE: u32 = 0x7EF3_11C7;
    let bits = simd.sub_u32s(simd.splat_u32s(ONE_TWICE), cast(x));
    let (guess, minus_x, one) = (cast(bits), minus(simd, x), simd.splat_f32s(1.0));
    let error = simd.mul_add_e_f32s(minus_x, guess, one);
    let error = simd.mul_add_e_f32s(error, error, error);
    let guess = simd.mul_add_e_f32s(guess, error, guess);
    let error = simd.mul_add_e_f32s(minus_x, guess, one);
    simd.mul_add_e_f32s(guess, error, guess)
}

/// Returns `exp(x)` with a relative error below 2e-7. It saturates at ±64: the activation functions need no more, and
/// subnormal numbers would be slow.
///
/// Cody and Waite's reduction to `2^n exp(r)` with `|r| <= ln(2) / 2`, and the polynomial of Cephes'
/// `expf`. Adding 1.5 * 2^23 rounds to an integer, which then is in the lowest bits of the sum.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ROUNDING: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    const EXPONENT_OF_ONE: u32 = 127 << 23;
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-64.0)), simd.splat_f32s(64.0));
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let shifted = simd.mul_add_e_f32s(x, log2_e, simd.splat_f32s(ROUNDING));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUNDING));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut sum = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        sum = simd.mul_add_e_f32s(sum, r, simd.splat_f32s(*coefficient));
    }
    let exp_r = simd.mul_add_e_f32s(simd.mul_f32s(sum, r), r, r);
    let exp_r = simd.add_f32s(exp_r, simd.splat_f32s(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(cast(shifted), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(EXPONENT_OF_ONE));
    simd.mul_f32s(exp_r, cast(power))
}

//! A linear unit that learns online: it mixes logits to a prediction, or features to an expected magnitude.
//!
//! # Source
//! M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", Florida Tech. CS-2005-16, 2005:
//! logistic mixing, as in PAQ. Ours: what is known of a row and a column goes in beside the logits.

/// Weights in units of 2^-16, for inputs in units of 2^-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixer<const N: usize>(pub(super) [i32; N]);

impl<const N: usize> Mixer<N> {
    /// Sum of weights times inputs.
    #[inline]
    pub(super) fn mix(&self, inputs: &[i32; N]) -> i32 {
        let products = self
            .0
            .iter()
            .zip(inputs)
            .map(|(&w, &x)| i64::from(w) * i64::from(x));
        (products.sum::<i64>() >> 16) as i32
    }

    /// Moves each weight by error times input times 2^-`shift`, rounded.
    #[inline]
    pub(super) fn learn(&mut self, inputs: &[i32; N], error: i32, shift: u32) {
        for (w, &x) in self.0.iter_mut().zip(inputs) {
            *w = w.wrapping_add((error * x + (1 << (shift - 1))) >> shift);
        }
    }
}

//! The input of every quantizer: weights with their sensitivities.

use std::ops::Range;

use crate::fold;

/// How much the loss grows per squared unit of error: `h_i >= 0`, finite.
#[derive(Clone, Copy, Debug)]
pub enum Sensitivity<'a> {
    /// The same for all weights.
    Constant(f32),
    /// One per weight, in the order of the weights, and what is added to each: a floor without a copy.
    PerWeight(&'a [f32], f32),
}

impl Sensitivity<'_> {
    /// The sensitivity of weight `i`.
    #[inline]
    pub fn at(&self, i: usize) -> f32 {
        match self {
            Sensitivity::Constant(h) => *h,
            Sensitivity::PerWeight(h, add) => h[i] + add,
        }
    }
}

/// One tensor, or a chunk of one. All weights are finite.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The weights, in coding order.
    pub weights: &'a [f32],
    /// Their sensitivities.
    pub h: Sensitivity<'a>,
}

impl<'a> Source<'a> {
    /// Weights with one sensitivity each.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn per_weight(weights: &'a [f32], h: &'a [f32]) -> Self {
        Self::floored(weights, h, 0.0)
    }

    /// Weights with one sensitivity each, to which `add` comes.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn floored(weights: &'a [f32], h: &'a [f32], add: f32) -> Self {
        let source = Source {
            weights,
            h: Sensitivity::PerWeight(h, add),
        };
        source.check();
        source
    }

    /// Weights of equal sensitivity.
    pub const fn constant(weights: &'a [f32], h: f32) -> Self {
        Source {
            weights,
            h: Sensitivity::Constant(h),
        }
    }

    /// Number of weights.
    pub const fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are no weights.
    pub const fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weights of a range with their sensitivities.
    ///
    /// # Panics
    /// If the range does not lie in `0..len`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let h = match self.h {
            Sensitivity::Constant(h) => Sensitivity::Constant(h),
            Sensitivity::PerWeight(h, add) => Sensitivity::PerWeight(&h[range.clone()], add),
        };
        Source {
            weights: &self.weights[range],
            h,
        }
    }

    /// Mean sensitivity; 0 without weights.
    pub fn mean_h(&self) -> f64 {
        self.check();
        match self.h {
            _ if self.is_empty() => 0.0,
            Sensitivity::Constant(h) => f64::from(h),
            Sensitivity::PerWeight(h, add) => fold::sum(h, f64::from) / h.len() as f64 + f64::from(add),
        }
    }

    /// Panics when the lengths differ, which the types cannot exclude.
    pub(crate) fn check(&self) {
        if let Sensitivity::PerWeight(h, _) = self.h {
            assert_eq!(h.len(), self.weights.len(), "one sensitivity per weight");
        }
    }

    /// Calls `f(weight, h)` in order.
    #[inline]
    pub(crate) fn for_each(&self, mut f: impl FnMut(f32, f32)) {
        match self.h {
            Sensitivity::Constant(h) => self.weights.iter().for_each(|&w| f(w, h)),
            Sensitivity::PerWeight(h, add) => self.weights.iter().zip(h).for_each(|(&w, &h)| f(w, h + add)),
        }
    }
}

//! The input of every quantizer: weights with their sensitivities.

use std::ops::Range;

use crate::balance::{Balance, Column, Sums};
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
    /// How errors of a row add up, and the index in the tensor of the first weight.
    balance: Option<(&'a Balance, usize)>,
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
            balance: None,
        };
        source.check();
        source
    }

    /// Weights of equal sensitivity.
    pub const fn constant(weights: &'a [f32], h: f32) -> Self {
        Source {
            weights,
            h: Sensitivity::Constant(h),
            balance: None,
        }
    }

    /// The same weights, from the start of a tensor whose errors add up in rows.
    #[must_use]
    pub const fn balanced(self, balance: &'a Balance) -> Self {
        Source {
            balance: Some((balance, 0)),
            ..self
        }
    }

    /// How errors of a row add up, if that matters.
    pub(crate) fn balance(&self) -> Option<&'a Balance> {
        self.balance.map(|(balance, _)| balance)
    }

    /// Sums of errors, if they matter, before the first weight.
    pub(crate) fn sums(&self) -> Option<Sums<'a>> {
        self.balance.map(|(balance, first)| Sums::new(balance, first))
    }

    /// What each weight does about the errors before it in its row, from the first on; nothing if rows do not matter.
    pub(crate) fn columns(&self) -> &'a [Column] {
        self.balance
            .map_or(&[], |(balance, first)| balance.columns_from(first))
    }

    /// Weights up to the end of the row that the first is in, and of a row; all of them if rows do not matter.
    pub(crate) fn rows(&self) -> (usize, usize) {
        let n = self.len();
        self.balance.map_or((n, n.max(1)), |(balance, first)| {
            let row = balance.n_columns();
            (((row - first % row) % row).min(n), row)
        })
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
        let balance = self
            .balance
            .map(|(balance, first)| (balance, first + range.start));
        Source {
            weights: &self.weights[range],
            h,
            balance,
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

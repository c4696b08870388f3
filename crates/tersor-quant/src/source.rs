//! The input of every quantizer: weights with their sensitivities.

use std::ops::Range;

use crate::fold;

/// How much the loss grows per squared unit of error: `h_i >= 0`, finite.
#[derive(Clone, Copy, Debug)]
pub enum Sensitivity<'a> {
    /// The same for all weights.
    Constant(f32),
    /// One per weight, in the order of the weights.
    PerWeight(&'a [f32]),
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
        let source = Source {
            weights,
            h: Sensitivity::PerWeight(h),
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
            Sensitivity::PerWeight(h) => Sensitivity::PerWeight(&h[range.clone()]),
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
            Sensitivity::PerWeight(h) => fold::sum(h, f64::from) / h.len() as f64,
        }
    }

    /// Panics when the lengths differ, which the types cannot exclude.
    pub(crate) fn check(&self) {
        if let Sensitivity::PerWeight(h) = self.h {
            assert_eq!(h.len(), self.weights.len(), "one sensitivity per weight");
        }
    }

    /// Calls `f(weight, h)` in order.
    #[inline]
    pub(crate) fn for_each(&self, mut f: impl FnMut(f32, f32)) {
        match self.h {
            Sensitivity::Constant(h) => self.weights.iter().for_each(|&w| f(w, h)),
            Sensitivity::PerWeight(h) => self.weights.iter().zip(h).for_each(|(&w, &h)| f(w, h)),
        }
    }
}

/// Range of weights, from one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    pub(crate) min: f32,
    pub(crate) max: f32,
    pub(crate) n: usize,
}

impl Survey {
    pub(crate) fn of(parts: &[Source]) -> Self {
        const LANES: usize = 8;
        let take = |(min, max): &mut ([f32; LANES], [f32; LANES]), lane: usize, w: f32| {
            min[lane] = if w < min[lane] { w } else { min[lane] };
            max[lane] = if w > max[lane] { w } else { max[lane] };
        };
        let (min, max) = fold::fold(
            parts,
            fold::GROUPS,
            || ([f32::MAX; LANES], [f32::MIN; LANES]),
            |lanes, _, chunk| {
                let mut rows = chunk.weights.chunks_exact(LANES);
                for row in &mut rows {
                    for (lane, &w) in row.iter().enumerate() {
                        take(lanes, lane, w);
                    }
                }
                rows.remainder().iter().for_each(|&w| take(lanes, 0, w));
                #[cfg(debug_assertions)]
                chunk.for_each(|w, h| {
                    debug_assert!(w.is_finite(), "weights are finite");
                    debug_assert!(h >= 0.0 && h.is_finite(), "sensitivities are finite and >= 0");
                });
            },
            |a, b| {
                for lane in 0..LANES {
                    take(a, lane, b.0[lane]);
                    take(a, lane, b.1[lane]);
                }
            },
        );
        Survey {
            min: min.into_iter().fold(f32::MAX, f32::min),
            max: max.into_iter().fold(f32::MIN, f32::max),
            n: parts.iter().map(Source::len).sum(),
        }
    }

    /// Largest magnitude; 0 without weights.
    pub(crate) fn magnitude(&self) -> f32 {
        if self.n == 0 {
            0.0
        } else {
            self.min.abs().max(self.max.abs())
        }
    }
}

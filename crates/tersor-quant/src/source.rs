//! What is quantized: weights and how sensitive the loss is to each.

/// Sensitivities h >= 0 of the weights of a [`Source`], in loss per squared weight unit.
#[derive(Clone, Copy, Debug)]
pub enum Sensitivity<'a> {
    /// The same for every weight.
    Constant(f32),
    /// One per weight, in the order of the weights.
    PerWeight(&'a [f32]),
}

impl Sensitivity<'_> {
    /// Sensitivity of weight `index`; 0 beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::Constant(h) => *h,
            Self::PerWeight(h) => h.get(index).copied().unwrap_or(0.0),
        }
    }
}

/// One tensor, or a chunk of one: finite weights in row-major order, with their sensitivities.
///
/// A slice of sources is quantized together: one source for a codebook per tensor, all of them for a global one.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The weights.
    pub weights: &'a [f32],
    /// Their sensitivities.
    pub h: Sensitivity<'a>,
}

impl<'a> Source<'a> {
    /// A source with the same sensitivity for every weight.
    pub fn constant(weights: &'a [f32], h: f32) -> Self {
        Self { weights, h: Sensitivity::Constant(h) }
    }

    /// A source with one sensitivity per weight.
    ///
    /// # Panics
    /// If the lengths differ (a bug in the caller).
    pub fn per_weight(weights: &'a [f32], h: &'a [f32]) -> Self {
        assert_eq!(weights.len(), h.len(), "one sensitivity per weight");
        Self { weights, h: Sensitivity::PerWeight(h) }
    }

    /// Weights with their sensitivities, in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        let h = self.h;
        self.weights.iter().enumerate().map(move |(i, &w)| (w, h.get(i)))
    }

    /// The part of the source from `start`, at most `len` weights.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        fn part(all: &[f32], start: usize, len: usize) -> &[f32] {
            let start = start.min(all.len());
            all.get(start..start.saturating_add(len).min(all.len())).unwrap_or_default()
        }
        let h = match self.h {
            Sensitivity::Constant(h) => Sensitivity::Constant(h),
            Sensitivity::PerWeight(h) => Sensitivity::PerWeight(part(h, start, len)),
        };
        Self { weights: part(self.weights, start, len), h }
    }
}

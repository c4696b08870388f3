//! The range of weights: all that a grid has to know of them.

use crate::fold;
use crate::rounding::smallest_step;
use crate::source::Source;

/// Least and greatest of some weights.
///
/// Whoever looks at a tensor at many steps finds it once; every grid then follows without a pass over the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Least; above [`max`](Self::max) if there are no weights.
    pub min: f32,
    /// Greatest.
    pub max: f32,
}

impl Span {
    /// Of no weights.
    pub const EMPTY: Span = Span {
        min: f32::MAX,
        max: f32::MIN,
    };

    /// Of all weights of all parts: one pass.
    pub fn of(parts: &[Source]) -> Self {
        fold::fold(
            parts,
            fold::GROUPS,
            || Span::EMPTY,
            |span, _, chunk| {
                *span = span.join(Span::of_slice(chunk.weights));
                #[cfg(debug_assertions)]
                chunk.for_each(|w, h| {
                    debug_assert!(w.is_finite(), "weights are finite");
                    debug_assert!(h >= 0.0 && h.is_finite(), "sensitivities are finite and >= 0");
                });
            },
            |a, b| *a = a.join(b),
        )
    }

    /// Of a slice, on the calling thread.
    pub fn of_slice(weights: &[f32]) -> Self {
        // Independent lanes, which the compiler turns into vectors.
        const LANES: usize = 16;
        let (mut min, mut max) = ([f32::MAX; LANES], [f32::MIN; LANES]);
        let mut rows = weights.chunks_exact(LANES);
        for row in &mut rows {
            for ((min, max), &w) in min.iter_mut().zip(&mut max).zip(row) {
                *min = if w < *min { w } else { *min };
                *max = if w > *max { w } else { *max };
            }
        }
        let weights = rows.remainder();
        Span {
            min: min.iter().chain(weights).copied().fold(f32::MAX, f32::min),
            max: max.iter().chain(weights).copied().fold(f32::MIN, f32::max),
        }
    }

    /// Of both.
    #[must_use]
    pub fn join(self, other: Span) -> Span {
        Span {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Whether there are no weights.
    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Largest magnitude; 0 without weights.
    pub fn magnitude(self) -> f32 {
        if self.is_empty() {
            0.0
        } else {
            self.min.abs().max(self.max.abs())
        }
    }

    /// Smallest step, within a few parts in 10^5, whose grid needs no more than 65,536 levels.
    pub fn min_step(self) -> f32 {
        smallest_step(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_wherever_they_stand() {
        for at in 0..40 {
            let mut w = [0.5; 40];
            w[at] = -2.0;
            w[39 - at] = 3.0;
            let span = Span::of(&[Source::constant(&w, 1.0)]);
            assert_eq!(
                (span.min, span.max, span.magnitude()),
                (-2.0, 3.0, 3.0),
                "at {at}"
            );
        }
        assert!(Span::of(&[]).is_empty());
        assert_eq!(Span::EMPTY.magnitude(), 0.0);
    }

    #[test]
    fn joining_with_nothing_changes_nothing() {
        let span = Span { min: -1.0, max: 0.25 };
        assert_eq!(span.join(Span::EMPTY), span);
    }
}

//! Weights to grid indices, without branches.

use crate::error::{Error, MAX_LEVELS, Result, positive_step};
use crate::span::Span;

/// Adding and subtracting 1.5 x 2^23 rounds a number below 2^22 to an integer, ties to even, on any machine
/// and in any vector width; the integer stands in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

/// Largest magnitude of an index: what the rounding above allows, with one to spare.
pub(crate) const MAX_INDEX: f32 = 4_194_303.0;

/// Rounds weights to indices of a grid of a given range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    inverse: f32,
    low: f32,
    high: f32,
    step: f32,
}

impl Rounding {
    /// For indices `first ..= first + n_levels - 1`; what lies outside goes to the nearest end.
    pub(crate) fn new(step: f32, first: i32, n_levels: usize) -> Self {
        let last = first + n_levels.max(1) as i32 - 1;
        Rounding {
            inverse: 1.0 / step,
            low: first as f32,
            high: last as f32,
            step,
        }
    }

    /// The index as a float, and its value `step * index`.
    #[inline]
    pub(crate) fn index_and_value(&self, w: f32) -> (f32, f32) {
        let x = w * self.inverse;
        let x = if x > self.low { x } else { self.low };
        let x = if x < self.high { x } else { self.high };
        let index = (x + MAGIC) - MAGIC;
        (index, self.step * index)
    }

    /// The index.
    #[inline]
    pub(crate) fn index(&self, w: f32) -> i32 {
        integer(self.index_and_value(w).0)
    }
}

/// An integer-valued float below 2^22 as an integer. (`as` would also handle NaN and range, slowly.)
#[inline]
pub(crate) fn integer(x: f32) -> i32 {
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// First index and number of levels of the smallest grid that holds all weights.
pub(crate) fn fit(span: Span, step: f32) -> Result<(i32, usize)> {
    positive_step(step)?;
    if span.is_empty() {
        return Ok((0, 0));
    }
    let smallest = smallest_step(span);
    let largest = f64::from(span.magnitude()) / f64::from(step);
    if largest > f64::from(MAX_INDEX) {
        return Err(Error::StepTooSmall {
            step,
            needed: largest as u64,
            limit: MAX_INDEX as u64,
            smallest,
        });
    }
    let all = Rounding::new(step, -(MAX_INDEX as i32), 2 * MAX_INDEX as usize + 1);
    // Multiplying by a positive number and rounding are monotone, so the ends bound all indices.
    let (first, last) = (all.index(span.min), all.index(span.max));
    let n_levels = (last - first) as usize + 1;
    if n_levels > MAX_LEVELS {
        return Err(Error::StepTooSmall {
            step,
            needed: n_levels as u64,
            limit: MAX_LEVELS as u64,
            smallest,
        });
    }
    Ok((first, n_levels))
}

/// A step, at most a few parts in 10^5 above the smallest one, that [`fit`] accepts.
pub(crate) fn smallest_step(span: Span) -> f32 {
    if span.is_empty() {
        return f32::MIN_POSITIVE;
    }
    let width = (f64::from(span.max) - f64::from(span.min)) / (MAX_LEVELS - 2) as f64;
    let index = f64::from(span.magnitude()) / f64::from(MAX_INDEX - 2.0);
    (width.max(index) as f32).next_up().max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn span(w: &[f32]) -> Span {
        Span::of(&[Source::constant(w, 1.0)])
    }

    #[test]
    fn indices_are_rounded_to_nearest_and_clamped() {
        let r = Rounding::new(0.5, -2, 5);
        let got: Vec<i32> = [-9.0, -1.1, -0.2, 0.0, 0.26, 0.7, 0.8, 9.0]
            .iter()
            .map(|&w| r.index(w))
            .collect();
        assert_eq!(got, [-2, -2, 0, 0, 1, 1, 2, 2]);
        assert_eq!(r.index_and_value(0.7), (1.0, 0.5));
    }

    #[test]
    fn the_range_is_tight_and_need_not_hold_zero() {
        assert_eq!(fit(span(&[5.1, 6.9]), 1.0), Ok((5, 3)));
        assert_eq!(fit(span(&[-0.4]), 1.0), Ok((0, 1)));
        assert_eq!(fit(span(&[]), 1.0), Ok((0, 0)));
    }

    #[test]
    fn a_step_too_small_names_one_that_fits() {
        for w in [
            vec![-1.0, 1.0],
            vec![1e6, 1e6 + 1.0],
            vec![3e-30, -1e-30],
            vec![3e38, -3e38],
        ] {
            let span = span(&w);
            let step = smallest_step(span) * 0.9;
            let Err(Error::StepTooSmall { smallest, .. }) = fit(span, step) else {
                panic!("step {step:e} fits {w:?}")
            };
            let (_, n_levels) = fit(span, smallest).unwrap();
            assert!(n_levels <= MAX_LEVELS, "{n_levels} levels");
        }
    }
}

//! Assignment to the nearest of given levels.

use crate::error::{Error, MAX_LEVELS, Result};
use crate::fold::map_out;
use crate::report::Report;
use crate::source::Source;

/// Assigns each weight to the nearest level and reports the cost.
///
/// `levels` ascend. If `zero` names the symbol of a level reserved for exact zeros, then zeros (of either sign)
/// get that symbol and no other weight does. Ties go to the lower level. The nearest level is exact: thresholds
/// are computed in `f64` and rounded so that no `f32` lies between. `O(log levels)` per weight.
///
/// # Errors
/// [`Error::Levels`] if there are more than 65,536 levels, or none for a weight.
///
/// # Panics
/// If `out` and the source differ in length.
pub fn assign_nearest(source: &Source, levels: &[f32], zero: Option<u16>, out: &mut [u16]) -> Result<Report> {
    let usable = levels.len() - usize::from(zero.is_some()).min(levels.len());
    if levels.len() > MAX_LEVELS
        || (usable == 0 && source.weights.iter().any(|&w| w != 0.0 || zero.is_none()))
    {
        return Err(Error::Levels {
            got: levels.len(),
            min: 1 + usize::from(zero.is_some()),
            why: "",
        });
    }
    let nearest = Nearest::new(levels, zero.map(usize::from));
    let tallies = map_out(source, out, |chunk, out| {
        let mut tally = Tally::new(levels.len());
        let mut out = out.iter_mut();
        chunk.for_each(|w, h| {
            let symbol = nearest.symbol(w);
            tally.add(symbol, w - levels[symbol], h);
            if let Some(out) = out.next() {
                *out = symbol as u16;
            }
        });
        tally
    });
    Ok(Tally::total(levels.len(), &tallies))
}

/// Counts and losses while they are added up.
pub(crate) struct Tally {
    pub(crate) counts: Vec<u64>,
    pub(crate) weighted: f64,
    pub(crate) squared: f64,
}

impl Tally {
    pub(crate) fn new(n_levels: usize) -> Self {
        Tally {
            counts: vec![0; n_levels],
            weighted: 0.0,
            squared: 0.0,
        }
    }

    /// Adds a weight at distance `d` from its level.
    #[inline]
    pub(crate) fn add(&mut self, symbol: usize, d: f32, h: f32) {
        let d2 = f64::from(d) * f64::from(d);
        self.counts[symbol] += 1;
        self.squared += d2;
        self.weighted += f64::from(h) * d2;
    }

    /// The report of tallies, added in order.
    pub(crate) fn total(n_levels: usize, tallies: &[Tally]) -> Report {
        let mut sum = Tally::new(n_levels);
        for tally in tallies {
            sum.merge(tally);
        }
        sum.report()
    }

    pub(crate) fn merge(&mut self, other: &Tally) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a += b);
        self.weighted += other.weighted;
        self.squared += other.squared;
    }

    pub(crate) fn report(self) -> Report {
        Report::new(self.counts, 0.5 * self.weighted, self.squared)
    }
}

/// Finds the nearest of ascending levels.
pub(crate) struct Nearest {
    /// A power of two of them, ascending, padded with infinity.
    thresholds: Vec<f32>,
    /// Symbol of the level reserved for zeros, or one that cannot be reached.
    zero: usize,
    reserved: bool,
}

impl Nearest {
    pub(crate) fn new(levels: &[f32], zero: Option<usize>) -> Self {
        let usable: Vec<f32> = levels
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != zero)
            .map(|(_, &v)| v)
            .collect();
        let middle = |pair: &[f32]| below(0.5 * (f64::from(pair[0]) + f64::from(pair[1])));
        let mut thresholds: Vec<f32> = usable.windows(2).map(middle).collect();
        thresholds.resize((thresholds.len() + 1).next_power_of_two(), f32::INFINITY);
        Nearest {
            thresholds,
            zero: zero.unwrap_or(usize::MAX),
            reserved: zero.is_some(),
        }
    }

    #[inline]
    pub(crate) fn symbol(&self, w: f32) -> usize {
        if self.reserved && w == 0.0 {
            return self.zero;
        }
        let rank = rank(&self.thresholds, w);
        rank + usize::from(rank >= self.zero)
    }
}

/// How many of the thresholds lie below `w`.
///
/// There are a power of two of them, they ascend, and the last is infinity. The steps do not depend on the
/// data, so nothing is mispredicted.
#[inline]
pub(crate) fn rank(thresholds: &[f32], w: f32) -> usize {
    let mut rank = 0;
    let mut half = thresholds.len() / 2;
    while half > 0 {
        rank += if thresholds[rank + half - 1] < w { half } else { 0 };
        half /= 2;
    }
    rank
}

/// Largest `f32` not above `x`: for every `f32` `w`, `w > below(x)` if and only if `w > x`.
pub(crate) fn below(x: f64) -> f32 {
    let rounded = x as f32;
    if f64::from(rounded) > x {
        rounded.next_down()
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_lower_level() {
        let mut out = [9; 5];
        let w = [-3.0, -0.5, 0.0, 0.5, 3.0];
        let report = assign_nearest(&Source::constant(&w, 2.0), &[-1.0, 0.0, 1.0], None, &mut out).unwrap();
        assert_eq!(out, [0, 0, 1, 1, 2]);
        assert_eq!(report, Report::new(vec![2, 2, 1], 8.5, 8.5)); // 4 + 1/4 + 0 + 1/4 + 4
    }

    #[test]
    fn adjacent_floats_are_told_apart() {
        // The middle of the two is no f32; rounded to even it is the upper one.
        let low = 1f32.next_up();
        let levels = [low, low.next_up()];
        let mut out = [9; 2];
        assign_nearest(&Source::constant(&levels, 1.0), &levels, None, &mut out).unwrap();
        assert_eq!(out, [0, 1]);
    }

    #[test]
    fn a_reserved_zero_level_takes_zeros_and_nothing_else() {
        let mut out = [9; 5];
        let w = [-1e-9, -0.0, 0.0, 1e-9, 5.0];
        assign_nearest(&Source::constant(&w, 1.0), &[-1.0, 0.0, 1.0], Some(1), &mut out).unwrap();
        assert_eq!(out, [0, 1, 1, 2, 2]);
    }

    #[test]
    fn no_level_for_a_weight_is_an_error() {
        let (one, zero) = (Source::constant(&[1.0], 1.0), Source::constant(&[0.0], 1.0));
        assert!(assign_nearest(&one, &[], None, &mut [0]).is_err());
        assert!(assign_nearest(&one, &[0.0], Some(0), &mut [0]).is_err());
        assert!(assign_nearest(&zero, &[0.0], Some(0), &mut [0]).is_ok());
        assert!(assign_nearest(&Source::constant(&[], 1.0), &[], None, &mut []).is_ok());
    }

    proptest! {
        #[test]
        fn the_level_found_is_the_nearest(mut levels in prop::collection::vec(-1e3f32..1e3, 1..40), w in -2e3f32..2e3) {
            levels.sort_by(f32::total_cmp);
            let mut out = [0];
            assign_nearest(&Source::constant(&[w], 1.0), &levels, None, &mut out).unwrap();
            let distance = |v: f32| (f64::from(w) - f64::from(v)).abs();
            let best = levels.iter().map(|&v| distance(v)).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(distance(levels[usize::from(out[0])]), best);
        }
    }
}

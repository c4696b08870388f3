//! The cheapest level of a weight under its own sensitivity, in `O(log k)`.
//!
//! Divide the cost `1/2 h (w - c)^2 + s b` by `h / 2`: for one `h` the levels are parabolas over `w` of equal
//! curvature, `(w - c)^2 + m b` with `m = 2 s / h`, and the cheapest ones form a lower envelope: intervals of `w`
//! with thresholds at `(c + c') / 2 + m (b' - b) / (2 (c' - c))`. Sensitivities differ, so they are grouped into
//! classes `[h1, h2)` of neighbouring floats (8 per octave). For a fixed `w` the cost of each level is a *line* in
//! `m`, so the values of `m` for which one level is cheapest form an interval: a level that is cheapest at both ends
//! of a class is cheapest at every `h` between. A class table holds where on the `w` axis that is so, and
//! with which level; in the narrow strips where the ends disagree the levels are searched outwards from `w`.
//!
//! So the choice is the true minimum, not an approximation (up to the rounding of `f64`). Ties go to the lower level.

use crate::levels::{below, rank};

/// Marks a strip where the ends of a class disagree.
const SEARCH: u32 = u32::MAX;

/// Shifts of the bits of `h` that leave its class: 8, 4, 2 or 1 per octave; the coarser ones if tables would not fit a cache.
const SHIFTS: std::ops::RangeInclusive<u32> = 20..=23;

/// Most entries of all class tables before classes are made coarser: 8 MiB.
const MAX_ENTRIES: usize = 1 << 20;

/// Shift that puts every `h` in class 0.
const ONE_CLASS: u32 = 31;

/// Levels with the loss that their rate stands for.
pub(super) struct Choices {
    /// Ascending.
    levels: Vec<f64>,
    /// `slope * bits`.
    prices: Vec<f64>,
    least_price: f64,
    cheapest: usize,
}

/// Tables for the classes of a range of sensitivities.
pub(super) struct Table {
    shift: u32,
    first_class: u32,
    /// Entries per class, a power of two.
    stride: usize,
    thresholds: Vec<f32>,
    labels: Vec<u32>,
}

/// Segments of the `w` axis: `labels[i]` up to and with `thresholds[i]`, the last one without end.
#[derive(Clone)]
struct Segments {
    thresholds: Vec<f32>,
    labels: Vec<u32>,
}

impl Choices {
    pub(super) fn new(levels: &[f32], prices: Vec<f64>) -> Self {
        let first_least = |best: usize, i: usize| if prices[i] < prices[best] { i } else { best };
        let cheapest = (0..prices.len()).fold(0, first_least);
        let least_price = prices.get(cheapest).copied().unwrap_or(0.0);
        Choices {
            levels: levels.iter().map(|&v| f64::from(v)).collect(),
            prices,
            least_price,
            cheapest,
        }
    }

    /// The cheapest level, found outwards from `w`: no level further away than one already too far can win.
    pub(super) fn search(&self, w: f32, h: f32) -> usize {
        if h == 0.0 {
            return self.cheapest;
        }
        let (w, half_h) = (f64::from(w), 0.5 * f64::from(h));
        let loss = |i: usize| half_h * (w - self.levels[i]).powi(2);
        let (mut best, mut least) = (self.cheapest, loss(self.cheapest) + self.prices[self.cheapest]);
        let middle = self.levels.partition_point(|&v| v < w);
        let too_far = |i: &usize, least: f64| loss(*i) + self.least_price > least;
        for i in (0..middle).rev() {
            if too_far(&i, least) {
                break;
            }
            let cost = loss(i) + self.prices[i];
            if cost < least || (cost == least && i < best) {
                (best, least) = (i, cost);
            }
        }
        for i in middle..self.levels.len() {
            if too_far(&i, least) {
                break;
            }
            let cost = loss(i) + self.prices[i];
            if cost < least || (cost == least && i < best) {
                (best, least) = (i, cost);
            }
        }
        best
    }

    /// The lower envelope at one sensitivity. `O(k)`: a level is dropped when its interval becomes empty.
    fn envelope(&self, h: f32) -> Segments {
        if h == 0.0 {
            return Segments {
                thresholds: Vec::new(),
                labels: vec![self.cheapest as u32],
            };
        }
        let m = 2.0 / f64::from(h);
        let mut labels: Vec<u32> = Vec::with_capacity(self.levels.len());
        let mut edges: Vec<f64> = Vec::with_capacity(self.levels.len());
        for j in 0..self.levels.len() {
            let mut edge = None;
            let mut hidden = false;
            while let Some(&top) = labels.last() {
                let i = top as usize;
                let (ci, cj) = (self.levels[i], self.levels[j]);
                let dearer = self.prices[j] - self.prices[i];
                if ci == cj {
                    // Same place: the cheaper one, or the lower.
                    hidden = dearer >= 0.0;
                    if hidden {
                        break;
                    }
                } else {
                    let at = 0.5 * (ci + cj) + m * dearer / (2.0 * (cj - ci));
                    if edges.last().is_none_or(|&last| at > last) {
                        edge = Some(at);
                        break;
                    }
                }
                labels.pop();
                edges.pop();
            }
            if !hidden {
                edges.extend(edge);
                labels.push(j as u32);
            }
        }
        Segments {
            thresholds: edges.into_iter().map(below).collect(),
            labels,
        }
    }
}

impl Segments {
    /// Where both agree their label, elsewhere [`SEARCH`].
    fn agreement(&self, other: &Segments) -> Segments {
        let mut both = Segments {
            thresholds: Vec::new(),
            labels: Vec::new(),
        };
        let (mut i, mut j) = (0, 0);
        loop {
            let (a, b) = (self.labels[i], other.labels[j]);
            both.labels.push(if a == b { a } else { SEARCH });
            let next = |s: &Segments, i: usize| s.thresholds.get(i).copied().unwrap_or(f32::INFINITY);
            let (end_a, end_b) = (next(self, i), next(other, j));
            let end = end_a.min(end_b);
            if end == f32::INFINITY {
                return both;
            }
            both.thresholds.push(end);
            i += usize::from(end_a == end);
            j += usize::from(end_b == end);
        }
    }
}

impl Table {
    /// For one sensitivity.
    pub(super) fn constant(choices: &Choices, h: f32) -> Self {
        Self::pack(ONE_CLASS, 0, &[choices.envelope(h)])
    }

    /// For all sensitivities from `low` to `high`. `O(classes * k)` time and 16 bytes each of memory, for 25 classes
    /// in a factor of 8.
    pub(super) fn range(choices: &Choices, low: f32, high: f32) -> Self {
        let entries = (2 * choices.levels.len()).next_power_of_two();
        let class = |h: f32, shift: u32| bits(h) >> shift;
        let fits =
            |shift: &u32| (class(high, *shift) - class(low, *shift) + 1) as usize * entries <= MAX_ENTRIES;
        let shift = SHIFTS.clone().find(fits).unwrap_or(*SHIFTS.end());
        let (first, last) = (class(low, shift), class(high, shift));
        let mut start = choices.envelope(f32::from_bits(first << shift));
        let mut segments = Vec::with_capacity((last - first) as usize + 1);
        for class in first..=last {
            // The end of the last class may be infinity: there the nearest level is best.
            let end = choices.envelope(f32::from_bits((class + 1) << shift));
            segments.push(start.agreement(&end));
            start = end;
        }
        Self::pack(shift, first, &segments)
    }

    fn pack(shift: u32, first_class: u32, classes: &[Segments]) -> Self {
        let stride = classes
            .iter()
            .map(|s| s.labels.len())
            .max()
            .unwrap_or(1)
            .next_power_of_two();
        let mut table = Table {
            shift,
            first_class,
            stride,
            thresholds: vec![f32::INFINITY; stride * classes.len()],
            labels: vec![SEARCH; stride * classes.len()],
        };
        for (i, class) in classes.iter().enumerate() {
            let row = i * stride;
            table.thresholds[row..row + class.thresholds.len()].copy_from_slice(&class.thresholds);
            table.labels[row..row + class.labels.len()].copy_from_slice(&class.labels);
        }
        table
    }

    /// The level of least cost for a weight whose sensitivity lies in the range of this table.
    #[inline]
    pub(super) fn choose(&self, choices: &Choices, w: f32, h: f32) -> usize {
        let row = ((bits(h) >> self.shift) - self.first_class) as usize * self.stride;
        let rank = rank(&self.thresholds[row..row + self.stride], w);
        let label = self.labels[row + rank];
        if label == SEARCH {
            choices.search(w, h)
        } else {
            label as usize
        }
    }
}

/// The bits of a sensitivity; those of numbers >= 0 are ordered like the numbers.
#[inline]
fn bits(h: f32) -> u32 {
    h.to_bits() & (u32::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(c: &Choices, w: f32, h: f32, i: usize) -> f64 {
        0.5 * f64::from(h) * (f64::from(w) - c.levels[i]).powi(2) + c.prices[i]
    }

    fn least(c: &Choices, w: f32, h: f32) -> f64 {
        (0..c.levels.len())
            .map(|i| cost(c, w, h, i))
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn equal_weights_of_different_sensitivity_go_to_different_levels() {
        let choices = Choices::new(&[0.0, 1.0], vec![0.5, 8.0]);
        let table = Table::range(&choices, 1.0, 100.0);
        assert_eq!(table.choose(&choices, 0.9, 1.0), 0, "0.405 + 0.5 < 0.005 + 8");
        assert_eq!(table.choose(&choices, 0.9, 100.0), 1, "40.5 + 0.5 > 0.5 + 8");
    }

    #[test]
    fn a_level_that_is_never_cheapest_is_not_on_the_envelope() {
        let choices = Choices::new(&[0.0, 1.0, 2.0], vec![1.0, 9.0, 1.0]);
        assert_eq!(choices.envelope(2.0).labels, [0, 2]);
        assert_eq!(choices.envelope(100.0).labels, [0, 1, 2]);
        assert_eq!(choices.envelope(0.0).labels, [0]);
    }

    proptest! {
        #[test]
        fn the_choice_is_the_minimum_over_all_levels(
            levels in prop::collection::vec((-2f32..2.0, 0f64..6.0), 1..24),
            weights in prop::collection::vec((-3f32..3.0, -20f32..20.0), 1..50),
        ) {
            let mut levels = levels;
            levels.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (values, prices): (Vec<f32>, Vec<f64>) = levels.into_iter().unzip();
            let choices = Choices::new(&values, prices);
            let weights: Vec<(f32, f32)> = weights.into_iter().map(|(w, e)| (w, e.exp2())).collect();
            let h = || weights.iter().map(|&(_, h)| h);
            let table = Table::range(&choices, h().fold(f32::MAX, f32::min), h().fold(0.0, f32::max));
            for &(w, h) in &weights {
                let least = least(&choices, w, h);
                let bound = least + 1e-12 * least.abs();
                prop_assert!(cost(&choices, w, h, table.choose(&choices, w, h)) <= bound, "classes");
                prop_assert!(cost(&choices, w, h, choices.search(w, h)) <= bound, "search");
                let constant = Table::constant(&choices, h);
                prop_assert!(cost(&choices, w, h, constant.choose(&choices, w, h)) <= bound, "constant");
            }
        }
    }

    #[test]
    fn the_extreme_sensitivities_have_a_class() {
        let choices = Choices::new(&[-1.0, 1.0], vec![2.0, 1.0]);
        let table = Table::range(&choices, 0.0, f32::MAX);
        for (h, level) in [(0.0, 1), (-0.0, 1), (1e-45, 1), (f32::MAX, 0)] {
            assert_eq!(table.choose(&choices, -1.0, h), level, "h = {h:e}");
        }
    }
}

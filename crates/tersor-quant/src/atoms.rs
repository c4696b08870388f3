//! Weights as few sorted points with prefix sums: what one-dimensional clustering works on.

use rayon::prelude::*;

use crate::fold;
use crate::source::Source;

/// Up to this many weights are sorted; more go through a histogram.
pub(crate) const SORT_LIMIT: usize = 1 << 20;

/// Groups of the histogram pass; each touches up to 8 MiB.
const HISTOGRAM_GROUPS: usize = 16;

/// A bin is the sign, the exponent and this many mantissa bits: 0.2 % relative width.
const MANTISSA_BITS: u32 = 9;
const BIN_SHIFT: u32 = 23 - MANTISSA_BITS;
const N_BINS: usize = 1 << (32 - BIN_SHIFT);

/// Points in ascending order with prefix sums of `h`, `h x` and `h x^2`.
///
/// A point is a distinct value or a bin of nearby values; the loss inside a bin is part of the sums. Weights of
/// sensitivity 0 cost nothing anywhere and are left out, unless all are 0: then all count alike. Positions
/// are relative to the mean, so that differences of prefix sums keep their digits.
pub(crate) struct Atoms {
    /// Positions relative to `origin`.
    at: Vec<f64>,
    /// Sums over all points before this one; one entry more than points.
    before: Vec<Moments>,
    origin: f64,
    /// Whether every point is a single value.
    pub(crate) exact: bool,
    /// Whether exact zeros were left out.
    pub(crate) has_zeros: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moments {
    h: f64,
    hx: f64,
    hxx: f64,
}

impl Moments {
    fn of(h: f64, x: f64) -> Self {
        Moments {
            h,
            hx: h * x,
            hxx: h * x * x,
        }
    }

    fn plus(self, other: Moments) -> Self {
        Moments {
            h: self.h + other.h,
            hx: self.hx + other.hx,
            hxx: self.hxx + other.hxx,
        }
    }

    /// The same mass with positions relative to `origin`.
    fn shifted(self, origin: f64) -> Self {
        let hxx = self.hxx - 2.0 * origin * self.hx + origin * origin * self.h;
        Moments {
            h: self.h,
            hx: self.hx - origin * self.h,
            hxx: hxx.max(0.0),
        }
    }
}

impl Atoms {
    /// All weights but exact zeros: sorted if there are few or `exact` is asked for, else binned.
    pub(crate) fn of(parts: &[Source], exact: bool) -> Self {
        let n: usize = parts.iter().map(Source::len).sum();
        if exact || n <= SORT_LIMIT {
            Self::sorted(parts)
        } else {
            Self::binned(parts)
        }
    }

    /// `O(n log n)` time, 8 bytes per weight and 56 per distinct value.
    fn sorted(parts: &[Source]) -> Self {
        let mut pairs = Vec::with_capacity(parts.iter().map(Source::len).sum());
        for part in parts {
            part.check();
            part.for_each(|w, h| pairs.push((w, h)));
        }
        let n = pairs.len();
        pairs.retain(|&(w, _)| w != 0.0);
        let has_zeros = pairs.len() < n;
        if pairs.iter().all(|&(_, h)| h == 0.0) {
            for (_, h) in &mut pairs {
                *h = 1.0;
            }
        }
        pairs.retain(|&(_, h)| h > 0.0);
        // Ordering ties by h makes equal entries identical, and so the sums independent of the sorting.
        pairs.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (h, hx) = pairs.iter().fold((0.0, 0.0), |(h, hx), &(w, g)| {
            (h + f64::from(g), hx + f64::from(g) * f64::from(w))
        });
        let origin = if h > 0.0 { hx / h } else { 0.0 };
        let points = pairs.chunk_by(|a, b| a.0 == b.0).map(|equal| {
            let x = f64::from(equal[0].0) - origin;
            (x, Moments::of(equal.iter().map(|&(_, h)| f64::from(h)).sum(), x))
        });
        Self::from_points(points, origin, true, has_zeros)
    }

    /// One pass without a copy of the weights.
    fn binned(parts: &[Source]) -> Self {
        #[derive(Clone, Copy, Default)]
        struct Bin {
            count: f64,
            x: f64,
            moments: Moments,
        }
        let bins = fold::fold(
            parts,
            HISTOGRAM_GROUPS,
            || vec![Bin::default(); N_BINS],
            |bins, _, chunk| {
                chunk.for_each(|w, h| {
                    let (x, h) = (f64::from(w), f64::from(h));
                    let bin = &mut bins[bin_of(w)];
                    bin.count += 1.0;
                    bin.x += x;
                    bin.moments = bin.moments.plus(Moments::of(h, x));
                });
            },
            |a, b| {
                for (a, b) in a.iter_mut().zip(b).filter(|(_, b)| b.count > 0.0) {
                    *a = Bin {
                        count: a.count + b.count,
                        x: a.x + b.x,
                        moments: a.moments.plus(b.moments),
                    };
                }
            },
        );
        // Exact zeros share the two bins around zero with subnormals below 2^-135 only.
        let zeros = [bin_of(-0.0), bin_of(0.0)];
        let has_zeros = zeros.iter().any(|&z| bins[z].count > 0.0);
        let survivors = || {
            bins.iter()
                .enumerate()
                .filter(|(i, bin)| bin.count > 0.0 && !zeros.contains(i))
        };
        let unweighted = survivors().all(|(_, bin)| bin.moments.h == 0.0);
        let moments = |bin: &Bin| {
            let equal = Moments {
                h: bin.count,
                hx: bin.x,
                hxx: bin.x * bin.x / bin.count,
            };
            if unweighted { equal } else { bin.moments }
        };
        let total = survivors().fold(Moments::default(), |sum, (_, bin)| sum.plus(moments(bin)));
        let origin = if total.h > 0.0 { total.hx / total.h } else { 0.0 };
        let points = survivors()
            .map(|(_, bin)| moments(bin))
            .filter(|m| m.h > 0.0)
            .map(|m| {
                let m = m.shifted(origin);
                (m.hx / m.h, m)
            });
        Self::from_points(points, origin, false, has_zeros)
    }

    fn from_points(
        points: impl Iterator<Item = (f64, Moments)>,
        origin: f64,
        exact: bool,
        has_zeros: bool,
    ) -> Self {
        let (mut at, mut before, mut sum) = (Vec::new(), vec![Moments::default()], Moments::default());
        for (x, moments) in points {
            at.push(x);
            sum = sum.plus(moments);
            before.push(sum);
        }
        Atoms {
            at,
            before,
            origin,
            exact,
            has_zeros,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// `sum h d^2` of points `i..j` around their centre.
    #[inline]
    pub(crate) fn cost(&self, i: usize, j: usize) -> f64 {
        let (a, b) = (&self.before[i], &self.before[j]);
        let (h, hx) = (b.h - a.h, b.hx - a.hx);
        if h > 0.0 {
            (b.hxx - a.hxx - hx * hx / h).max(0.0)
        } else {
            0.0
        }
    }

    /// Weighted mean of points `i..j`, not empty, relative to the origin.
    pub(crate) fn centre(&self, i: usize, j: usize) -> f64 {
        let (a, b) = (&self.before[i], &self.before[j]);
        let h = b.h - a.h;
        // A mass lost to rounding leaves the middle of the run.
        let centre = if h > 0.0 {
            (b.hx - a.hx) / h
        } else {
            0.5 * (self.at[i] + self.at[j - 1])
        };
        centre.clamp(self.at[i], self.at[j - 1])
    }

    /// First point above a position relative to the origin.
    pub(crate) fn first_above(&self, x: f64) -> usize {
        self.at.partition_point(|&at| at <= x)
    }

    /// A position as a weight.
    pub(crate) fn value(&self, x: f64) -> f32 {
        (x + self.origin) as f32
    }

    /// Edges of at most `cells` runs of points with about equal shares of `h^(1/3) width^(2/3)`.
    ///
    /// # Source
    /// Bennett, "Spectra of quantized signals", 1948, and Panter and Dite, 1951: with many levels, the density of the
    /// levels of least loss goes with the cube root of (weighted) density, and the integral of that root is what
    /// is shared out here. It also holds for single values: gaps of random points have mean `width^(2/3)` in
    /// proportion to `density^(-2/3)`.
    pub(crate) fn equal_runs(&self, cells: usize) -> Vec<usize> {
        let n = self.len();
        if n <= cells {
            return (0..=n).collect();
        }
        let share = |i: usize| {
            let width = self.at[(i + 1).min(n - 1)] - self.at[i.saturating_sub(1)];
            (self.before[i + 1].h - self.before[i].h).max(0.0).cbrt() * width.cbrt().powi(2)
        };
        let total: f64 = (0..n).map(share).sum();
        let (mut edges, mut sum) = (vec![0], 0.0);
        for i in 0..n - 1 {
            sum += share(i);
            // As many points must be left as edges are to come; an edge per point at most.
            let left = cells - edges.len();
            if left > 0 && (sum * cells as f64 >= total * edges.len() as f64 || n - 1 - i <= left) {
                edges.push(i + 1);
            }
        }
        edges.push(n);
        edges
    }

    /// The same mass with each run as one point.
    pub(crate) fn merged(&self, edges: &[usize]) -> Self {
        Atoms {
            at: edges.windows(2).map(|e| self.centre(e[0], e[1])).collect(),
            before: edges.iter().map(|&e| self.before[e]).collect(),
            origin: self.origin,
            exact: false,
            has_zeros: self.has_zeros,
        }
    }
}

/// Bins in the order of the weights: the bits of a float, taken as sign and magnitude, are ordered.
#[inline]
fn bin_of(w: f32) -> usize {
    let bits = w.to_bits();
    let ordered = if bits >> 31 == 0 { bits | (1 << 31) } else { !bits };
    (ordered >> BIN_SHIFT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_ordered_like_weights() {
        let w = [-3e38f32, -1.0, -0.999, -1e-30, 0.0, 1e-30, 0.5, 1.0, 3e38];
        assert!(w.windows(2).all(|w| bin_of(w[0]) < bin_of(w[1])));
        assert!(bin_of(f32::MAX) < N_BINS);
    }

    #[test]
    fn prefix_sums_give_cost_and_centre_of_a_run() {
        let atoms = Atoms::sorted(&[Source::per_weight(
            &[3.0, 1.0, 0.0, 1.0, 7.0],
            &[1.0, 1.0, 1.0, 1.0, 0.0],
        )]);
        assert!(atoms.has_zeros);
        assert_eq!(atoms.len(), 2, "1, 3; zero is set apart and 7 weighs nothing");
        assert_eq!(atoms.value(atoms.centre(0, 2)), 5.0 / 3.0);
        assert!(
            (atoms.cost(0, 2) - 8.0 / 3.0).abs() < 1e-12,
            "2 (2/3)^2 + (4/3)^2"
        );
    }

    #[test]
    fn bins_keep_the_moments_of_the_weights() {
        let w: Vec<f32> = (1..4000u16).map(|i| (f32::from(i) * 0.37).sin()).collect();
        let (sorted, binned) = (
            Atoms::sorted(&[Source::constant(&w, 2.0)]),
            Atoms::binned(&[Source::constant(&w, 2.0)]),
        );
        assert!(binned.len() < sorted.len());
        let cost = sorted.cost(0, sorted.len());
        assert!((binned.cost(0, binned.len()) - cost).abs() < 1e-9 * cost);
    }

    #[test]
    fn runs_cover_all_points_and_none_is_empty() {
        let w: Vec<f32> = (1..1000u16).map(|i| f32::from(i).powi(3)).collect();
        let atoms = Atoms::sorted(&[Source::constant(&w, 1.0)]);
        for cells in [1, 2, 10, 998, 999, 5000] {
            let edges = atoms.equal_runs(cells);
            assert_eq!(edges.len() - 1, cells.min(atoms.len()), "{cells} cells");
            assert_eq!((edges[0], edges[edges.len() - 1]), (0, atoms.len()));
            assert!(edges.windows(2).all(|e| e[0] < e[1]));
        }
    }
}

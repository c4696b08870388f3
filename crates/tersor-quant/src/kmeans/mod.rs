//! k-means and Hessian-weighted k-means: the least loss at `k` levels.
//!
//! # Source
//! Choi, El-Khamy, Lee, "Towards the Limit of Network Quantization", 2017: equation 3 (`weighted: false`) and
//! equation 8 (`weighted: true`), `min sum h (w - c)^2` with `c = sum h w / sum h`. Right for codes of fixed length.
//! Theirs is Lloyd's algorithm; in one dimension the optimum can be had, see [`exact`].
//!
//! # Exact zeros
//! If a weight is exactly 0 (it was pruned), one of the `k` levels is exactly 0 and reserved: zeros, and nothing
//! else, are assigned to it, and the other weights are clustered on their own with `k - 1` levels. A survivor
//! is thus never removed here; [`crate::ecsq`] and [`crate::grid`] do that, where removal is priced.

mod dynamic;
mod lloyd;

pub use lloyd::{LloydOptions, lloyd};

use crate::atoms::Atoms;
use crate::error::{Error, MAX_LEVELS, Result};
use crate::fold::{self, GROUPS};
use crate::levels::{Nearest, assign_nearest};
use crate::report::Report;
use crate::source::Source;

/// A codebook for least loss.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// Ascending; as many as asked for, fewer if there are fewer distinct weights.
    pub levels: Vec<f32>,
    /// Symbol of the level reserved for exact zeros, if there are any.
    pub zero: Option<u16>,
    /// Predicted loss `sum 1/2 h d^2` of the weights at their nearest levels; with `h` = 1 if not weighted.
    pub cost: f64,
    /// Iterations done; 1 if the optimum was computed.
    pub iterations: usize,
}

/// The codebook of least loss: dynamic programming over the sorted distinct weights.
///
/// `O(n log n + k n log n)` time for n distinct weights (a million and k = 16: about a second on two cores) and `O(n)` memory,
/// about 100 bytes per distinct weight. For the unweighted optimum pass a constant sensitivity.
///
/// The optimum is that of sums in `f64`; the levels are then rounded to `f32`.
///
/// # Source
/// Wu, "Optimal quantization by matrix searching", 1991; Grønlund et al., "Fast exact k-means, k-medians and
/// Bregman divergence clustering in 1D", 2017 (divide and conquer on monotone minima). Splitting the levels in
/// halves instead of storing all minima (Hirschberg 1975) costs twice the time and saves the `O(k n)` memory.
///
/// # Errors
/// [`Error::Levels`] unless `1 <= k <= 65536`; 2 are needed if there are zeros and others.
pub fn exact(parts: &[Source], k: usize) -> Result<KMeans> {
    let atoms = Atoms::of(parts, true);
    let survivors = survivor_levels(&atoms, k)?;
    let edges = dynamic::best_edges(&atoms, survivors);
    Ok(finish(parts, &atoms, &centres(&atoms, &edges), 1))
}

/// Assigns weights to the nearest levels; exact zeros to their reserved level. Ties go to the lower level.
///
/// # Errors
/// [`Error::Levels`] if the codebook was designed for less than it gets: no level for a weight.
///
/// # Panics
/// If `out` and the source differ in length.
pub fn assign(source: &Source, codebook: &KMeans, out: &mut [u16]) -> Result<Report> {
    assign_nearest(source, &codebook.levels, codebook.zero, out)
}

/// Levels left for weights that are not zero.
fn survivor_levels(atoms: &Atoms, k: usize) -> Result<usize> {
    let min = 1 + usize::from(atoms.has_zeros && atoms.len() > 0);
    if !(min..=MAX_LEVELS).contains(&k) {
        let why = if min > 1 {
            ", one of them for exact zeros"
        } else {
            ""
        };
        return Err(Error::Levels { got: k, min, why });
    }
    Ok(k - usize::from(atoms.has_zeros))
}

fn centres(atoms: &Atoms, edges: &[usize]) -> Vec<f64> {
    edges.windows(2).map(|e| atoms.centre(e[0], e[1])).collect()
}

/// Levels with the reserved zero in place.
fn with_zero(mut survivors: Vec<f32>, has_zeros: bool) -> (Vec<f32>, Option<u16>) {
    if !has_zeros {
        return (survivors, None);
    }
    let place = survivors.partition_point(|&v| v < 0.0);
    survivors.insert(place, 0.0);
    (survivors, Some(place as u16))
}

fn finish(parts: &[Source], atoms: &Atoms, centres: &[f64], iterations: usize) -> KMeans {
    let survivors = centres.iter().map(|&x| atoms.value(x)).collect();
    let (levels, zero) = with_zero(survivors, atoms.has_zeros);
    let cost = 0.5 * weighted_error(parts, &levels, zero);
    KMeans {
        levels,
        zero,
        cost,
        iterations,
    }
}

/// `sum h d^2` at the nearest levels.
fn weighted_error(parts: &[Source], levels: &[f32], zero: Option<u16>) -> f64 {
    if levels.is_empty() {
        return 0.0;
    }
    let nearest = Nearest::new(levels, zero.map(usize::from));
    fold::fold(
        parts,
        GROUPS,
        || 0.0,
        |sum, _, chunk| {
            chunk.for_each(|w, h| {
                let d = f64::from(w - levels[nearest.symbol(w)]);
                *sum += f64::from(h) * d * d;
            });
        },
        |a, b| *a += b,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_by_hand() {
        let w = [0.9, 1.1, 5.0, 5.0, 5.3];
        let best = exact(&[Source::constant(&w, 1.0)], 2).unwrap();
        assert_eq!(best.levels, [1.0, 5.1]);
        assert!((best.cost - 0.5 * (0.02 + 0.06)).abs() < 1e-6, "{}", best.cost);
    }

    #[test]
    fn a_sensitive_weight_draws_its_level() {
        let best = exact(&[Source::per_weight(&[1.0, 2.0], &[3.0, 1.0])], 1).unwrap();
        assert_eq!((best.levels, best.cost), (vec![1.25], 0.375)); // 1/2 (3/16 + 9/16)
    }

    #[test]
    fn enough_levels_cost_nothing() {
        let w = [3.0, -1.0, 3.0, 0.0, 2.0];
        for k in [4, 5, 100] {
            let best = exact(&[Source::constant(&w, 1.0)], k).unwrap();
            assert_eq!(
                (best.levels, best.zero, best.cost),
                (vec![-1.0, 0.0, 2.0, 3.0], Some(1), 0.0)
            );
        }
    }

    #[test]
    fn zeros_take_a_level_of_their_own() {
        let parts = [Source::constant(&[0.0, -0.0, 0.1, 0.3], 1.0)];
        let best = exact(&parts, 2).unwrap();
        assert_eq!((best.levels.clone(), best.zero), (vec![0.0, 0.2], Some(0)));
        let mut out = [9; 4];
        let report = assign(&parts[0], &best, &mut out).unwrap();
        assert_eq!((out, report.distortion), ([0, 0, 1, 1], best.cost));
        assert_eq!(
            exact(&parts, 1).unwrap_err().to_string(),
            "1 levels, allowed are 2 to 65536, one of them for exact zeros"
        );
        assert_eq!(
            exact(&[Source::constant(&[0.0; 3], 1.0)], 1).unwrap().levels,
            [0.0]
        );
    }

    #[test]
    fn no_weights_have_no_levels_and_weights_of_no_sensitivity_have_some() {
        assert_eq!(exact(&[], 4).unwrap().levels, [0f32; 0]);
        assert_eq!(lloyd(&[], 4, &LloydOptions::default()).unwrap().levels, [0f32; 0]);
        let best = exact(&[Source::constant(&[1.0, 3.0], 0.0)], 1).unwrap();
        assert_eq!((best.levels, best.cost), (vec![2.0], 0.0));
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        let parts = [Source::constant(&[1.0], 1.0)];
        assert!(exact(&parts, 0).is_err());
        assert!(exact(&parts, MAX_LEVELS + 1).is_err());
        assert!(lloyd(&parts, 0, &LloydOptions::default()).is_err());
    }
}

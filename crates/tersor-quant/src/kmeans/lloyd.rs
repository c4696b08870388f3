//! Lloyd's algorithm from a nearly optimal start.

use super::{KMeans, centres, dynamic, survivor_levels, weighted_error, with_zero};
use crate::atoms::Atoms;
use crate::error::{Result, not_negative};
use crate::fold::{self, GROUPS};
use crate::levels::Nearest;
use crate::source::Source;

/// Up to this many levels the start is an optimum over coarse points.
const DYNAMIC_LEVELS: usize = 256;

/// Coarse points of that start: many more than levels, so that iterations only have to move thresholds by fractions of a
/// cell. Time goes with points x levels.
const COARSE: usize = 1 << 12;

/// Settings of [`lloyd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LloydOptions {
    /// Whether sensitivities count. Default: true.
    pub weighted: bool,
    /// Most iterations over points or bins. Default: 100.
    pub max_iterations: usize,
    /// Stop when the loss falls by less than this share. Default: 1e-6.
    pub tolerance: f64,
    /// Iterations over the weights themselves when there were too many to sort. Default: 2.
    pub full_passes: usize,
}

impl Default for LloydOptions {
    fn default() -> Self {
        LloydOptions {
            weighted: true,
            max_iterations: 100,
            tolerance: 1e-6,
            full_passes: 2,
        }
    }
}

/// A codebook of `k` levels that is locally optimal, and close to the optimum.
///
/// Up to 2^20 weights are sorted. More are gathered in one pass into logarithmic bins of 0.2 % width with their exact
/// moments, so that only thresholds are rounded, and nothing is copied; `full_passes` iterations over the weights
/// then remove that rounding.
///
/// The start is the optimum ([`super::exact`]) over 4096 coarse points that share out the optimal density of levels; beyond
/// 256 levels it is that density itself (Panter and Dite). Iterations use prefix sums: `O(k log n)` each.
///
/// # Errors
/// [`crate::Error::Levels`] as [`super::exact`]; [`crate::Error::Setting`] for a negative tolerance.
pub fn lloyd(parts: &[Source], k: usize, options: &LloydOptions) -> Result<KMeans> {
    not_negative("tolerance", options.tolerance)?;
    let unweighted: Vec<Source>;
    let parts = if options.weighted {
        parts
    } else {
        unweighted = parts
            .iter()
            .map(|part| Source::constant(part.weights, 1.0))
            .collect();
        &unweighted
    };
    // Bins must be much finer than cells.
    let mut atoms = Atoms::of(parts, false);
    if !atoms.exact && k.saturating_mul(16) > atoms.len() {
        atoms = Atoms::of(parts, true);
    }
    let survivors = survivor_levels(&atoms, k)?;
    let mut x = start(&atoms, survivors);
    let iterations = iterate(&atoms, &mut x, options);

    let (mut levels, zero) = with_zero(x.iter().map(|&x| atoms.value(x)).collect(), atoms.has_zeros);
    let passes = if atoms.exact { 0 } else { options.full_passes };
    for _ in 0..passes {
        recentre(parts, &mut levels, zero);
    }
    let cost = 0.5 * weighted_error(parts, &levels, zero);
    Ok(KMeans {
        levels,
        zero,
        cost,
        iterations: iterations + passes,
    })
}

fn start(atoms: &Atoms, k: usize) -> Vec<f64> {
    if k == 0 || atoms.len() == 0 {
        return Vec::new();
    }
    if k > DYNAMIC_LEVELS {
        return centres(atoms, &atoms.equal_runs(k));
    }
    let coarse = atoms.merged(&atoms.equal_runs(COARSE));
    centres(&coarse, &dynamic::best_edges(&coarse, k))
}

/// Lloyd iterations over points; an emptied cell keeps its level. Returns how many were done.
fn iterate(atoms: &Atoms, x: &mut [f64], options: &LloydOptions) -> usize {
    let mut last = f64::INFINITY;
    for iteration in 0..options.max_iterations {
        let mut cost = 0.0;
        let mut lo = 0;
        for j in 0..x.len() {
            // The next level has not moved yet, this one's old place is still in x[j].
            let hi = x
                .get(j + 1)
                .map_or(atoms.len(), |&next| atoms.first_above(0.5 * (x[j] + next)));
            if lo < hi {
                x[j] = atoms.centre(lo, hi);
                cost += atoms.cost(lo, hi);
            }
            lo = lo.max(hi);
        }
        if last - cost <= options.tolerance * last.min(f64::MAX) {
            return iteration + 1;
        }
        last = cost;
    }
    options.max_iterations
}

/// One Lloyd iteration over the weights.
fn recentre(parts: &[Source], levels: &mut [f32], zero: Option<u16>) {
    if levels.is_empty() {
        return;
    }
    let zero = zero.map(usize::from);
    let nearest = Nearest::new(levels, zero);
    let sums = fold::fold(
        parts,
        GROUPS,
        || vec![(0.0, 0.0); levels.len()],
        |sums, _, chunk| {
            chunk.for_each(|w, h| {
                let (sum_h, sum_hw) = &mut sums[nearest.symbol(w)];
                *sum_h += f64::from(h);
                *sum_hw += f64::from(h) * f64::from(w);
            });
        },
        |a, b| a.iter_mut().zip(b).for_each(|(a, b)| *a = (a.0 + b.0, a.1 + b.1)),
    );
    for (i, (h, hw)) in sums.into_iter().enumerate() {
        if h > 0.0 && Some(i) != zero {
            levels[i] = (hw / h) as f32;
        }
    }
}

//! Iterative entropy-constrained scalar quantization: levels, prices and assignment improve each other.
//!
//! # Source
//! Choi, El-Khamy, Lee, "Towards the Limit of Network Quantization", 2017, section 5.4 and appendix A.2, after Chou,
//! Lookabaugh and Gray, "Entropy-constrained vector quantization", 1989. The paper minimises `D + lambda H` with
//! means over weights and without the 1/2: `D = 1/N sum h d^2`, `H` in bits per weight. Ours is
//! `J = sum 1/2 h d^2 + slope * bits`, so `lambda = 2 slope` and `J = N/2 (D + lambda H)`.
//!
//! # One iteration
//! From levels `c` and prices `b`: assign every weight to its cheapest level (with its own `h`, so cells are not
//! intervals); then `c` becomes the weighted means of the members and `b` the ideal code lengths of the counts.
//!
//! # J never rises
//! Let `A` be an assignment, `J(A, c)` its loss with levels `c` plus slope times its own entropy, which is what a
//! [trace](Ecsq::trace) reports. 1. Means minimise the loss of fixed members, and the nearest `f32` to a mean is no further
//! from it than the `f32` it replaces: `D(A, c') <= D(A, c)`. 2. The new prices are ideal for the counts of `A`: coding `A` at
//! them costs its entropy. 3. The new assignment `A'` takes the true minimum for each weight: its loss with `c'` and cost
//! at the new prices are no more than those of `A`. 4. Its own entropy is no more than its cost at any prices
//! (Gibbs). So `J(A', c') <= J(A, c)`, up to the rounding of `f64`. A level without members vanishes, which
//! takes a choice from nobody. Pinning zeros to a fixed level leaves all four steps as they are.
//!
//! # Cost
//! `O(n log k)` time per iteration, plus `O(classes k)` for tables (some hundred classes); memory for these tables and
//! 64 times the sums of all levels, none per weight. Convergence is to a local optimum that depends on the start.

mod design;
mod table;

pub use design::design;

use crate::error::{Result, not_negative};
use crate::fold::{self, GROUPS, map_out};
use crate::levels::Tally;
use crate::price::{StaticPrices, losses};
use crate::report::Report;
use crate::source::{Sensitivity, Source};
use table::{Choices, Table};

/// Where iterations start.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// Multiples of a step over the range of the weights.
    Uniform {
        /// Distance of the levels.
        step: f32,
    },
    /// [`EcsqConfig::levels`] levels, spread with the density that is optimal without an entropy code.
    Quantiles,
    /// Given levels in any order; duplicates count once.
    Levels(Vec<f32>),
}

/// Settings of [`design`].
#[derive(Clone, Debug, PartialEq)]
pub struct EcsqConfig {
    /// Predicted loss per bit, `>= 0`. Half of the paper's lambda. Default: 0.
    pub slope: f64,
    /// Where to start. Default: [`Init::Quantiles`].
    pub init: Init,
    /// Levels [`Init::Quantiles`] starts with, 1 to 65,536; those that do not pay vanish. Default: 64.
    pub levels: usize,
    /// Stop when the objective falls by less than this share. Default: 1e-4.
    pub tolerance: f64,
    /// Most iterations: over all weights if there are at most [`sample`](Self::sample), else over the sample. Default: 100.
    pub max_iterations: usize,
    /// More weights than this are sampled first; 0 samples never. Default: 2^20.
    pub sample: usize,
    /// Most iterations over all weights after sampling. Default: 4.
    pub full_iterations: usize,
}

impl Default for EcsqConfig {
    fn default() -> Self {
        EcsqConfig {
            slope: 0.0,
            init: Init::Quantiles,
            levels: 64,
            tolerance: 1e-4,
            max_iterations: 100,
            sample: 1 << 20,
            full_iterations: 4,
        }
    }
}

/// One iteration, measured over all weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IterationReport {
    /// The objective `distortion + slope * rate_bits`.
    pub j: f64,
    /// `sum 1/2 h d^2`.
    pub distortion: f64,
    /// Ideal order-0 rate of the symbols.
    pub rate_bits: f64,
    /// Levels with members.
    pub levels_in_use: usize,
}

/// An entropy-constrained codebook.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecsq {
    /// Ascending; none is unused.
    pub levels: Vec<f32>,
    /// Ideal prices at the frequencies of the last iteration.
    pub prices: StaticPrices,
    /// Symbol of the level pinned at exactly 0, if there are exact zeros.
    pub zero: Option<u16>,
    /// The nearest levels of the start, then every iteration over all weights. [`assign`] at the design's slope costs no
    /// more than the last entry, up to the rounding of prices to 1/65536 bit.
    pub trace: Vec<IterationReport>,
    /// Iterations over the sample, which are not in the trace.
    pub sample_iterations: usize,
}

/// Assigns every weight to the level of least `1/2 h d^2 + slope * bits`; exact zeros to the pinned level.
///
/// Ties go to the lower level; a weight of sensitivity 0 goes to the cheapest level. `O(n log k)`. Chunks of a tensor
/// may be assigned one by one; costs that tie to within rounding may then be decided otherwise.
///
/// # Errors
/// [`crate::Error::Setting`] if the slope is negative or not finite; [`crate::Error::Levels`] for a weight and no level.
///
/// # Panics
/// If `out` and the source differ in length.
pub fn assign(source: &Source, codebook: &Ecsq, slope: f64, out: &mut [u16]) -> Result<Report> {
    not_negative("slope", slope)?;
    let k = codebook.levels.len();
    if k == 0 && !source.is_empty() {
        return Err(crate::Error::Levels {
            got: 0,
            min: 1,
            why: "",
        });
    }
    let prices = losses(&codebook.prices, slope, k);
    let assigner = Assigner::new(
        &codebook.levels,
        prices,
        codebook.zero,
        &Sensitivities::of(&[*source]),
    );
    let tallies = map_out(source, out, |chunk, out| {
        let mut tally = Tally::new(k);
        let mut out = out.iter_mut();
        chunk.for_each(|w, h| {
            let symbol = assigner.symbol(0, w, h);
            tally.add(symbol, w - codebook.levels[symbol], h);
            if let Some(out) = out.next() {
                *out = symbol as u16;
            }
        });
        tally
    });
    Ok(Tally::total(k, &tallies))
}

/// What tables must be made for.
struct Sensitivities {
    /// For each part its constant sensitivity, if it has one.
    constants: Vec<Option<f32>>,
    /// Least and greatest of all others.
    range: Option<(f32, f32)>,
}

impl Sensitivities {
    fn of(parts: &[Source]) -> Self {
        let constant = |part: &Source| match part.h {
            Sensitivity::Constant(h) => Some(h),
            Sensitivity::PerWeight(..) => None,
        };
        let constants: Vec<Option<f32>> = parts.iter().map(constant).collect();
        let range = fold::fold(
            parts,
            GROUPS,
            || None,
            |range: &mut Option<(f32, f32)>, _, chunk| {
                if let Sensitivity::PerWeight(h, add) = chunk.h {
                    let (low, high) = h
                        .iter()
                        .fold((f32::MAX, 0.0), |(a, b): (f32, f32), &h| (a.min(h), b.max(h)));
                    *range = join(*range, Some((low.max(0.0) + add, high + add)));
                }
            },
            |a, b| *a = join(*a, b),
        );
        Sensitivities { constants, range }
    }
}

fn join(a: Option<(f32, f32)>, b: Option<(f32, f32)>) -> Option<(f32, f32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// Levels, prices and tables, ready to assign weights.
struct Assigner {
    choices: Choices,
    tables: Vec<Table>,
    /// Which table each part uses.
    table_of: Vec<usize>,
    zero: Option<usize>,
}

impl Assigner {
    fn new(levels: &[f32], prices: Vec<f64>, zero: Option<u16>, h: &Sensitivities) -> Self {
        let choices = Choices::new(levels, prices);
        let mut tables = Vec::new();
        let mut made: Vec<(u32, usize)> = Vec::new();
        let mut table_of = vec![0; h.constants.len()];
        if let (Some((low, high)), false) = (h.range, levels.is_empty()) {
            tables.push(Table::range(&choices, low, high));
        }
        for (part, constant) in h.constants.iter().enumerate() {
            let Some(constant) = *constant else { continue };
            let bits = constant.to_bits();
            table_of[part] = match made.binary_search_by_key(&bits, |&(bits, _)| bits) {
                Ok(i) => made[i].1,
                Err(i) => {
                    made.insert(i, (bits, tables.len()));
                    tables.push(Table::constant(&choices, constant));
                    tables.len() - 1
                }
            };
        }
        Assigner {
            choices,
            tables,
            table_of,
            zero: zero.map(usize::from),
        }
    }

    #[inline]
    fn symbol(&self, part: usize, w: f32, h: f32) -> usize {
        match self.zero {
            Some(zero) if w == 0.0 => zero,
            _ => self.tables[self.table_of[part]].choose(&self.choices, w, h),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codebook(levels: &[f32], bits: &[u32], zero: Option<u16>) -> Ecsq {
        let prices = StaticPrices::from_bits(bits.iter().map(|b| b * crate::PRICE_ONE_BIT).collect());
        Ecsq {
            levels: levels.to_vec(),
            prices,
            zero,
            trace: vec![],
            sample_iterations: 0,
        }
    }

    #[test]
    fn a_dear_level_is_avoided_only_when_rate_is_priced() {
        let codebook = codebook(&[0.0, 1.0], &[1, 9], None);
        let source = Source::constant(&[0.6], 1.0);
        let mut out = [9];
        assign(&source, &codebook, 0.0, &mut out).unwrap();
        assert_eq!(out, [1], "nearest");
        let report = assign(&source, &codebook, 0.02, &mut out).unwrap();
        assert_eq!(out, [0], "0.18 + 0.02 < 0.08 + 0.18");
        assert!((report.distortion - 0.18).abs() < 1e-7);
    }

    #[test]
    fn zeros_stay_zero_whatever_the_price() {
        let codebook = codebook(&[0.0, 0.1], &[20, 1], Some(0));
        let mut out = [9; 3];
        assign(
            &Source::constant(&[0.0, -0.0, 0.01], 1.0),
            &codebook,
            1.0,
            &mut out,
        )
        .unwrap();
        assert_eq!(out, [0, 0, 1]);
    }

    #[test]
    fn a_weight_that_does_not_matter_goes_to_the_cheapest_level() {
        let codebook = codebook(&[-1.0, 0.0, 1.0], &[3, 2, 1], None);
        let mut out = [9; 2];
        let source = Source::per_weight(&[-1.0, -1.0], &[0.0, 100.0]);
        assign(&source, &codebook, 1.0, &mut out).unwrap();
        assert_eq!(out, [2, 0]);
    }

    #[test]
    fn no_level_for_a_weight_is_an_error_and_so_is_a_negative_slope() {
        let source = Source::constant(&[1.0], 1.0);
        assert!(assign(&source, &codebook(&[], &[], None), 0.0, &mut [0]).is_err());
        assert!(assign(&source, &codebook(&[1.0], &[0], None), -1.0, &mut [0]).is_err());
    }
}

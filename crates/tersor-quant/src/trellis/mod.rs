//! Dependent scalar quantization: two quantizers take turns as the parities of the indices before tell, and a dynamic program finds
//! the indices of least cost.
//!
//! Each quantizer is as coarse as a scalar one of twice the step, but where paths lead through the trellis is open, so that the weights of
//! a row together are nearer than one by one. A decoder follows the parities. [`quantize`] is for a memoryless code and without feedback: a
//! measure of what is in it (`docs/results/limit.md`). [`assign`] goes along the trellis at a coder's prices, and so does
//! [`feedback`](crate::feedback) with errors pushed on.
//!
//! # Source
//! M. W. Marcellin, T. R. Fischer, "Trellis coded quantization of memoryless and Gauss-Markov sources", 1990; T. R. Fischer, M. Wang,
//! "Entropy-constrained trellis-coded quantization", 1992; the trellises are those of G. Ungerboeck, "Channel coding with multilevel/phase
//! signals", 1982, table I. The two quantizers that share zero: H. Schwarz et al., "Hybrid video coding with trellis-coded quantization", 2019.

pub(crate) mod machine;
mod path;
pub(crate) mod priced;
mod sequential;

pub use machine::{States, index, multiple, quantizer};
pub use sequential::assign;

use crate::error::{Result, not_negative};
use crate::report::entropy_bits;
use crate::source::Source;
use machine::N_QUANTIZERS;
use path::{Prices, best_path};

/// Steps that are tried: these factors of the scalar step of the slope.
const FACTORS: [f32; 6] = [0.42, 0.48, 0.54, 0.6, 0.66, 0.75];
/// Rounds of prices and paths at a step.
const ROUNDS: usize = 8;

/// Indices on a trellis.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// One index per weight.
    pub indices: Vec<i32>,
    /// Distance of the multiples of both quantizers.
    pub step: f32,
    /// `sum 1/2 h d^2`.
    pub distortion: f64,
    /// Order-0 entropy of the indices of each quantizer.
    pub rate_bits: f64,
}

impl Path {
    /// The objective `distortion + slope * rate_bits`.
    pub fn j(&self, slope: f64) -> f64 {
        self.distortion + slope * self.rate_bits
    }
}

/// The values that indices stand for, from the first state on.
pub fn values(indices: &[i32], step: f32, states: States) -> Vec<f32> {
    let mut state = 0;
    let value = |&index: &i32| {
        let value = multiple(quantizer(state), index) as f32 * step;
        state = states.next(state, index % 2 != 0);
        value
    };
    indices.iter().map(value).collect()
}

/// Quantizes a source for least `sum 1/2 h d^2 + slope * bits`, bits being the order-0 entropy of each quantizer's indices: prices and
/// paths improve each other, at a few steps. Weights are taken as one row. Time `O(n states)` per round, of which there are 48 at most;
/// memory 28 bytes per weight.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) if the slope is not finite or not positive.
pub fn quantize(source: &Source, slope: f64, states: States) -> Result<Path> {
    not_negative("the slope", slope)?;
    if slope == 0.0 {
        return Err(crate::Error::Setting {
            name: "the slope",
            value: slope,
            allowed: "a number above 0",
        });
    }
    let n = source.len();
    let mean_h = source.mean_h();
    let nothing = Path {
        indices: vec![0; n],
        step: 1.0,
        distortion: (0..n).map(|i| loss(source, i, 0.0)).sum(),
        rate_bits: 0.0,
    };
    if mean_h <= 0.0 {
        return Ok(nothing);
    }
    let scalar = crate::grid::step_for_slope(slope, mean_h);
    let mut best = nothing;
    for factor in FACTORS {
        let path = at_step(source, scalar * factor, slope, states);
        if path.j(slope) < best.j(slope) {
            best = path;
        }
    }
    Ok(best)
}

fn loss(source: &Source, i: usize, value: f32) -> f64 {
    let error = f64::from(source.weights[i]) - f64::from(value);
    0.5 * f64::from(source.h.at(i)) * error * error
}

fn at_step(source: &Source, step: f32, slope: f64, states: States) -> Path {
    // The first prices are those of scalar quantization to the multiples of each quantizer.
    let scalar = |w: &f32| (w / (2.0 * step)).round_ties_even() as i32;
    let first: Vec<i32> = source.weights.iter().map(scalar).collect();
    let mut prices = Prices::of([&first, &first]);
    let mut best: Option<Path> = None;
    for _ in 0..ROUNDS {
        let indices = best_path(source, step, slope, states, &prices);
        let path = measure(source, indices, step, states);
        prices = Prices::of(by_quantizer(&path.indices, states).each_ref());
        let better = best.as_ref().is_none_or(|best| path.j(slope) < best.j(slope));
        if !better {
            break;
        }
        best = Some(path);
    }
    best.unwrap_or_else(|| measure(source, first, step, states))
}

/// The indices of each quantizer.
fn by_quantizer(indices: &[i32], states: States) -> [Vec<i32>; N_QUANTIZERS] {
    let mut apart = [vec![], vec![]];
    let mut state = 0;
    for &index in indices {
        apart[quantizer(state)].push(index);
        state = states.next(state, index % 2 != 0);
    }
    apart
}

fn measure(source: &Source, indices: Vec<i32>, step: f32, states: States) -> Path {
    let values = values(&indices, step, states);
    let distortion = values.iter().enumerate().map(|(i, &v)| loss(source, i, v)).sum();
    let rate_bits = by_quantizer(&indices, states)
        .iter()
        .map(|indices| entropy(indices))
        .sum();
    Path {
        indices,
        step,
        distortion,
        rate_bits,
    }
}

fn entropy(indices: &[i32]) -> f64 {
    let mut counts = std::collections::BTreeMap::<i32, u64>::new();
    for &index in indices {
        *counts.entry(index).or_default() += 1;
    }
    entropy_bits(&counts.into_values().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::{least_cost, normal};
    use crate::grid::{self, search_step};
    use std::f64::consts::LN_2;

    #[test]
    fn of_a_normal_source_it_is_nearer_to_the_bound_than_any_scalar_code() {
        let w = normal(40_000);
        let source = Source::constant(&w, 1.0);
        let variance = w.iter().map(|w| f64::from(w * w)).sum::<f64>() / w.len() as f64;
        for rate in [0.7f64, 2.0, 3.5] {
            let slope = variance * (-2.0 * rate).exp2() * LN_2;
            let least = least_cost(&source, slope).unwrap().unwrap();
            let gap = |j: f64| (j - least) / slope / w.len() as f64;
            let step = search_step(&source, slope).unwrap().step;
            let scalar = gap(grid::quantize(&source, step, slope, 8).unwrap().report.j(slope));
            let [four, eight] = [States::Four, States::Eight]
                .map(|states| gap(quantize(&source, slope, states).unwrap().j(slope)));
            assert!(0.0 < eight && eight < four + 0.002, "{eight} {four} at {rate}");
            assert!(
                four < 0.2 && scalar - eight > 0.07,
                "{scalar} {four} {eight} at {rate}"
            );
        }
    }

    #[test]
    fn the_path_is_what_a_decoder_makes_of_it() {
        let w = normal(2_000);
        let h: Vec<f32> = (0..w.len()).map(|i| (i % 7) as f32).collect();
        let source = Source::per_weight(&w, &h);
        let path = quantize(&source, 0.01, States::Eight).unwrap();
        let values = values(&path.indices, path.step, States::Eight);
        let loss: f64 = (0..w.len()).map(|i| loss(&source, i, values[i])).sum();
        assert_eq!(loss, path.distortion);
        let on_grid = values
            .iter()
            .all(|v| (v / path.step - (v / path.step).round()).abs() < 1e-3);
        assert!(on_grid);
    }

    #[test]
    fn nothing_and_what_does_not_matter_are_zero() {
        for w in [&[][..], &[1.0, -2.0]] {
            let path = quantize(&Source::constant(w, 0.0), 1.0, States::Four).unwrap();
            assert_eq!((path.indices, path.rate_bits), (vec![0; w.len()], 0.0));
        }
        assert!(quantize(&Source::constant(&[1.0], 1.0), 0.0, States::Four).is_err());
        assert!(quantize(&Source::constant(&[1.0], 1.0), f64::NAN, States::Four).is_err());
    }
}

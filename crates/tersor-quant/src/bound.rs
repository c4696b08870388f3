//! What no code can beat: the rate-distortion bound of the weights at hand, taken one by one.
//!
//! The source is a weight with its sensitivity, drawn from those of a tensor; the distortion is h/2 (w - v)^2, of which the encoder
//! knows h and the decoder does not. A code whose symbols do not depend on each other, with levels for the tensor, costs at least
//! [`least_cost`]. Codes that see structure between weights, as the coder `context` does, may cost less.
//!
//! # Source
//! R. Blahut, "Computation of channel capacity and rate-distortion functions", 1972; S. Arimoto, 1972. The lower bound that holds at every
//! iteration: I. Csiszar, "On the computation of rate-distortion functions", 1974.

use crate::error::{Result, not_negative};
use crate::source::Source;
use crate::span::Span;
use std::collections::HashMap;
use std::f64::consts::LN_2;

/// Distance of levels, in units of the deviation that a weight of mean sensitivity has around them.
const SPACING: f64 = 0.2;
/// Most levels: more are asked for from about 8 bits per weight on.
const MAX_LEVELS: f64 = 16_384.0;
/// Cells of sensitivities per octave.
const PER_OCTAVE: f64 = 2.0;
/// Levels with less weight than exp(-this) for a cell do not count for it.
const NEGLIGIBLE: f64 = 32.0;
/// Bits per weight between the bounds at which they are good enough, and most iterations.
const CLOSE: f64 = 0.002;
const MAX_ITERATIONS: usize = 300;

/// Weights that are much alike.
struct Cell {
    /// Share of all weights.
    share: f64,
    /// Its first level, and what each from there on keeps: exp of minus the distortion over the slope.
    first: usize,
    kept: Vec<f64>,
}

/// A lower bound of distortion plus `slope` times bits over all codes of a source, per source: distortion in the unit of
/// h w^2 / 2, the slope in that per bit.
///
/// Levels lie on a grid, and weights are taken together where they are close: the bound is off by some thousandths of a bit per weight.
/// `None` where the rate is so high that the grid would have to be finer than the 16,384 levels that are tried.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) if the slope is negative or not finite.
pub fn least_cost(source: &Source, slope: f64) -> Result<Option<f64>> {
    not_negative("the slope", slope)?;
    let n = source.len() as f64;
    let mean_h = source.mean_h();
    let span = Span::of_slice(source.weights);
    let (low, high) = (f64::from(span.min), f64::from(span.max));
    if source.is_empty() || mean_h <= 0.0 || slope == 0.0 || high <= low {
        return Ok(Some(0.0));
    }
    // d / slope in nats per bit, of a distance of one level and a sensitivity of 1.
    let beta = LN_2 / slope;
    let step = SPACING / (beta * mean_h).sqrt();
    if step * MAX_LEVELS < high - low {
        return Ok(None);
    }
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    let n_levels = (last - first + 1) as usize;
    let cells = cells(source, step, first, (beta, n_levels));
    let mut q = vec![1.0 / n_levels as f64; n_levels];
    let mut best = 0.0f64;
    let mut c = vec![0.0; n_levels];
    for _ in 0..MAX_ITERATIONS {
        c.fill(0.0);
        let mut nats = 0.0;
        for cell in &cells {
            let levels = cell.first..cell.first + cell.kept.len();
            let z: f64 = q[levels.clone()].iter().zip(&cell.kept).map(|(q, k)| q * k).sum();
            let z = z.max(f64::MIN_POSITIVE);
            nats -= cell.share * z.ln();
            let part = cell.share / z;
            c[levels]
                .iter_mut()
                .zip(&cell.kept)
                .for_each(|(c, k)| *c += part * k);
        }
        let largest = c.iter().fold(0.0f64, |m, &c| m.max(c));
        best = best.max(nats - largest.ln());
        q.iter_mut().zip(&c).for_each(|(q, c)| *q *= c);
        if nats - best < CLOSE * LN_2 {
            break;
        }
    }
    Ok(Some(best.max(0.0) * n / beta))
}

fn cells(source: &Source, step: f64, first: i64, (beta, n_levels): (f64, usize)) -> Vec<Cell> {
    // Number, sum of weights and of sensitivities, by place and by sensitivity.
    let mut sums: HashMap<(i64, i32), (f64, f64, f64)> = HashMap::new();
    for (i, &w) in source.weights.iter().enumerate() {
        let (w, h) = (f64::from(w), f64::from(source.h.at(i)));
        let octave = (PER_OCTAVE * h.max(f64::MIN_POSITIVE).log2()).floor();
        // What matters little is taken together from further around.
        let deviation = (beta * (octave / PER_OCTAVE).exp2()).sqrt().recip();
        let width = 0.5 * step.max(SPACING * deviation);
        let place = (w / width).round() as i64;
        let sum = sums.entry((place, octave as i32)).or_default();
        *sum = (sum.0 + 1.0, sum.1 + w, sum.2 + h);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by_key(|(key, _)| *key);
    let n = source.len() as f64;
    let cell = |(count, w, h): (f64, f64, f64)| {
        let (w, h) = (w / count / step, h / count);
        let per_square = 0.5 * beta * h * step * step;
        let reach = (NEGLIGIBLE / per_square.max(1e-300)).sqrt().min(n_levels as f64) + 1.0;
        let from = ((w - reach).floor() as i64 - first).clamp(0, n_levels as i64 - 1) as usize;
        let to = ((w + reach).ceil() as i64 - first).clamp(0, n_levels as i64 - 1) as usize;
        let kept = (from..=to).map(|level| {
            let off = w - (level as i64 + first) as f64;
            (-per_square * off * off).exp()
        });
        Cell {
            share: count / n,
            first: from,
            kept: kept.collect(),
        }
    };
    sums.into_iter().map(|(_, sum)| cell(sum)).collect()
}

/// Normal deviates, from sums of uniform ones.
#[cfg(test)]
pub(crate) fn normal(n: usize) -> Vec<f32> {
    let mut state = 7u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n)
        .map(|_| ((0..12).map(|_| uniform()).sum::<f64>() - 6.0) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Grid, assign, histogram};
    use crate::price::StaticPrices;

    #[test]
    fn of_a_normal_source_it_is_the_known_one() {
        let w = normal(40_000);
        let variance = w.iter().map(|w| f64::from(w * w)).sum::<f64>() / w.len() as f64;
        for rate in [0.7f64, 2.0, 3.5] {
            // R = 1/2 log2(variance / noise); the slope of h noise / 2 is h noise ln 2.
            let (h, noise) = (3.0, variance * (-2.0 * rate).exp2());
            let slope = h * noise * LN_2;
            let least = least_cost(&Source::constant(&w, h as f32), slope)
                .unwrap()
                .unwrap();
            let known = w.len() as f64 * (0.5 * h * noise + slope * rate);
            let bits = (least - known) / slope / w.len() as f64;
            assert!(bits.abs() < 0.02, "{bits} bits at {rate}");
        }
    }

    #[test]
    fn a_grid_at_a_high_rate_costs_a_quarter_bit_more() {
        let w = normal(40_000);
        let source = Source::constant(&w, 1.0);
        let step = 0.15f32;
        let grid = Grid::fit(&source, step).unwrap();
        let slope = f64::from(step * step) * LN_2 / 6.0 / 2.0;
        let prices = StaticPrices::from_counts(&histogram(&source, step).unwrap().report.counts);
        let report = assign(&source, &grid, &prices, slope, &mut vec![0; w.len()]).unwrap();
        let cost = report.distortion + slope * crate::entropy_bits(&report.counts);
        let bits = (cost - least_cost(&source, slope).unwrap().unwrap()) / slope / w.len() as f64;
        assert!((0.2..0.3).contains(&bits), "{bits}");
    }

    #[test]
    fn what_needs_no_code_costs_nothing() {
        let same = Source::constant(&[2.0, 2.0], 1.0);
        assert_eq!(least_cost(&same, 0.1).unwrap(), Some(0.0));
        assert_eq!(
            least_cost(&Source::constant(&[1.0, 2.0], 0.0), 0.1).unwrap(),
            Some(0.0)
        );
        assert_eq!(least_cost(&Source::constant(&[], 1.0), 0.1).unwrap(), Some(0.0));
        assert!(least_cost(&same, -1.0).is_err());
        let fine = least_cost(&Source::constant(&normal(100), 1.0), 1e-12).unwrap();
        assert_eq!(fine, None, "more levels than are tried");
    }

    #[test]
    fn sensitivities_that_differ_cost_less_than_their_mean() {
        let w = normal(20_000);
        let h: Vec<f32> = (0..w.len()).map(|i| if i % 4 == 0 { 3.7 } else { 0.1 }).collect();
        let mean = 1.0;
        let slope = 0.02;
        let apart = least_cost(&Source::per_weight(&w, &h), slope).unwrap().unwrap();
        let alike = least_cost(&Source::constant(&w, mean), slope).unwrap().unwrap();
        assert!(apart < 0.8 * alike, "{apart} {alike}");
    }
}

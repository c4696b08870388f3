//! Prices of order 0 that follow the symbols.

use super::problem::{BATCH, Problem};
use super::schedule::{Quantized, REST, Stage, Work, check};
use crate::choice::Knob;
use crate::error::{MAX_LEVELS, Result};
use crate::grid;
use crate::price::{GridPrices, StaticPrices};
use crate::report::entropy_bits;
use crate::rounding::fit;
use crate::source::Source;
use crate::span::Span;

/// Iterations of prices without feedback, which the first prices come from.
const START_ITERATIONS: usize = 3;

/// Most rounds of feedback in which prices settle, and about how many weights they look at.
const SETTLE_ROUNDS: usize = 8;
const SETTLE_SAMPLE: usize = 1 << 18;

/// Levels beyond those of the targets, either way: errors pushed onto a weight can take it further out.
const MARGIN: usize = 2;

/// Symbols of a layer with the prices they are coded at.
#[derive(Clone, Debug, PartialEq)]
pub struct Priced {
    /// The symbols and what they cost.
    pub quantized: Quantized,
    /// The multiple of the step that the first price is for: the least in use.
    pub first: i32,
    /// Ideal prices of the symbols' own frequencies, up to the greatest in use.
    pub prices: StaticPrices,
}

impl Problem<'_> {
    /// Quantizes at ideal prices of order 0, which follow the symbols from stage to stage until the objective
    /// rests.
    ///
    /// Feedback starts from prices that settled on about 2^18 weights, in whole rows: feedback from their own
    /// prices is repeated there as long as the objective falls.
    ///
    /// The rate of a stage is that of its own frequencies, tables not counted.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a step out of range or a negative slope, [`crate::Error::StepTooSmall`] beyond
    /// 65,536 levels.
    pub fn quantize_iterated(&self, step: f32, slope: f64) -> Result<Priced> {
        check(step, slope)?;
        let (first, counts) = self.start_counts(step, slope)?;
        let at_counts = |work, counts: &mut Vec<u64>, skip, symbols: &mut [i32], field: &mut [f64]| {
            let table = StaticPrices::from_counts(counts);
            let prices = GridPrices::new(&table, first, counts.len());
            let knob = Knob::new(step, slope, &prices);
            let distortion = self.work(work, knob, &prices, skip, symbols, field);
            *counts = count(symbols, first, counts.len());
            Stage {
                distortion,
                rate_bits: entropy_bits(counts),
            }
        };
        let mut counts = self.settle(slope, counts, |counts, skip, symbols, field| {
            at_counts(Work::Feed, counts, skip, symbols, field)
        });
        let quantized = self.stages(slope, |work, symbols, field| {
            at_counts(work, &mut counts, 1, symbols, field)
        });
        let symbols = || quantized.symbols.iter().copied();
        let first = symbols().min().unwrap_or(0);
        let n_levels = (symbols().max().unwrap_or(0) - first) as usize + 1;
        let prices = StaticPrices::from_counts(&count(&quantized.symbols, first, n_levels));
        Ok(Priced {
            quantized,
            first,
            prices,
        })
    }

    /// The frequencies from which feedback on a sample of the rows costs least. `feed` turns frequencies to those
    /// that follow, on every `skip`-th batch.
    fn settle(
        &self,
        slope: f64,
        start: Vec<u64>,
        mut feed: impl FnMut(&mut Vec<u64>, usize, &mut [i32], &mut [f64]) -> Stage,
    ) -> Vec<u64> {
        let (n_batches, len) = (self.rows() / BATCH, BATCH * self.n_in());
        let n_sampled = (SETTLE_SAMPLE / len).max(1);
        let skip = (n_batches / n_sampled).max(1);
        let n = if skip > 1 {
            n_sampled * len
        } else {
            self.targets.len()
        };
        let (mut symbols, mut field) = (vec![0; n], vec![0.0; n]);
        let (mut best, mut least) = (start.clone(), f64::INFINITY);
        let mut counts = start;
        for _ in 0..SETTLE_ROUNDS {
            let before = counts.clone();
            let j = feed(&mut counts, skip, &mut symbols, &mut field).j(slope);
            if j < least {
                best = before;
            }
            if j >= least * (1.0 - REST) {
                break;
            }
            least = j;
        }
        best
    }

    /// Frequencies of rate-aware assignment without feedback, with room for symbols further out.
    fn start_counts(&self, step: f32, slope: f64) -> Result<(i32, Vec<u64>)> {
        let h = self.half_weights.iter().sum::<f64>() * 2.0 / self.rows().max(1) as f64;
        let source = Source::constant(&self.targets, (h as f32).min(f32::MAX));
        let span = Span::of(&[source]);
        let with_zero = if span.is_empty() {
            span
        } else {
            Span {
                min: span.min.min(0.0),
                max: span.max.max(0.0),
            }
        };
        let (first, n_levels) = fit(with_zero, step)?;
        let start = grid::probe(&source, step, slope, START_ITERATIONS)?;
        let room = MARGIN.min((MAX_LEVELS - n_levels) / 2);
        let mut counts = vec![0; n_levels + 2 * room];
        let at = (start.grid.first - first) as usize + room;
        counts[at..at + start.grid.n_levels].copy_from_slice(&start.report.counts);
        Ok((first - room as i32, counts))
    }
}

/// Frequencies of the symbols `first .. first + n_levels`.
fn count(symbols: &[i32], first: i32, n_levels: usize) -> Vec<u64> {
    let mut counts = vec![0; n_levels];
    for &symbol in symbols {
        counts[(symbol - first) as usize] += 1;
    }
    counts
}

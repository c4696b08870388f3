//! Assignment at static prices of rows whose errors balance, side by side.

use super::Grid;
use crate::balance::Sums;
use crate::levels::Tally;
use crate::price::{RateModel, losses};
use crate::report::Report;
use crate::rounding::{Rounding, integer};
use crate::source::Source;
use rayon::prelude::*;

/// Weights of a piece of work, at least, in whole rows.
const PIECE: usize = 1 << 14;

/// Every piece begins with a row, but the first, which may begin within one. The grid and the source are checked, and not empty.
pub(super) fn assign(
    source: &Source,
    grid: &Grid,
    prices: &impl RateModel,
    slope: f64,
    out: &mut [u16],
) -> Report {
    assert_eq!(source.len(), out.len(), "a symbol for each weight");
    let losses = losses(prices, slope, grid.n_levels);
    let (begun, row) = source.rows();
    let piece = row * PIECE.div_ceil(row);
    let (head, rest) = out.split_at_mut(begun);
    let mut pieces = vec![(0, head)];
    let starts = (begun..).step_by(piece);
    pieces.extend(starts.zip(rest.chunks_mut(piece)));
    let tallies: Vec<Tally> = pieces
        .into_par_iter()
        .map(|(start, out)| assign_rows(&source.slice(start..start + out.len()), grid, &losses, out))
        .collect();
    Tally::total(grid.n_levels, &tallies)
}

/// Rows that are worked on in turns: each weight waits for the one before it in its row.
const ABREAST: usize = 4;

/// Rows, the first of which may be a part; `losses` is what each symbol's bits are worth.
fn assign_rows(source: &Source, grid: &Grid, losses: &[f64], out: &mut [u16]) -> Tally {
    let (_, row) = source.rows();
    let mut chooser = Chooser {
        grid,
        rounding: grid.rounding(),
        losses,
        zero: grid.zero_symbol(),
        has_zero: grid.first + grid.zero_symbol() as i32 == 0,
        tally: Tally::new(grid.n_levels),
    };
    let mut start = 0;
    for out in out.chunks_mut(ABREAST * row) {
        let len = out.len();
        let part = source.slice(start..start + len);
        let whole = len == ABREAST * row;
        let mut rows: [Option<Sums<'_>>; ABREAST] = std::array::from_fn(|_| part.sums());
        let (lanes, columns) = if whole { (ABREAST, row) } else { (1, len) };
        for column in 0..columns {
            for (lane, sums) in rows.iter_mut().enumerate().take(lanes) {
                let (at, Some(sums)) = (lane * row + column, sums) else {
                    continue;
                };
                let symbol = chooser.choose(part.weights[at], part.h.at(at), sums);
                if let Some(slot) = out.get_mut(at) {
                    *slot = symbol as u16;
                }
            }
        }
        start += len;
    }
    chooser.tally
}

struct Chooser<'a> {
    grid: &'a Grid,
    rounding: Rounding,
    losses: &'a [f64],
    zero: usize,
    has_zero: bool,
    tally: Tally,
}

impl Chooser<'_> {
    /// The symbol of the next weight of a row.
    #[inline]
    fn choose(&mut self, w: f32, h: f32, sums: &mut Sums<'_>) -> usize {
        let root = f64::from(h).sqrt();
        let half_h = 0.5 * f64::from(h);
        let symbol = if w == 0.0 && self.has_zero {
            self.zero
        } else {
            let (add, pivot) = sums.next();
            let add = if root > 0.0 { add / root } else { 0.0 };
            self.cheapest(f64::from(w) + add, half_h * pivot)
        };
        let error = w - self.grid.value(symbol as u32);
        self.tally.add(symbol, error, h);
        sums.push(f64::from(error) * root);
        symbol
    }

    /// The symbol of least cost among the nearest to a target, the next towards zero, and zero.
    #[inline]
    fn cheapest(&self, target: f64, weight: f64) -> usize {
        let cost = |symbol: usize| {
            let off = target - f64::from(self.grid.value(symbol as u32));
            weight * off * off + self.losses.get(symbol).copied().unwrap_or(f64::INFINITY)
        };
        let index = self.rounding.index_and_value(target as f32).0;
        let nearest = (integer(index) - self.grid.first) as usize;
        let inner = nearest + usize::from(nearest < self.zero) - usize::from(nearest > self.zero);
        let mut best = (nearest, cost(nearest));
        for other in [inner, self.zero] {
            let cost = cost(other);
            best = if cost < best.1 { (other, cost) } else { best };
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{assign, histogram};
    use super::*;
    use crate::Balance;
    use crate::price::StaticPrices;

    fn weights(n: usize) -> Vec<f32> {
        let uniform = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        (0..n as u32)
            .map(|i| uniform(i) + uniform(i + 7919) * uniform(3 * i))
            .collect()
    }

    /// Mean square of what outputs are off by, for inputs of variance 1, mean 1 and a covariance of 1/2 within kernels.
    fn output_error(w: &[f32], grid: &Grid, symbols: &[u16], (n, taps): (usize, usize)) -> f64 {
        let errors: Vec<f64> = w
            .iter()
            .zip(symbols)
            .map(|(w, &s)| f64::from(w - grid.value(s.into())))
            .collect();
        let square_of_sum = |e: &[f64]| e.iter().sum::<f64>().powi(2);
        let of_row = |row: &[f64]| {
            let squares: f64 = row.iter().map(|e| e * e).sum();
            0.5 * squares + 0.5 * row.chunks(taps).map(square_of_sum).sum::<f64>() + square_of_sum(row)
        };
        errors.chunks(n).map(of_row).sum()
    }

    #[test]
    fn outputs_are_off_by_less_and_symbols_take_no_more() {
        let (n, taps) = (72, 9);
        let w = weights(n * 40);
        let plain = Source::constant(&w, 1.0);
        let balance = Balance::new((n, taps), 0.5, 1.0);
        let balanced = plain.balanced(&balance);
        for step in [0.05, 0.2, 0.5] {
            let grid = Grid::fit(&plain, step).unwrap();
            let prices = StaticPrices::from_counts(&histogram(&plain, step).unwrap().report.counts);
            let slope = f64::from(step * step) / 12.0;
            let mut symbols = [vec![0; w.len()], vec![0; w.len()]];
            let reports = [plain, balanced].map(|source| {
                let out = &mut symbols[usize::from(source.sums().is_some())];
                assign(&source, &grid, &prices, slope, out).unwrap()
            });
            let [before, after] = symbols.each_ref().map(|s| output_error(&w, &grid, s, (n, taps)));
            assert!(after < 0.55 * before, "{step}: {after} of {before}");
            let [a, b] = reports.map(|r| r.rate_bits);
            assert!(b < 1.03 * a, "{step}: {b} after {a} bits");
        }
    }

    #[test]
    fn parts_of_whole_rows_are_as_the_whole_and_zeros_stay() {
        let n = 300;
        let mut w = weights(n * 200);
        w.iter_mut().step_by(3).for_each(|w| *w = 0.0);
        let balance = Balance::new((n, 1), 0.0, 2.0);
        let source = Source::constant(&w, 0.3).balanced(&balance);
        let grid = Grid::fit(&source, 0.1).unwrap();
        let prices = StaticPrices::from_counts(&histogram(&source, 0.1).unwrap().report.counts);
        let mut whole = vec![0; w.len()];
        let report = assign(&source, &grid, &prices, 1e-4, &mut whole).unwrap();
        assert_eq!(report.n, w.len() as u64);
        let mut parts = vec![0; w.len()];
        let cuts = [0, n, 57 * n, w.len()];
        let mut sum = 0.0;
        for cut in cuts.windows(2) {
            let part = source.slice(cut[0]..cut[1]);
            let out = &mut parts[cut[0]..cut[1]];
            sum += assign(&part, &grid, &prices, 1e-4, out).unwrap().distortion;
        }
        assert_eq!(whole, parts);
        assert!((sum - report.distortion).abs() < 1e-9 * sum);
        let zero = grid.zero_symbol() as u16;
        assert!(whole.iter().step_by(3).all(|&s| s == zero));
    }
}

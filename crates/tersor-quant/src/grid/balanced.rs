//! Assignment at static prices of rows whose errors balance, side by side.

use super::Grid;
use super::kernel::{Counters, Kernel, Lines};
use crate::levels::Tally;
use crate::price::{RateModel, losses};
use crate::report::Report;
use crate::source::{Sensitivity, Source};
use rayon::prelude::*;
use std::array::from_fn;

/// Weights of a piece of work, at least, in as many whole rows as are worked on side by side.
const PIECE: usize = 1 << 14;

/// Rows that are worked on in turns: each weight waits for the one before it in its row.
const ABREAST: usize = 8;

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
    let piece = row * PIECE.div_ceil(row).next_multiple_of(ABREAST);
    let (head, rest) = out.split_at_mut(begun);
    let mut pieces = vec![(0, head)];
    let starts = (begun..).step_by(piece);
    pieces.extend(starts.zip(rest.chunks_mut(piece)));
    let kernel = Kernel::lines(*grid, &losses);
    let tallies: Vec<Tally> = pieces
        .into_par_iter()
        .map(|(start, out)| assign_rows(&source.slice(start..start + out.len()), &kernel, out))
        .collect();
    Tally::total(grid.n_levels, &tallies)
}

/// Rows, the first of which may be a part.
fn assign_rows(source: &Source, kernel: &Kernel<Lines>, out: &mut [u16]) -> Tally {
    let (begun, row) = source.rows();
    let mut counters = kernel.counters();
    let mut start = 0;
    while start < out.len() {
        let whole = ABREAST * row;
        let len = match out.len() - start {
            _ if start < begun => begun - start,
            left if left >= whole => whole,
            left => row.min(left),
        };
        let (part, out) = (source.slice(start..start + len), &mut out[start..start + len]);
        if len == whole {
            side_by_side::<ABREAST>(&part, kernel, out, &mut counters);
        } else {
            side_by_side::<1>(&part, kernel, out, &mut counters);
        }
        start += len;
    }
    counters.tally()
}

/// What a weight's errors are counted in.
#[derive(Clone, Copy)]
struct Scale {
    h: f32,
    /// 1 / h.
    inverse_h: f64,
    /// The root of h, and its inverse if there is one.
    root: f64,
    inverse: f64,
}

impl Scale {
    fn new(h: f32) -> Self {
        let root = f64::from(h).sqrt();
        Self {
            h,
            inverse_h: f64::from(h).recip(),
            root,
            inverse: if root > 0.0 { root.recip() } else { 0.0 },
        }
    }
}

/// `N` rows, or a part of one.
fn side_by_side<const N: usize>(
    source: &Source,
    kernel: &Kernel<Lines>,
    out: &mut [u16],
    counters: &mut Counters,
) {
    match source.h {
        Sensitivity::Constant(h) => {
            let scale = Scale::new(h);
            by_columns::<N>(source, |_| scale, kernel, out, counters);
        }
        Sensitivity::PerWeight(h, add) => {
            by_columns::<N>(source, |at| Scale::new(h[at] + add), kernel, out, counters);
        }
    }
}

fn by_columns<const N: usize>(
    source: &Source,
    scale: impl Fn(usize) -> Scale,
    kernel: &Kernel<Lines>,
    out: &mut [u16],
    counters: &mut Counters,
) {
    let weights = source.weights;
    let row = weights.len() / N;
    let columns = source.columns();
    debug_assert!(row <= columns.len(), "rows, or a part of one");
    let (mut of_kernel, mut of_row) = ([0.0; N], [0.0; N]);
    for (k, column) in columns.iter().take(row).enumerate() {
        let inverse_pivot = column.pivot.recip();
        // One step for all rows after the other: what is alike in them goes into vectors.
        let at = |lane: usize| lane * row + k;
        let w: [f32; N] = from_fn(|lane| weights[at(lane)]);
        let scales: [Scale; N] = from_fn(|lane| scale(at(lane)));
        let targets: [f32; N] = from_fn(|lane| {
            let add = column.share(of_kernel[lane], of_row[lane]) * scales[lane].inverse;
            (f64::from(w[lane]) + add) as f32
        });
        let nearest: [u32; N] = from_fn(|lane| kernel.nearest_symbol(targets[lane]));
        let symbols: [u32; N] = from_fn(|lane| {
            let inverse_h = scales[lane].inverse_h * inverse_pivot;
            kernel.choose_or_zero(w[lane], (targets[lane], nearest[lane]), inverse_h)
        });
        let errors: [f32; N] = from_fn(|lane| w[lane] - kernel.value(symbols[lane]));
        for lane in 0..N {
            let error = f64::from(errors[lane]) * scales[lane].root;
            of_kernel[lane] += error;
            of_row[lane] += error;
        }
        for lane in 0..N {
            counters.add_one(lane, symbols[lane], errors[lane], scales[lane].h);
            out[at(lane)] = symbols[lane] as u16;
        }
        if column.is_last {
            of_kernel = [0.0; N];
        }
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

    /// Each weight in turn, by the sums that other quantizers use.
    fn one_by_one(source: &Source, grid: &Grid, losses: &[f64]) -> Vec<u16> {
        let kernel = Kernel::lines(*grid, losses);
        let mut sums = source.sums().unwrap();
        let symbol = |(at, &w): (usize, &f32)| {
            let scale = Scale::new(source.h.at(at));
            let (add, pivot) = sums.next();
            let target = (f64::from(w) + add * scale.inverse) as f32;
            let nearest = kernel.nearest_symbol(target);
            let symbol = kernel.choose_or_zero(w, (target, nearest), scale.inverse_h * pivot.recip());
            sums.push(f64::from(w - kernel.value(symbol)) * scale.root);
            symbol as u16
        };
        source.weights.iter().enumerate().map(symbol).collect()
    }

    #[test]
    fn rows_side_by_side_are_as_one_after_the_other() {
        let (n, taps) = (36, 9);
        let balance = Balance::new((n, taps), 0.5, 0.8);
        // Five columns of a row, many groups of eight rows, and three more rows; with few levels and with many.
        let w = weights(n * 1003);
        let mut h: Vec<f32> = weights(w.len()).iter().map(|x| x.abs()).collect();
        h.iter_mut().step_by(7).for_each(|h| *h = 0.0);
        let of_each = Source::per_weight(&w, &h).balanced(&balance);
        let alike = Source::constant(&w, 0.4).balanced(&balance);
        for source in [of_each, alike] {
            let source = source.slice(n - 5..w.len());
            for step in [0.1, 1e-4] {
                let grid = Grid::fit(&source, step).unwrap();
                let prices = StaticPrices::from_counts(&histogram(&source, step).unwrap().report.counts);
                let slope = f64::from(step * step) / 30.0;
                let mut out = vec![0; source.len()];
                let report = assign(&source, &grid, &prices, slope, &mut out).unwrap();
                let losses = losses(&prices, slope, grid.n_levels);
                assert_eq!(out, one_by_one(&source, &grid, &losses), "{step}");
                let count = |symbol: u16| out.iter().filter(|&&s| s == symbol).count() as u64;
                assert_eq!(report.counts[usize::from(out[0])], count(out[0]));
                assert_eq!(report.n, source.len() as u64);
            }
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

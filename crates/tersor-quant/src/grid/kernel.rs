//! The inner loops: blocks of weights to symbols, losses and counts.
//!
//! A block is rounded by a loop without branches that the compiler turns into vector code; then each weight
//! chooses among its candidates by selects, since what it chooses is hard to predict; then the symbols are counted in
//! several interleaved tables, because most weights share few symbols and a counter is not ready again at once.

use std::cmp::Ordering;
use std::hint::select_unpredictable;

use super::Grid;
use crate::levels::Tally;
use crate::rounding::{Rounding, integer};
use crate::source::{Sensitivity, Source};

/// Weights per block: its buffers stay in the first-level cache.
const BLOCK: usize = 512;

/// Interleaved counters and sums.
const LANES: usize = 4;

/// Up to this many levels counters are interleaved.
const INTERLEAVED: usize = 1 << 12;

/// Rounds, lets `choice` choose, and adds up.
pub(super) struct Kernel<C> {
    grid: Grid,
    rounding: Rounding,
    choice: C,
}

/// How weights get from their nearest levels to symbols.
pub(super) trait Choice: Sync {
    /// Replaces nearest symbols and their values by those chosen; `h` only if each weight has its own.
    fn choose(&self, grid: &Grid, w: &[f32], h: Option<&[f32]>, symbols: &mut [u32], values: &mut [f32]);
}

/// The nearest.
pub(super) struct Plain;

/// The cell's own value.
pub(super) struct Table<'a>(&'a [f32]);

/// The candidate of least loss plus price.
pub(super) struct PriceAware {
    /// For each symbol: price and value of itself and of its neighbour towards zero.
    rows: Vec<Row>,
    zero: Row,
    zero_symbol: u32,
}

/// [`PriceAware`] for one common sensitivity: the losses of two levels differ by a straight line in the weight, so whatever is
/// closer to zero than a threshold of its cell moves.
pub(super) struct Thresholds {
    rows: Vec<Cell>,
    zero_symbol: u32,
}

/// Where the weights of a cell go.
#[derive(Clone, Copy)]
struct Cell {
    /// Magnitude below which they go to the neighbour towards zero.
    inward_below: f32,
    /// Magnitude below which they go to zero.
    zero_below: f32,
    inward_symbol: u32,
}

/// [`Thresholds`] for sensitivities that change from weight to weight by known factors: those of a cell in terms of the inverse of h.
pub(super) struct Lines {
    rows: Vec<LineCell>,
    zero_symbol: u32,
    /// Whether that symbol's value is zero.
    has_zero: bool,
}

/// What a threshold is in terms of the inverse of h; no number, which no weight is below, where h is 0 and prices are alike.
#[derive(Clone, Copy)]
struct Line {
    at_none: f64,
    slope: f64,
}

impl Line {
    /// No weight is below it.
    const NEVER: Line = Line {
        at_none: f64::NEG_INFINITY,
        slope: 0.0,
    };

    #[inline]
    fn at(self, inverse_h: f64) -> f64 {
        self.at_none + self.slope * inverse_h
    }
}

/// [`Cell`] in terms of the inverse of h; zero must be cheaper than the cell's own level and than its neighbour.
#[derive(Clone, Copy)]
struct LineCell {
    inward_below: Line,
    zero_below: [Line; 2],
    inward_symbol: u32,
}

#[derive(Clone, Copy)]
struct Row {
    own: f64,
    inward: f64,
    inward_value: f32,
    inward_symbol: u32,
}

impl Kernel<Plain> {
    pub(super) fn nearest(grid: Grid) -> Self {
        Kernel {
            grid,
            rounding: grid.rounding(),
            choice: Plain,
        }
    }
}

impl<'a> Kernel<Table<'a>> {
    pub(super) fn table(grid: Grid, levels: &'a [f32]) -> Self {
        Kernel {
            grid,
            rounding: grid.rounding(),
            choice: Table(levels),
        }
    }
}

impl Kernel<PriceAware> {
    /// `losses[symbol]` is the price of a symbol in units of loss.
    pub(super) fn priced(grid: Grid, losses: &[f64]) -> Self {
        let zero_symbol = grid.zero_symbol();
        let row = |s: usize| {
            let inward = if s < zero_symbol {
                s + 1
            } else {
                s - usize::from(s > zero_symbol)
            };
            Row {
                own: losses[s],
                inward: losses[inward],
                inward_value: grid.value(inward as u32),
                inward_symbol: inward as u32,
            }
        };
        let rows: Vec<Row> = (0..losses.len()).map(row).collect();
        let nothing = Row {
            own: 0.0,
            inward: 0.0,
            inward_value: 0.0,
            inward_symbol: 0,
        };
        let zero = rows.get(zero_symbol).copied().unwrap_or(nothing);
        Kernel {
            grid,
            rounding: grid.rounding(),
            choice: PriceAware {
                rows,
                zero,
                zero_symbol: zero_symbol as u32,
            },
        }
    }
}

impl Kernel<Lines> {
    /// `losses[symbol]` is the price of a symbol in units of loss.
    pub(super) fn lines(grid: Grid, losses: &[f64]) -> Self {
        let zero_symbol = grid.zero_symbol();
        // Of levels v > a >= 0, a is cheaper at magnitudes w where
        // h/2 (w - a)^2 + price(a) < h/2 (w - v)^2 + price(v).
        let below = |own: usize, other: usize| {
            let value = |s: usize| f64::from(grid.value(s as u32)).abs();
            let (v, a) = (value(own), value(other));
            Line {
                at_none: f64::midpoint(v, a),
                slope: (losses[own] - losses[other]) / (v - a),
            }
        };
        let row = |s: usize| {
            let inward = match s.cmp(&zero_symbol) {
                Ordering::Less => s + 1,
                Ordering::Equal => s,
                Ordering::Greater => s - 1,
            };
            let (inward_below, zero_below) = if s == zero_symbol {
                (Line::NEVER, [Line::NEVER; 2])
            } else if inward == zero_symbol {
                (below(s, zero_symbol), [below(s, zero_symbol); 2])
            } else {
                (
                    below(s, inward),
                    [below(s, zero_symbol), below(inward, zero_symbol)],
                )
            };
            LineCell {
                inward_below,
                zero_below,
                inward_symbol: inward as u32,
            }
        };
        Kernel {
            grid,
            rounding: grid.rounding(),
            choice: Lines {
                rows: (0..losses.len()).map(row).collect(),
                zero_symbol: zero_symbol as u32,
                has_zero: grid.value(zero_symbol as u32) == 0.0,
            },
        }
    }

    /// The symbol nearest to a weight.
    #[inline]
    pub(super) fn nearest_symbol(&self, w: f32) -> u32 {
        (integer(self.rounding.index_and_value(w).0) - self.grid.first) as u32
    }

    /// The symbol of a weight that is to come as near to a target, which `nearest` is nearest to, as its price allows; what is zero stays
    /// zero.
    #[inline]
    pub(super) fn choose_or_zero(&self, w: f32, (target, nearest): (f32, u32), inverse_h: f64) -> u32 {
        let lines = &self.choice;
        let row = &lines.rows[nearest as usize];
        let magnitude = f64::from(target.abs());
        let inward = magnitude < row.inward_below.at(inverse_h);
        let [own, neighbour] = row.zero_below.map(|line| magnitude < line.at(inverse_h));
        let symbol = select_unpredictable(inward, row.inward_symbol, nearest);
        let zero = select_unpredictable(own, lines.zero_symbol, symbol);
        let symbol = select_unpredictable(neighbour, zero, symbol);
        select_unpredictable(w == 0.0 && lines.has_zero, lines.zero_symbol, symbol)
    }

    /// The value of a symbol.
    #[inline]
    pub(super) const fn value(&self, symbol: u32) -> f32 {
        self.grid.value(symbol)
    }
}

impl Kernel<Thresholds> {
    /// As [`Kernel::priced`], for weights that all have the sensitivity `h`.
    pub(super) fn thresholds(grid: Grid, losses: &[f64], h: f32) -> Self {
        let Kernel {
            rounding,
            choice: lines,
            ..
        } = Kernel::lines(grid, losses);
        let inverse = f64::from(h).recip();
        let row = |row: &LineCell| {
            let [own, neighbour] = row.zero_below.map(|line| line.at(inverse));
            // No number, where nothing matters and prices are alike: then no weight is below it.
            let either = own + neighbour;
            let zero_below = if either.is_nan() {
                either
            } else {
                own.min(neighbour)
            };
            Cell {
                inward_below: row.inward_below.at(inverse) as f32,
                zero_below: zero_below as f32,
                inward_symbol: row.inward_symbol,
            }
        };
        Kernel {
            grid,
            rounding,
            choice: Thresholds {
                rows: lines.rows.iter().map(row).collect(),
                zero_symbol: lines.zero_symbol,
            },
        }
    }
}

impl Choice for Plain {
    #[inline]
    fn choose(&self, _: &Grid, _: &[f32], _: Option<&[f32]>, _: &mut [u32], _: &mut [f32]) {}
}

impl Choice for Table<'_> {
    #[inline]
    fn choose(&self, _: &Grid, _: &[f32], _: Option<&[f32]>, symbols: &mut [u32], values: &mut [f32]) {
        for (value, &symbol) in values.iter_mut().zip(symbols.iter()) {
            *value = self.0[symbol as usize];
        }
    }
}

impl Choice for PriceAware {
    #[inline]
    fn choose(&self, grid: &Grid, w: &[f32], h: Option<&[f32]>, symbols: &mut [u32], values: &mut [f32]) {
        let weights = w.iter().zip(h.unwrap_or_default());
        for ((&w, &h), (symbol, value)) in weights.zip(symbols.iter_mut().zip(values.iter())) {
            *symbol = self.best(w, h, *symbol, *value);
        }
        write_values(grid, symbols, values);
    }
}

impl PriceAware {
    #[inline]
    fn best(&self, w: f32, h: f32, nearest: u32, value: f32) -> u32 {
        let half_h = 0.5 * f64::from(h);
        let loss = |v: f32| {
            let d = f64::from(w - v);
            half_h * d * d
        };
        let row = &self.rows[nearest as usize];
        let own = loss(value) + row.own;
        let inward = loss(row.inward_value) + row.inward;
        // The row of the zero symbol is its own neighbour.
        let zero = loss(self.zero.inward_value) + self.zero.own;
        let symbol = select_unpredictable(inward < own, row.inward_symbol, nearest);
        select_unpredictable(zero < inward.min(own), self.zero_symbol, symbol)
    }
}

/// The values of symbols.
#[inline]
fn write_values(grid: &Grid, symbols: &[u32], values: &mut [f32]) {
    for (value, &symbol) in values.iter_mut().zip(symbols) {
        *value = grid.value(symbol);
    }
}

impl Choice for Thresholds {
    #[inline]
    fn choose(&self, grid: &Grid, w: &[f32], _: Option<&[f32]>, symbols: &mut [u32], values: &mut [f32]) {
        for (&w, symbol) in w.iter().zip(symbols.iter_mut()) {
            let row = &self.rows[*symbol as usize];
            let inward = select_unpredictable(w.abs() < row.inward_below, row.inward_symbol, *symbol);
            *symbol = select_unpredictable(w.abs() < row.zero_below, self.zero_symbol, inward);
        }
        write_values(grid, symbols, values);
    }
}

/// Counts and losses of one thread.
pub(super) struct Counters {
    n_levels: usize,
    /// A power of two: one if there are many levels.
    n_tables: usize,
    /// Table after table.
    counts: Vec<u64>,
    weighted: [f64; LANES],
    squared: [f64; LANES],
}

impl Counters {
    pub(super) const fn n_levels(&self) -> usize {
        self.n_levels
    }

    pub(super) fn merge(&mut self, other: &Counters) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a += b);
        for lane in 0..LANES {
            self.weighted[lane] += other.weighted[lane];
            self.squared[lane] += other.squared[lane];
        }
    }

    pub(super) fn tally(self) -> Tally {
        let mut tally = Tally::new(self.n_levels);
        for table in self.counts.chunks(self.n_levels.max(1)) {
            tally.counts.iter_mut().zip(table).for_each(|(a, b)| *a += b);
        }
        tally.weighted = self.weighted.iter().sum();
        tally.squared = self.squared.iter().sum();
        tally
    }

    /// Adds squared errors, one per lane.
    #[inline]
    fn add(&mut self, w: &[f32], v: &[f32]) {
        for (sum, (&w, &v)) in self.squared.iter_mut().zip(w.iter().zip(v)) {
            let d = f64::from(w - v);
            *sum += d * d;
        }
    }

    /// Adds squared errors and their products with sensitivities.
    #[inline]
    fn add_weighted(&mut self, w: &[f32], v: &[f32], h: &[f32]) {
        self.add(w, v);
        for ((sum, (&w, &v)), &h) in self.weighted.iter_mut().zip(w.iter().zip(v)).zip(h) {
            let d = f64::from(w - v);
            *sum += f64::from(h) * (d * d);
        }
    }

    /// Counts one weight that is off by `d`.
    #[inline]
    pub(super) fn add_one(&mut self, lane: usize, symbol: u32, d: f32, h: f32) {
        let d2 = f64::from(d) * f64::from(d);
        self.squared[lane % LANES] += d2;
        self.weighted[lane % LANES] += f64::from(h) * d2;
        let table = lane & (self.n_tables - 1);
        self.counts[table * self.n_levels + symbol as usize] += 1;
    }

    fn count(&mut self, symbols: &[u32]) {
        if self.n_tables == 1 {
            for &s in symbols {
                self.counts[s as usize] += 1;
            }
            return;
        }
        let n = self.n_levels;
        let (a, rest) = self.counts.split_at_mut(n);
        let (b, rest) = rest.split_at_mut(n);
        let (c, d) = rest.split_at_mut(n);
        let mut rows = symbols.chunks_exact(LANES);
        for row in &mut rows {
            a[row[0] as usize] += 1;
            b[row[1] as usize] += 1;
            c[row[2] as usize] += 1;
            d[row[3] as usize] += 1;
        }
        rows.remainder().iter().for_each(|&s| a[s as usize] += 1);
    }
}

impl<C> Kernel<C> {
    pub(super) fn counters(&self) -> Counters {
        let n_levels = self.grid.n_levels;
        let n_tables = if n_levels <= INTERLEAVED { LANES } else { 1 };
        Counters {
            n_levels,
            n_tables,
            counts: vec![0; n_tables * n_levels],
            weighted: [0.0; LANES],
            squared: [0.0; LANES],
        }
    }
}

impl<C: Choice> Kernel<C> {
    /// Adds all weights of a source to the counters and writes their symbols if asked to.
    pub(super) fn run(&self, source: &Source, out: Option<&mut [u16]>, counters: &mut Counters) {
        let mut out = out;
        match source.h {
            Sensitivity::Constant(h) => {
                let before = counters.squared;
                for (i, w) in source.weights.chunks(BLOCK).enumerate() {
                    self.block(w, None, part(&mut out, i * BLOCK, w.len()), counters);
                }
                for (lane, before) in before.iter().enumerate() {
                    counters.weighted[lane] += f64::from(h) * (counters.squared[lane] - before);
                }
            }
            Sensitivity::PerWeight(h, add) => {
                let mut block = [0.0; BLOCK];
                for (i, (w, h)) in source.weights.chunks(BLOCK).zip(h.chunks(BLOCK)).enumerate() {
                    block.iter_mut().zip(h).for_each(|(to, h)| *to = h + add);
                    self.block(
                        w,
                        Some(&block[..w.len()]),
                        part(&mut out, i * BLOCK, w.len()),
                        counters,
                    );
                }
            }
        }
    }

    /// One block; `h` only if each weight has its own.
    #[inline]
    fn block(&self, w: &[f32], h: Option<&[f32]>, out: Option<&mut [u16]>, counters: &mut Counters) {
        let mut symbols = [0u32; BLOCK];
        let mut values = [0f32; BLOCK];
        let symbols = &mut symbols[..w.len()];
        let values = &mut values[..w.len()];
        for ((symbol, value), &w) in symbols.iter_mut().zip(values.iter_mut()).zip(w) {
            let (index, v) = self.rounding.index_and_value(w);
            *symbol = (integer(index) - self.grid.first) as u32;
            *value = v;
        }
        self.choice.choose(&self.grid, w, h, symbols, values);
        let rows = || w.chunks(LANES).zip(values.chunks(LANES));
        match h {
            None => rows().for_each(|(w, v)| counters.add(w, v)),
            Some(h) => rows()
                .zip(h.chunks(LANES))
                .for_each(|((w, v), h)| counters.add_weighted(w, v, h)),
        }
        counters.count(symbols);
        if let Some(out) = out {
            out.iter_mut()
                .zip(symbols.iter())
                .for_each(|(out, &s)| *out = s as u16);
        }
    }
}

/// A range of the output, if there is one.
fn part<'a>(out: &'a mut Option<&mut [u16]>, start: usize, len: usize) -> Option<&'a mut [u16]> {
    out.as_mut().map(|out| &mut out[start..start + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By losses, by thresholds and by lines weights choose the same, also where nothing but prices counts and some are alike.
    #[test]
    fn choices_agree() {
        let weights: Vec<f32> = (-700..700).map(|i| i as f32 * 1.37e-3).collect();
        for (first, n_levels) in [(-6, 14), (2, 5), (-9, 5), (0, 7)] {
            let grid = Grid {
                step: 0.1,
                first,
                n_levels,
            };
            let losses: Vec<f64> = (0..n_levels)
                .map(|s| 0.004 * f64::from((7 * s as u32) % 5))
                .collect();
            let (priced, lines) = (Kernel::priced(grid, &losses), Kernel::lines(grid, &losses));
            for h in [0.0, 1e-6, 0.3, 2.0, 5.0] {
                let thresholds = Kernel::thresholds(grid, &losses, h);
                let nearest: Vec<u32> = weights.iter().map(|&w| lines.nearest_symbol(w)).collect();
                let values: Vec<f32> = nearest.iter().map(|&s| grid.value(s)).collect();
                let h_of_each = vec![h; weights.len()];
                let by = |choice: &dyn Fn(&mut [u32], &mut [f32])| {
                    let (mut symbols, mut values) = (nearest.clone(), values.clone());
                    choice(&mut symbols, &mut values);
                    symbols
                };
                let by_losses = by(&|s, v| priced.choice.choose(&grid, &weights, Some(&h_of_each), s, v));
                let by_thresholds = by(&|s, v| thresholds.choice.choose(&grid, &weights, None, s, v));
                let inverse_h = f64::from(h).recip();
                let by_lines = weights.iter().zip(&nearest);
                let by_lines: Vec<u32> = by_lines
                    .map(|(&w, &nearest)| lines.choose_or_zero(w, (w, nearest), inverse_h))
                    .collect();
                assert_eq!(by_losses, by_thresholds, "{first} {h}");
                assert_eq!(by_losses, by_lines, "{first} {h}");
                assert_ne!(by_losses, nearest, "{first} {h}: prices must matter");
            }
        }
    }
}

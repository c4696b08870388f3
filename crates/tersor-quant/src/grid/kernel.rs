//! The inner loops: blocks of weights to symbols, losses and counts.
//!
//! A block is rounded by a loop without branches that the compiler turns into vector code; then each weight
//! chooses among its candidates by selects; then the symbols are counted in several interleaved tables, because
//! most weights share few symbols and a counter is not ready again at once.

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

/// How a weight gets from its rounded index to a symbol.
pub(super) trait Choice: Sync {
    /// Symbol and value for a weight, from its nearest symbol and that one's value.
    fn choose(&self, w: f32, h: f32, nearest: usize, value: f32) -> (usize, f32);
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
    zero_symbol: usize,
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
                zero_symbol,
            },
        }
    }
}

impl Choice for Plain {
    #[inline]
    fn choose(&self, _: f32, _: f32, nearest: usize, value: f32) -> (usize, f32) {
        (nearest, value)
    }
}

impl Choice for Table<'_> {
    #[inline]
    fn choose(&self, _: f32, _: f32, nearest: usize, _: f32) -> (usize, f32) {
        (nearest, self.0[nearest])
    }
}

impl Choice for PriceAware {
    #[inline]
    fn choose(&self, w: f32, h: f32, nearest: usize, value: f32) -> (usize, f32) {
        let half_h = 0.5 * f64::from(h);
        let loss = |v: f32| {
            let d = f64::from(w - v);
            half_h * d * d
        };
        let row = &self.rows[nearest];
        let own = loss(value) + row.own;
        let inward = loss(row.inward_value) + row.inward;
        // The row of the zero symbol is its own neighbour.
        let zero = loss(self.zero.inward_value) + self.zero.own;
        let closer = inward < own;
        let (best, symbol, value) = (
            if closer { inward } else { own },
            if closer {
                row.inward_symbol as usize
            } else {
                nearest
            },
            if closer { row.inward_value } else { value },
        );
        let none = zero < best;
        (
            if none { self.zero_symbol } else { symbol },
            if none { self.zero.inward_value } else { value },
        )
    }
}

/// Counts and losses of one thread.
pub(super) struct Counters {
    n_levels: usize,
    /// Table after table; one if there are many levels.
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

    fn count(&mut self, symbols: &[u32]) {
        if self.counts.len() == self.n_levels {
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

impl<C: Choice> Kernel<C> {
    pub(super) fn counters(&self) -> Counters {
        let n_levels = self.grid.n_levels;
        let tables = if n_levels <= INTERLEAVED { LANES } else { 1 };
        Counters {
            n_levels,
            counts: vec![0; tables * n_levels],
            weighted: [0.0; LANES],
            squared: [0.0; LANES],
        }
    }

    /// Adds all weights of a source to the counters and writes their symbols if asked to.
    pub(super) fn run(&self, source: &Source, out: Option<&mut [u16]>, counters: &mut Counters) {
        let mut out = out;
        match source.h {
            Sensitivity::Constant(h) => {
                let h = [h; BLOCK];
                for (i, w) in source.weights.chunks(BLOCK).enumerate() {
                    self.block(w, &h[..w.len()], part(&mut out, i * BLOCK, w.len()), counters);
                }
            }
            Sensitivity::PerWeight(h) => {
                for (i, (w, h)) in source.weights.chunks(BLOCK).zip(h.chunks(BLOCK)).enumerate() {
                    self.block(w, h, part(&mut out, i * BLOCK, w.len()), counters);
                }
            }
        }
    }

    #[inline]
    fn block(&self, w: &[f32], h: &[f32], out: Option<&mut [u16]>, counters: &mut Counters) {
        let mut symbols = [0u32; BLOCK];
        let mut values = [0f32; BLOCK];
        let symbols = &mut symbols[..w.len()];
        let values = &mut values[..w.len()];
        for ((symbol, value), &w) in symbols.iter_mut().zip(values.iter_mut()).zip(w) {
            let (index, v) = self.rounding.index_and_value(w);
            *symbol = (integer(index) - self.grid.first) as u32;
            *value = v;
        }
        for (((symbol, value), &w), &h) in symbols.iter_mut().zip(values.iter_mut()).zip(w).zip(h) {
            let (s, v) = self.choice.choose(w, h, *symbol as usize, *value);
            *symbol = s as u32;
            *value = v;
        }
        let rows = w.chunks(LANES).zip(h.chunks(LANES)).zip(values.chunks(LANES));
        for ((w, h), v) in rows {
            for (lane, ((&w, &h), &v)) in w.iter().zip(h).zip(v).enumerate() {
                let d = f64::from(w - v);
                counters.squared[lane] += d * d;
                counters.weighted[lane] += f64::from(h) * (d * d);
            }
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

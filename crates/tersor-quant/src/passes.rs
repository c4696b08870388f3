//! Passes over a tensor at the prices of a coder that learns.

use crate::balance::Sums;
use crate::grid::Grid;
use crate::price::{SequentialPrice, coded_bits};
use crate::report::Report;
use crate::source::Source;

/// Passes end when the objective falls by less than this share.
const REST: f64 = 1e-3;

/// Symbols of the weights so far, what they cost, and what their errors add up to.
pub(crate) struct Assigned<'a> {
    grid: Grid,
    counts: Vec<u64>,
    distortion: f64,
    squared_error: f64,
    sums: Option<Sums<'a>>,
}

impl<'a> Assigned<'a> {
    /// Before the first weight of a source.
    pub(crate) fn new(source: &Source<'a>, grid: &Grid) -> Self {
        Assigned {
            grid: *grid,
            counts: vec![0; grid.n_levels],
            distortion: 0.0,
            squared_error: 0.0,
            sums: source.sums(),
        }
    }

    /// Sums of errors, if they matter.
    #[inline]
    pub(crate) const fn sums(&self) -> Option<&Sums<'a>> {
        self.sums.as_ref()
    }

    /// The next weight, of sensitivity `h`, has this symbol.
    #[inline]
    pub(crate) fn take(&mut self, w: f32, h: f32, symbol: u16) {
        let h = f64::from(h);
        let error = f64::from(w) - f64::from(self.grid.value(symbol.into()));
        self.squared_error += error * error;
        self.distortion += 0.5 * h * error * error;
        if let Some(sums) = &mut self.sums {
            sums.push(error * h.sqrt());
        }
        if let Some(count) = self.counts.get_mut(usize::from(symbol)) {
            *count += 1;
        }
    }

    pub(crate) fn report(self) -> Report {
        Report::new(self.counts, self.distortion, self.squared_error)
    }

    fn j(&self, slope: f64, bits: f64) -> f64 {
        let sums = self.sums.as_ref().map_or(0.0, Sums::loss);
        self.distortion + sums + slope * bits
    }
}

/// Assigns in passes, one at least: the first is priced from the state that the coder is given in, each of the others by what the coder learned
/// from the one before. After each the symbols are coded from the given state, which tells their bits: a pass that does not lower
/// the objective is undone and is the last. The coder is left as it is after the symbols.
pub(crate) fn settle<'a, P: SequentialPrice>(
    (slope, passes): (f64, usize),
    price: &mut P,
    out: &mut [u16],
    one_pass: impl Fn(&mut P, &mut [u16]) -> Assigned<'a>,
) -> Report {
    let given = price.snapshot();
    let mut best = one_pass(price, out);
    price.restore(&given);
    let mut best_j = best.j(slope, coded_bits(multiples(out, &best.grid), price));
    let mut symbols = vec![0; if passes > 1 { out.len() } else { 0 }];
    for _ in 1..passes {
        price.rewind();
        let found = one_pass(price, &mut symbols);
        price.restore(&given);
        let j = found.j(slope, coded_bits(multiples(&symbols, &best.grid), price));
        if j >= best_j {
            price.restore(&given);
            coded_bits(multiples(out, &best.grid), price);
            break;
        }
        out.copy_from_slice(&symbols);
        best = found;
        let gain = best_j - j;
        best_j = j;
        if gain <= REST * j {
            break;
        }
    }
    best.report()
}

/// Symbols as multiples of the step.
pub(crate) fn multiples<'s>(symbols: &'s [u16], grid: &Grid) -> impl Iterator<Item = i32> + use<'s> {
    let first = grid.first;
    symbols.iter().map(move |&symbol| first + i32::from(symbol))
}

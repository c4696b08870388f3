//! Assignment at the prices of a coder that learns.

use super::Grid;
use crate::choice::{Cost, Knob};
use crate::error::{Result, not_negative};
use crate::passes::{Assigned, settle};
use crate::price::SequentialPrice;
use crate::report::Report;
use crate::source::Source;

/// Assigns weights in order, each to the level of least `1/2 h d^2 + slope * bits` at the price that the coder has for it then, and of a
/// [balanced](Source::balanced) source with its share of the errors before it, among those on both sides of it, those further towards zero as long as each costs less than the one before, and zero.
///
/// The first pass is priced from the state that the coder is given in, each of the others, at most `passes` together, by what the coder
/// learned from the symbols of the one before. After each but an only one, the symbols are coded from the given state, which tells their
/// bits: a pass that does not lower the objective is undone and is the last. The coder is left as it is after the symbols. Exact zeros
/// stay zero on a grid with zero.
///
/// One thread; each pass prices one to three symbols per weight.
///
/// # Errors
/// As [`assign`](super::assign).
///
/// # Panics
/// If `out` and the source differ in length.
pub fn assign_sequential<P: SequentialPrice>(
    source: &Source,
    grid: &Grid,
    slope: f64,
    passes: usize,
    price: &mut P,
    out: &mut [u16],
) -> Result<Report> {
    grid.check(source)?;
    not_negative("slope", slope)?;
    assert_eq!(source.len(), out.len(), "a symbol for each weight");
    let knob = Knob::new(grid.step, slope, price);
    let one_pass = |price: &mut P, out: &mut [u16]| one_pass(source, grid, knob, price, out);
    if passes <= 1 {
        // What the pass tells the coder is what is coded.
        return Ok(one_pass(price, out).report());
    }
    Ok(settle((slope, passes), price, out, one_pass))
}

fn one_pass<'a, P: SequentialPrice>(
    source: &Source<'a>,
    grid: &Grid,
    knob: Knob,
    price: &mut P,
    out: &mut [u16],
) -> Assigned<'a> {
    let mut assigned = Assigned::new(source, grid);
    for (position, (&w, slot)) in source.weights.iter().zip(out).enumerate() {
        let h = source.h.at(position);
        let multiple = if w == 0.0 && knob.has_zero() {
            0
        } else {
            let cost = Cost::balanced((w, h), assigned.sums());
            knob.choose(price, position, cost, None)
        };
        price.push(position, multiple);
        *slot = (multiple - grid.first) as u16;
        assigned.take(w, h, *slot);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::multiples;
    use crate::price::{GridPrices, StaticPrices, coded_bits};
    use crate::rounding::MAX_INDEX;

    /// Costs a bit for what was coded last, and three for anything else.
    struct Repeats {
        last: i32,
    }

    impl SequentialPrice for Repeats {
        type Snapshot = i32;

        fn bits(&mut self, _: usize, symbol: i32) -> u32 {
            if symbol == self.last { 1 << 16 } else { 3 << 16 }
        }

        fn push(&mut self, _: usize, symbol: i32) {
            self.last = symbol;
        }

        fn rewind(&mut self) {
            self.last = 0;
        }

        fn snapshot(&self) -> i32 {
            self.last
        }

        fn restore(&mut self, snapshot: &i32) {
            self.last = *snapshot;
        }

        fn alphabet(&self) -> std::ops::RangeInclusive<i32> {
            -(MAX_INDEX as i32)..=MAX_INDEX as i32
        }
    }

    fn weights(n: u32) -> Vec<f32> {
        (0..n)
            .map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5) * 4.0)
            .collect()
    }

    #[test]
    fn static_prices_give_no_worse_than_the_static_assignment() {
        let w = weights(500);
        let h: Vec<f32> = (0..500).map(|i| 1.0 + (i % 7) as f32).collect();
        let source = Source::per_weight(&w, &h);
        let grid = Grid::fit(&source, 0.3).unwrap();
        let table = StaticPrices::from_counts(&super::super::histogram(&source, 0.3).unwrap().report.counts);
        let (mut ours, mut theirs) = (vec![0; 500], vec![0; 500]);
        let expected = super::super::assign(&source, &grid, &table, 0.02, &mut theirs).unwrap();
        let mut price = GridPrices::new(&table, grid.first, grid.n_levels);
        let report = assign_sequential(&source, &grid, 0.02, 1, &mut price, &mut ours).unwrap();
        // More candidates: never worse.
        let j = |symbols: &[u16], report: &Report| {
            let bits: u64 = symbols
                .iter()
                .map(|&s| u64::from(crate::price::RateModel::bits(&table, s.into())))
                .sum();
            report.distortion + 0.02 * bits as f64 / 65536.0
        };
        assert!(j(&ours, &report) <= j(&theirs, &expected) * (1.0 + 1e-9));
        assert_eq!(report.n, 500);
    }

    #[test]
    fn no_pass_is_for_the_worse() {
        let w = weights(400);
        let source = Source::constant(&w, 1.0);
        let grid = Grid::fit(&source, 0.5).unwrap();
        let mut last = f64::INFINITY;
        for passes in 1..4 {
            let (mut price, mut out) = (Repeats { last: 0 }, vec![0; 400]);
            let report = assign_sequential(&source, &grid, 0.05, passes, &mut price, &mut out).unwrap();
            let mut again = Repeats { last: 0 };
            let bits = coded_bits(multiples(&out, &grid), &mut again);
            assert_eq!(price.last, again.last, "the coder is left behind the symbols");
            let error: f64 = w
                .iter()
                .zip(&out)
                .map(|(w, &s)| f64::from(w - grid.value(s.into())).powi(2))
                .sum();
            assert!((report.squared_error - error).abs() < 1e-5 * error);
            let j = report.distortion + 0.05 * bits;
            assert!(j <= last, "{passes} passes: {j} after {last}");
            last = j;
        }
    }

    #[test]
    fn a_price_that_repeats_makes_runs_and_zeros_stay() {
        let noise = weights(300);
        let mut w: Vec<f32> = (0..300)
            .map(|i| (0.1 * i as f32).sin() + 0.2 * noise[i])
            .collect();
        w[7] = 0.0;
        let source = Source::constant(&w, 1.0);
        let grid = Grid::fit(&source, 0.5).unwrap();
        let runs = |slope: f64| {
            let (mut price, mut out) = (Repeats { last: 0 }, vec![0; 300]);
            assign_sequential(&source, &grid, slope, 2, &mut price, &mut out).unwrap();
            assert_eq!(i32::from(out[7]) + grid.first, 0);
            out.windows(2).filter(|pair| pair[0] == pair[1]).count()
        };
        assert!(runs(0.1) > runs(0.0) + 20, "{} {}", runs(0.1), runs(0.0));
    }
}

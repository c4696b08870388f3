//! What a quantizer may know of a coder: the price of each symbol.
//!
//! A coder with one table per tensor is a [`RateModel`]: its prices do not move. One that learns while it codes is
//! a [`SequentialPrice`]: a price depends on the place and on what was coded before.

use std::ops::RangeInclusive;

use crate::rounding::MAX_INDEX;

/// One bit, in the unit of prices. Prices are integers, so that every machine compares them alike.
pub const PRICE_ONE_BIT: u32 = 1 << 16;

/// Static prices of symbols.
pub trait RateModel {
    /// Price of a symbol in 1/65536 bit ([`PRICE_ONE_BIT`] is one bit).
    fn bits(&self, symbol: u32) -> u32;
}

/// Prices of a coder that learns: they hold for the next symbol only.
///
/// Symbols are multiples of a step, so 0 is zero. A tensor is coded in the order of its positions, row by row, and
/// each symbol is pushed once it is decided. A quantizer goes over a tensor several times: with
/// [`rewind`](Self::rewind) to price a new pass by what the last one taught, with [`restore`](Self::restore) to
/// price symbols as the file will have them.
///
/// A snapshot is taken once per tensor and restored once per pass, never per symbol: copying all of a model's
/// tables is cheap enough. Through `&mut P`, which is a price as well, a function can borrow one; `P` may be a
/// trait object with its snapshot named, `dyn SequentialPrice<Snapshot = S>`.
pub trait SequentialPrice {
    /// All that [`restore`](Self::restore) needs.
    type Snapshot;

    /// Price of a symbol at the next position, in 1/65536 bit. `position` is an index in the tensor; it is the one
    /// after the last pushed.
    fn bits(&mut self, position: usize, symbol: i32) -> u32;

    /// Codes a symbol at the next position and learns from it.
    fn push(&mut self, position: usize, symbol: i32);

    /// Goes back to the first position. What was learned stays.
    fn rewind(&mut self);

    /// The state now.
    fn snapshot(&self) -> Self::Snapshot;

    /// Goes back to a state, position included.
    fn restore(&mut self, snapshot: &Self::Snapshot);

    /// The symbols that can be coded, not empty and of magnitude below 2^22.
    fn alphabet(&self) -> RangeInclusive<i32> {
        -(MAX_INDEX as i32)..=MAX_INDEX as i32
    }
}

/// Prices of a coder that knows about a trellis: which multiples can come depends on those before.
///
/// [`bits`](SequentialPrice::bits) and [`push`](SequentialPrice::push) go by the symbols pushed so far; these go by the quantizer, wherever
/// on the trellis that may be.
pub trait TrellisPrice: SequentialPrice {
    /// Price of an index of a quantizer at the next position, in 1/65536 bit.
    fn index_bits(&mut self, position: usize, quantizer: usize, index: i32) -> u32;

    /// Codes an index of a quantizer at the next position and learns from it.
    fn push_index(&mut self, position: usize, quantizer: usize, index: i32);
}

/// Codes symbols in order: their bits.
pub(crate) fn coded_bits(symbols: impl Iterator<Item = i32>, price: &mut impl SequentialPrice) -> f64 {
    let mut bits = 0;
    for (position, symbol) in symbols.enumerate() {
        bits += u64::from(price.bits(position, symbol));
        price.push(position, symbol);
    }
    bits as f64 / f64::from(PRICE_ONE_BIT)
}

impl<P: SequentialPrice + ?Sized> SequentialPrice for &mut P {
    type Snapshot = P::Snapshot;

    fn bits(&mut self, position: usize, symbol: i32) -> u32 {
        (**self).bits(position, symbol)
    }

    fn push(&mut self, position: usize, symbol: i32) {
        (**self).push(position, symbol);
    }

    fn rewind(&mut self) {
        (**self).rewind();
    }

    fn snapshot(&self) -> Self::Snapshot {
        (**self).snapshot()
    }

    fn restore(&mut self, snapshot: &Self::Snapshot) {
        (**self).restore(snapshot);
    }

    fn alphabet(&self) -> RangeInclusive<i32> {
        (**self).alphabet()
    }
}

/// Static prices of the levels `first ..= first + n_levels - 1`: symbol `i` of the model is the multiple `first +
/// i`.
#[derive(Debug)]
pub struct GridPrices<'a, M> {
    model: &'a M,
    first: i32,
    n_levels: usize,
}

impl<M> Clone for GridPrices<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for GridPrices<'_, M> {}

impl<'a, M: RateModel> GridPrices<'a, M> {
    /// Prices of the levels of a grid.
    ///
    /// # Panics
    /// Without a level, or with one of magnitude 2^22 or more.
    pub fn new(model: &'a M, first: i32, n_levels: usize) -> Self {
        let last = i64::from(first) + n_levels as i64 - 1;
        let largest = i64::from(first).abs().max(last.abs());
        assert!(n_levels > 0 && largest <= MAX_INDEX as i64, "levels of a grid");
        GridPrices {
            model,
            first,
            n_levels,
        }
    }
}

impl<M: RateModel> SequentialPrice for GridPrices<'_, M> {
    type Snapshot = ();

    fn bits(&mut self, _: usize, symbol: i32) -> u32 {
        self.model.bits(symbol.wrapping_sub(self.first) as u32)
    }

    fn push(&mut self, _: usize, _: i32) {}

    fn rewind(&mut self) {}

    fn snapshot(&self) {}

    fn restore(&mut self, (): &()) {}

    fn alphabet(&self) -> RangeInclusive<i32> {
        self.first..=self.first + (self.n_levels as i32 - 1)
    }
}

/// A table of prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticPrices {
    bits: Vec<u32>,
}

impl StaticPrices {
    /// Ideal prices `-log2(count / total)`, rounded to 1/65536 bit.
    ///
    /// A symbol of count 0 is priced as if it had been seen half a time more: `log2(2 total + 1)` bits. That is
    /// dearer than any used symbol, yet finite; the used ones keep their ideal price, so that prices from the
    /// counts of an assignment never exceed its cost at other prices (Gibbs' inequality). Without any count all
    /// symbols cost `log2(len)`.
    pub fn from_counts(counts: &[u64]) -> Self {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return StaticPrices {
                bits: vec![fixed((counts.len().max(1) as f64).log2()); counts.len()],
            };
        }
        let unused = fixed((2.0 * total as f64 + 1.0).log2());
        let price = |&c: &u64| {
            if c == 0 {
                unused
            } else {
                fixed((total as f64 / c as f64).log2())
            }
        };
        StaticPrices {
            bits: counts.iter().map(price).collect(),
        }
    }

    /// Given prices in 1/65536 bit, one per symbol.
    pub const fn from_bits(bits: Vec<u32>) -> Self {
        StaticPrices { bits }
    }

    /// Prices in 1/65536 bit, one per symbol.
    pub fn as_slice(&self) -> &[u32] {
        &self.bits
    }

    /// Number of symbols.
    pub const fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there are no symbols.
    pub const fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }
}

impl RateModel for StaticPrices {
    /// Price from the table; `u32::MAX` (65,536 bits) for a symbol that is not in it.
    fn bits(&self, symbol: u32) -> u32 {
        self.bits.get(symbol as usize).copied().unwrap_or(u32::MAX)
    }
}

fn fixed(bits: f64) -> u32 {
    (bits * f64::from(PRICE_ONE_BIT)).round() as u32
}

/// `slope * bits` of the first `n` symbols, as loss.
pub(crate) fn losses(prices: &impl RateModel, slope: f64, n: usize) -> Vec<f64> {
    let unit = slope / f64::from(PRICE_ONE_BIT);
    (0..n as u32).map(|s| unit * f64::from(prices.bits(s))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_of_counts_are_ideal_code_lengths() {
        let prices = StaticPrices::from_counts(&[4, 2, 1, 1]);
        assert_eq!(prices.as_slice(), [1, 2, 3, 3].map(|bits| bits * PRICE_ONE_BIT));
    }

    #[test]
    fn an_unused_symbol_costs_more_than_any_used_one_but_not_infinity() {
        let prices = StaticPrices::from_counts(&[0, 1, 1023]);
        assert_eq!(prices.bits(1), 10 * PRICE_ONE_BIT);
        assert_eq!(prices.bits(0), (2049f64.log2() * 65536.0).round() as u32); // 11.0007 bits
        assert_eq!(prices.bits(3), u32::MAX, "beyond the table");
    }

    #[test]
    fn prices_of_a_grid_are_those_of_its_indices_at_any_position() {
        let table = StaticPrices::from_bits(vec![7, 1, 9]);
        let mut prices = GridPrices::new(&table, -1, 3);
        assert_eq!(prices.alphabet(), -1..=1);
        prices.push(0, 1);
        let as_object: &mut dyn SequentialPrice<Snapshot = ()> = &mut prices;
        assert_eq!([-1, 0, 1].map(|s| as_object.bits(5, s)), [7, 1, 9]);
        assert_eq!(prices.bits(0, -2), u32::MAX, "not in the grid");
    }

    #[test]
    fn without_counts_all_symbols_cost_the_same() {
        assert_eq!(
            StaticPrices::from_counts(&[0; 8]).as_slice(),
            [3 * PRICE_ONE_BIT; 8]
        );
        assert!(StaticPrices::from_counts(&[]).is_empty());
    }
}

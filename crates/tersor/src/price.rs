//! Prices of the coder `context` for a quantizer.

use std::ops::{Range, RangeInclusive};
use tersor_codec::{ContextPrices, trellis};
use tersor_quant::grid::Grid;
use tersor_quant::{SequentialPrice, TrellisPrice};

/// Prices of consecutive elements of one tensor on a grid, in the state that the tensors before have left.
///
/// Beginning anew keeps what the model has learned, and forgets the neighbours.
pub(crate) struct SegmentPrice<'a> {
    prices: &'a mut ContextPrices,
    shape: &'a [u64],
    elements: Range<usize>,
    grid: Grid,
    on_trellis: bool,
    /// What the mean magnitude of the multiples is taken to be.
    mean: f64,
    /// Sum of the magnitudes so far, and their number.
    sum: (u64, usize),
}

/// Share of a step above which a magnitude counts as the next multiple, roughly: prices pull towards zero.
const ROUNDED_UP: f64 = 0.65;
/// Elements that a coder has seen, of tensors of the kind at hand, before it is let choose.
const TAUGHT: u64 = 1 << 13;

impl<'a> SegmentPrice<'a> {
    /// Begins a segment. A coder that has seen little is taught with the first targets, rounded: were it to learn from its own
    /// choices alone, the first few would decide what is cheap, and a network could end up with every other level.
    pub(crate) fn new(
        prices: &'a mut ContextPrices,
        shape: &'a [u64],
        elements: Range<usize>,
        (grid, on_trellis): (Grid, bool),
        targets: &[f32],
    ) -> tersor_codec::Result<Self> {
        let mut price = Self {
            prices,
            shape,
            elements,
            grid,
            on_trellis,
            mean: 0.0,
            sum: (0, 0),
        };
        let alphabet = price.alphabet();
        // On a trellis that is the index of the first quantizer, whose levels are two steps apart.
        let spacing = if on_trellis { 2.0 * grid.step } else { grid.step };
        let rounded = |t: &f32| {
            let magnitude = (f64::from((t / spacing).abs()) + 1.0 - ROUNDED_UP).floor();
            let multiple = magnitude.copysign(f64::from(*t)) as i32;
            multiple.clamp(*alphabet.start(), *alphabet.end())
        };
        let sum: f64 = targets.iter().map(|t| f64::from(rounded(t).abs())).sum();
        price.mean = sum / targets.len().max(1) as f64;
        price.begin()?;
        let n_taught = TAUGHT.saturating_sub(price.prices.n_seen(shape, on_trellis)) as usize;
        for (i, target) in targets.iter().take(n_taught).enumerate() {
            if on_trellis {
                let turn = i % 2;
                let most = |level: i32| (level.abs() + turn as i32) >> 1;
                let (low, high) = (-most(*alphabet.start()), most(*alphabet.end()));
                price.push_index(i, turn, rounded(target).clamp(low, high));
            } else {
                price.push(i, rounded(target));
            }
        }
        price.sum = (0, 0);
        price.begin()?;
        Ok(price)
    }

    fn begin(&mut self) -> tersor_codec::Result<()> {
        let centre = self.grid.zero_symbol() as u16;
        let zero = self.alphabet().contains(&0).then_some(centre);
        let first = self.elements.start as u64;
        self.prices.begin(
            (self.shape, first),
            self.elements.len(),
            self.grid.n_levels,
            zero,
            (centre, self.mean),
            self.on_trellis && zero.is_some(),
        )
    }

    fn count(&mut self, magnitude: u32) {
        self.sum.0 += u64::from(magnitude);
        self.sum.1 += 1;
    }

    fn symbol(&self, multiple: i32) -> Option<u16> {
        let symbol = u16::try_from(i64::from(multiple) - i64::from(self.grid.first)).ok()?;
        (usize::from(symbol) < self.grid.n_levels).then_some(symbol)
    }
}

impl SequentialPrice for SegmentPrice<'_> {
    type Snapshot = ContextPrices;

    fn bits(&mut self, _: usize, multiple: i32) -> u32 {
        let symbol = self.symbol(multiple);
        symbol.map_or(u32::MAX, |symbol| self.prices.price(symbol))
    }

    fn push(&mut self, _: usize, multiple: i32) {
        if let Some(symbol) = self.symbol(multiple) {
            self.prices.push(symbol);
            let magnitude = multiple.unsigned_abs();
            self.count(if self.on_trellis {
                magnitude.div_ceil(2)
            } else {
                magnitude
            });
        }
    }

    fn rewind(&mut self) {
        if self.sum.1 > 0 {
            self.mean = self.sum.0 as f64 / self.sum.1 as f64;
            self.sum = (0, 0);
        }
        // The centre is that of the first time, in the alphabet.
        self.begin().unwrap_or_default();
    }

    fn snapshot(&self) -> ContextPrices {
        self.prices.clone()
    }

    fn restore(&mut self, snapshot: &ContextPrices) {
        self.sum = (0, 0);
        self.prices.clone_from(snapshot);
    }

    fn alphabet(&self) -> RangeInclusive<i32> {
        self.grid.first..=self.grid.first + (self.grid.n_levels as i32 - 1)
    }
}

impl TrellisPrice for SegmentPrice<'_> {
    fn index_bits(&mut self, _: usize, quantizer: usize, index: i32) -> u32 {
        self.prices.price_of_index(quantizer, index)
    }

    fn push_index(&mut self, _: usize, quantizer: usize, index: i32) {
        if let Some(symbol) = self.symbol(trellis::multiple(quantizer, index)) {
            self.prices.push_in_turn(quantizer, symbol);
            self.count(index.unsigned_abs());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        step: 0.5,
        first: -2,
        n_levels: 5,
    };
    const SHAPE: [u64; 2] = [20, 10];

    fn all(price: &mut SegmentPrice<'_>) -> Vec<u32> {
        (-2..=2).map(|multiple| price.bits(0, multiple)).collect()
    }

    #[test]
    fn a_snapshot_brings_back_state_and_position() {
        let mut prices = ContextPrices::new();
        let mut price = SegmentPrice::new(&mut prices, &SHAPE, 0..200, (GRID, false), &[0.4; 200]).unwrap();
        let pushed = |price: &mut SegmentPrice<'_>, range: Range<usize>| -> Vec<Vec<u32>> {
            let one = |i: usize| {
                price.push(i, [0, 1, 0, -2, 2, 0, 0][i % 7]);
                all(price)
            };
            range.map(one).collect()
        };
        pushed(&mut price, 0..50);
        let snapshot = price.snapshot();
        let first = pushed(&mut price, 50..90);
        price.restore(&snapshot);
        assert_eq!(pushed(&mut price, 50..90), first);
    }

    #[test]
    fn beginning_anew_keeps_what_was_learned() {
        let mut prices = ContextPrices::new();
        let mut price = SegmentPrice::new(&mut prices, &SHAPE, 0..200, (GRID, false), &[0.4; 200]).unwrap();
        let fresh = price.bits(0, 2);
        (0..200).for_each(|i| price.push(i, 2));
        price.rewind();
        let learned = price.bits(0, 2);
        assert!(learned < fresh / 2, "{learned} after {fresh}");
        assert_eq!(price.bits(0, 3), u32::MAX, "not in the grid");
    }
}

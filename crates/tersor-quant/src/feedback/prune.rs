//! Pruning with error feedback: a weight goes where that costs less than its price, and the others make good what it did.
//!
//! It is the quantizer of this module on a grid so fine that rounding is nothing, with a price for every value but zero:
//! each column is kept or not in view of the errors before it, and passes of descent choose again in view of all others,
//! the survivors moving to where they do best.
//!
//! # Source
//! Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", 1993; Frantar and Alistarh,
//! "`SparseGPT`", 2023, for one factor and a fixed order of columns. Ours: a price in place of a share of each layer, so that
//! one price for all layers makes the least loss for so many survivors, and descent over who survives.

use super::problem::Problem;
use crate::Span;
use crate::error::{Result, not_negative};
use crate::price::{GridPrices, PRICE_ONE_BIT, RateModel};

/// Steps from 0 to the target of the largest magnitude.
const STEPS: i32 = 8192;
/// Levels on either side of zero: what a survivor makes good may take it as many times beyond that target.
const REACH: i32 = 16 * STEPS;

/// Nothing for zero, one for every other value.
struct Survival;

impl RateModel for Survival {
    fn bits(&self, symbol: u32) -> u32 {
        if symbol == REACH as u32 { 0 } else { PRICE_ONE_BIT }
    }
}

impl Problem<'_> {
    /// The layer with weights of zero where those lose less than `price`, loss per survivor in the units of the
    /// objective, and the others where they make good what is lost. Row by row, as the weights.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a negative price.
    pub fn prune(&self, price: f64) -> Result<Vec<f32>> {
        not_negative("price", price)?;
        let largest = Span::of_slice(self.targets()).magnitude();
        let step = largest / STEPS as f32;
        if step < f32::MIN_POSITIVE {
            return Ok(vec![0.0; self.targets().len()]);
        }
        let prices = GridPrices::new(&Survival, -REACH, 2 * REACH as usize + 1);
        let pruned = self.quantize_static(step, price, &prices)?;
        Ok(pruned.symbols.iter().map(|&m| m as f32 * step).collect())
    }
}

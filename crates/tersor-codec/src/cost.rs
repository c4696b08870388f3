//! Counts what a range coder would spend, without writing.

use crate::Result;
use crate::range::{Bit, BitCoder};

/// Adds up the information of the bits it is given.
#[derive(Debug, Default)]
pub(crate) struct CostCounter {
    /// Bits so far.
    pub(crate) bits: f64,
}

impl BitCoder for CostCounter {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> Result<bool> {
        self.bits -= model.probability(bit).log2();
        model.update(bit);
        Ok(bit)
    }

    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32> {
        self.bits += f64::from(n_bits);
        Ok(value)
    }
}

//! Counts what a range coder would spend, or does spend.

use crate::Result;
use crate::context::cost;
use crate::range::{BitCoder, RangeDecoder};

/// Adds up the information of the bits it is given.
#[derive(Debug, Default)]
pub(crate) struct CostCounter {
    /// Units of 2^-16 bit so far.
    units: u64,
}

impl CostCounter {
    /// Bits so far.
    pub(crate) fn bits(&self) -> f64 {
        self.units as f64 / 65536.0
    }

    fn add(&mut self, p_one: u32, bit: bool) {
        self.units += u64::from(cost(if bit { p_one } else { (1 << 16) - p_one }));
    }
}

impl BitCoder for CostCounter {
    #[inline]
    fn decide(&mut self, p_one: u32, bit: bool) -> bool {
        self.add(p_one, bit);
        bit
    }

    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32> {
        self.units += u64::from(n_bits) << 16;
        Ok(value)
    }
}

/// A decoder that counts what the bits it reads take.
#[derive(Debug)]
pub(crate) struct Metered<'a> {
    decoder: RangeDecoder<'a>,
    cost: CostCounter,
}

impl<'a> Metered<'a> {
    pub(crate) fn new(decoder: RangeDecoder<'a>) -> Self {
        Self {
            decoder,
            cost: CostCounter::default(),
        }
    }

    /// Bits so far.
    pub(crate) fn bits(&self) -> f64 {
        self.cost.bits()
    }

    /// Checks that every byte was needed.
    pub(crate) fn finish(self) -> Result<()> {
        self.decoder.finish()
    }
}

impl BitCoder for Metered<'_> {
    fn decide(&mut self, p_one: u32, bit: bool) -> bool {
        let bit = self.decoder.decide(p_one, bit);
        self.cost.add(p_one, bit);
        bit
    }

    fn check(&self) -> Result<()> {
        self.decoder.check()
    }

    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32> {
        self.cost.direct(n_bits, value)?;
        self.decoder.direct(n_bits, value)
    }
}

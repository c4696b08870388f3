//! What a quantizer may know of a coder: the price of each symbol.

/// Units of a price per bit: prices are integers, so that every machine compares them alike.
pub const PRICE_ONE_BIT: u32 = 1 << 16;

/// Prices that do not depend on what was coded before.
pub trait RateModel {
    /// Price of `symbol` in units of 1/65536 bit.
    fn bits(&self, symbol: u32) -> u32;
}

/// A table of prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPrices(Vec<u32>);

impl StaticPrices {
    /// Ideal code lengths -log2 p for symbols with these counts.
    ///
    /// A symbol that never occurs is priced as if it occurred half a time, so that it stays possible.
    pub fn from_counts(counts: &[u64]) -> Self {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        let price = |&count: &u64| {
            let count = if count == 0 { 0.5 } else { count as f64 };
            ((total / count).log2().max(0.0) * f64::from(PRICE_ONE_BIT)).round() as u32
        };
        Self(counts.iter().map(price).collect())
    }

    /// Prices given in bits, at least 0.
    pub fn from_bits(bits: &[f64]) -> Self {
        Self(bits.iter().map(|b| (b.max(0.0) * f64::from(PRICE_ONE_BIT)).round() as u32).collect())
    }

    /// The prices, by symbol.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}

impl RateModel for StaticPrices {
    /// The price in the table; beyond its end a price that nobody pays.
    fn bits(&self, symbol: u32) -> u32 {
        self.0.get(symbol as usize).copied().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_ideal_code_lengths() {
        let prices = StaticPrices::from_counts(&[4, 2, 2, 0]);
        assert_eq!(prices.as_slice(), [PRICE_ONE_BIT, 2 * PRICE_ONE_BIT, 2 * PRICE_ONE_BIT, 4 * PRICE_ONE_BIT]);
        assert_eq!(prices.bits(9), u32::MAX);
    }
}

//! What a quantizer may know of a coder: the price of each symbol.

/// One bit, in the unit of prices. Prices are integers, so that every machine compares them alike.
pub const PRICE_ONE_BIT: u32 = 1 << 16;

/// Static prices of symbols.
pub trait RateModel {
    /// Price of a symbol in 1/65536 bit ([`PRICE_ONE_BIT`] is one bit).
    fn bits(&self, symbol: u32) -> u32;
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
    fn without_counts_all_symbols_cost_the_same() {
        assert_eq!(
            StaticPrices::from_counts(&[0; 8]).as_slice(),
            [3 * PRICE_ONE_BIT; 8]
        );
        assert!(StaticPrices::from_counts(&[]).is_empty());
    }
}

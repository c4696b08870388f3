//! The symbol of one weight.

use crate::balance::Sums;
use crate::price::{PRICE_ONE_BIT, SequentialPrice};

/// What a symbol costs: `weight * (t - step * symbol)^2 + slope * bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Loss per squared distance from the target.
    pub(crate) weight: f64,
    /// Where no loss would be.
    pub(crate) target: f64,
}

impl Cost {
    /// Of a weight and its sensitivity, with its share of the sums of errors before it.
    #[inline]
    pub(crate) fn balanced((w, h): (f32, f32), sums: Option<&Sums<'_>>) -> Self {
        let (w, h) = (f64::from(w), f64::from(h));
        match sums {
            Some(sums) if h > 0.0 => {
                let (add, pivot) = sums.next();
                Cost {
                    weight: 0.5 * h * pivot,
                    target: w + add / h.sqrt(),
                }
            }
            _ => Cost {
                weight: 0.5 * h,
                target: w,
            },
        }
    }
}

/// A step and the price of rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knob {
    pub(crate) step: f32,
    /// Loss per 1/65536 bit.
    pub(crate) unit: f64,
    /// First and last symbol there is.
    pub(crate) ends: (i32, i32),
}

impl Knob {
    pub(crate) fn new(step: f32, slope: f64, price: &impl SequentialPrice) -> Self {
        Knob {
            step,
            unit: slope / f64::from(PRICE_ONE_BIT),
            ends: price.alphabet().into_inner(),
        }
    }

    /// Value of a symbol as the decoder computes it.
    #[inline]
    pub(crate) fn value(&self, symbol: i32) -> f64 {
        f64::from(self.step * symbol as f32)
    }

    /// Whether zero is a symbol.
    pub(crate) const fn has_zero(&self) -> bool {
        self.ends.0 <= 0 && self.ends.1 >= 0
    }

    /// The cheapest of the current symbol, if there is one, the multiples of the step on both sides of the target,
    /// those further towards zero as long as each costs less than the one before, and zero; all within the
    /// alphabet. The first of equals, and the nearest before the other side.
    ///
    /// So it is the cheapest of all where prices rise evenly or faster with the magnitude. A price is asked for
    /// only if the loss alone does not rule a symbol out.
    #[inline]
    pub(crate) fn choose(
        &self,
        price: &mut impl SequentialPrice,
        position: usize,
        cost: Cost,
        current: Option<i32>,
    ) -> i32 {
        let (low, high) = self.ends;
        let x = (cost.target / f64::from(self.step)).clamp(f64::from(low), f64::from(high));
        let nearest = x.round_ties_even() as i32;
        let other = if x < f64::from(nearest) {
            nearest - 1
        } else {
            nearest + 1
        };
        let inner = if nearest.abs() < other.abs() {
            nearest
        } else {
            other
        };

        let mut best = (current.unwrap_or(nearest), f64::INFINITY);
        // What a symbol costs, if it may be the cheapest.
        let mut consider = |symbol: i32| {
            let distance = cost.target - self.value(symbol);
            let loss = cost.weight * distance * distance;
            if symbol < low || symbol > high || loss >= best.1 {
                return None;
            }
            let total = loss + self.unit * f64::from(price.bits(position, symbol));
            if total < best.1 {
                best = (symbol, total);
            }
            Some(total)
        };
        let first = current.and_then(&mut consider);
        let mut cost_of = |symbol: i32| {
            if current == Some(symbol) {
                first
            } else {
                consider(symbol)
            }
        };
        let costs = [nearest, other].map(&mut cost_of);
        let mut last = costs[usize::from(inner == other)];
        let mut symbol = inner - inner.signum();
        while symbol != 0 {
            let next = cost_of(symbol);
            match (last, next) {
                (Some(before), Some(now)) if now < before => last = next,
                _ => break,
            }
            symbol -= symbol.signum();
        }
        if symbol != inner {
            cost_of(0);
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{GridPrices, StaticPrices};

    fn choose(target: f64, bits: [u32; 9], slope: f64, current: Option<i32>) -> i32 {
        let table = StaticPrices::from_bits(bits.map(|bits| bits << 16).to_vec());
        let mut price = GridPrices::new(&table, -4, 9);
        let knob = Knob::new(0.5, slope, &price);
        knob.choose(&mut price, 0, Cost { weight: 1.0, target }, current)
    }

    #[test]
    fn without_a_price_the_nearest_wins_and_ties_go_to_even() {
        for (target, symbol) in [(0.2, 0), (0.3, 1), (-0.8, -2), (0.75, 2), (-0.25, 0), (9.0, 4)] {
            assert_eq!(choose(target, [0; 9], 0.0, None), symbol, "{target}");
        }
    }

    #[test]
    fn every_candidate_can_win() {
        let cheap = |symbol: i32| {
            let mut bits = [9; 9];
            bits[(symbol + 4) as usize] = 1;
            bits
        };
        for symbol in [0, 1, 2, 3] {
            assert_eq!(choose(1.1, cheap(symbol), 0.2, None), symbol);
            assert_eq!(choose(-1.1, cheap(-symbol), 0.2, None), -symbol);
        }
        assert_eq!(choose(1.1, cheap(4), 0.2, None), 2, "4 is no candidate");
        assert_eq!(choose(1.1, cheap(4), 0.2, Some(4)), 4, "but it is kept");
        assert_eq!(choose(1.0, [1; 9], 0.2, Some(4)), 2);
        assert_eq!(
            choose(1.9, cheap(1), 0.5, None),
            4,
            "2 costs more than 3, so 1 is not looked at"
        );
        let falling = [9, 7, 4, 2, 0, 2, 4, 7, 9];
        assert_eq!(choose(1.9, falling, 0.1, None), 3);
        assert_eq!(choose(1.9, falling, 0.3, None), 2);
        assert_eq!(choose(1.9, falling, 0.3, Some(4)), 2);
        assert_eq!(choose(1.9, falling, 0.8, None), 1);
    }
}

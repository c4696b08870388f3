//! A probability that is learned from the bits seen in one context.

use super::logistic::{STRETCH_BITS, stretch};

/// Bits of a probability.
const PROB_BITS: u32 = 22;
/// Bits seen after which the rate of learning stays.
const MAX_COUNT: usize = 255;

/// 65536 / (n + 1.5): how far what comes after n others moves a mean.
pub(super) const fn rate(n: u32) -> u32 {
    131_072 / (2 * n + 3)
}

static RATE: [u32; MAX_COUNT + 1] = {
    let mut table = [0; MAX_COUNT + 1];
    let mut n = 0;
    while n <= MAX_COUNT {
        table[n] = rate(n as u32);
        n += 1;
    }
    table
};

/// A learned probability and its logit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    /// Probability of a 1 in units of 2^-22.
    p_one: u32,
    count: u16,
    /// Logit of the probability; 0 before the first bit.
    logit: i16,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            p_one: 1 << (PROB_BITS - 1),
            count: 0,
            logit: 0,
        }
    }
}

impl Counter {
    #[inline]
    pub(super) fn logit(self) -> i32 {
        self.logit.into()
    }

    /// Probability of a 1 in units of 2^-16, neither 0 nor 1.
    #[inline]
    pub(super) fn probability(self) -> u32 {
        (self.p_one >> (PROB_BITS - 16)).clamp(16, 65520)
    }

    #[inline]
    pub(super) fn update(&mut self, bit: bool) {
        let target = if bit { (1i64 << PROB_BITS) - 1 } else { 0 };
        let p = i64::from(self.p_one);
        let rate = i64::from(RATE[usize::from(self.count) & MAX_COUNT]);
        self.p_one = (p + (((target - p) * rate) >> 16)) as u32;
        self.count += u16::from(usize::from(self.count) < MAX_COUNT);
        self.logit = stretch(self.p_one >> (PROB_BITS - STRETCH_BITS));
    }
}

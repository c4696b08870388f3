//! What the indices at one position cost at a coder's prices.

use super::machine::{about, candidates, multiple};
use crate::choice::{Cost, Knob};
use crate::price::TrellisPrice;

/// Magnitudes of indices whose prices are kept while a weight is decided.
const N_KEPT: usize = 16;

/// Prices of the indices at one position, as they are asked for.
pub(crate) struct Kept<'a, P> {
    price: &'a mut P,
    position: usize,
    bits: [[u32; 2 * N_KEPT + 1]; 2],
}

/// A price that has not been asked for.
const UNKNOWN: u32 = u32::MAX - 1;

impl<'a, P: TrellisPrice> Kept<'a, P> {
    pub(crate) fn new(price: &'a mut P, position: usize) -> Self {
        Self {
            price,
            position,
            bits: [[UNKNOWN; 2 * N_KEPT + 1]; 2],
        }
    }

    fn bits(&mut self, quantizer: usize, index: i32) -> u32 {
        let Self {
            price,
            position,
            bits,
        } = self;
        let slot = usize::try_from(index + N_KEPT as i32).ok();
        match slot.and_then(|slot| bits[quantizer].get_mut(slot)) {
            Some(kept) => {
                if *kept == UNKNOWN {
                    *kept = price.index_bits(*position, quantizer, index);
                }
                *kept
            }
            None => price.index_bits(*position, quantizer, index),
        }
    }

    /// For each parity, even first, the cheapest index of a quantizer that has a level, and what it costs.
    #[inline]
    pub(crate) fn choices(&mut self, quantizer: usize, cost: Cost, knob: Knob) -> [Option<(i32, f64)>; 2] {
        let (low, high) = knob.ends;
        let at = (cost.target / f64::from(knob.step)).clamp(f64::from(low), f64::from(high));
        about(quantizer, at).map(|nearest| {
            let mut best: Option<(i32, f64)> = None;
            for index in candidates(nearest) {
                let symbol = multiple(quantizer, index) as i32;
                let distance = cost.target - knob.value(symbol);
                let loss = cost.weight * distance * distance;
                if symbol < low || symbol > high || best.is_some_and(|(_, cost)| loss >= cost) {
                    continue;
                }
                let bits = self.bits(quantizer, index);
                let cost = loss + knob.unit * f64::from(bits);
                if bits < u32::MAX && best.is_none_or(|(_, least)| cost < least) {
                    best = Some((index, cost));
                }
            }
            best
        })
    }

    /// Zero alone, for a weight that stays.
    #[inline]
    pub(crate) fn zero(&mut self, quantizer: usize, cost: Cost, knob: Knob) -> [Option<(i32, f64)>; 2] {
        let bits = f64::from(self.bits(quantizer, 0));
        let loss = cost.weight * cost.target * cost.target;
        [Some((0, loss + knob.unit * bits)), None]
    }
}

//! Random numbers whose meaning no update of a crate changes.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A stream of random numbers, fixed by its seed on every machine and in every version.
///
/// The generator is xoshiro256++. The distributions are written here rather than taken from a crate, because
/// those change between versions. They use only operations that IEEE 754 rounds in one way, so no transcendental
/// function.
///
/// # Source
/// D. Blackman, S. Vigna, Scrambled linear pseudorandom number generators, 2021.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of one seed.
    pub fn new(seed: u64) -> Self {
        Self::keyed(&[seed])
    }

    /// The stream of several numbers together, such as seed, epoch and index: what one image draws does not
    /// depend on what others drew, nor on the thread that works on it.
    pub fn keyed(key: &[u64]) -> Self {
        let seed = key
            .iter()
            .fold(key.len() as u64, |state, &part| scramble(state ^ scramble(part)));
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Uniform in `0..1`, a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `-bound..bound`.
    pub fn symmetric(&mut self, bound: f32) -> f32 {
        self.between(-bound, bound)
    }

    /// Nearly normal with mean 0 and variance 1: the sum of four uniform numbers, so never beyond 3.47.
    pub fn normal(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|field| (bits >> (16 * field)) & 0xffff).sum();
        // Each has mean 32767.5 and variance (2^32 - 1) / 12; 65536 / sqrt(3) is the deviation of the sum.
        (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
    }

    /// Uniform in `0..n`, up to a bias of `n` / 2^64; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// Puts the items in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// The finalizer of `SplitMix64`: every input bit changes every output bit with probability near 1/2.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_promised() {
        let mut random = Random::new(1);
        let n = 100_000;
        let moments = |draw: &mut dyn FnMut() -> f32| {
            let values: Vec<f64> = (0..n).map(|_| f64::from(draw())).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            (
                mean,
                values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n),
            )
        };
        // Five standard errors: 5 / sqrt(n) = 0.016 of a standard deviation.
        let (mean, variance) = moments(&mut || random.normal());
        assert!(
            mean.abs() < 0.016 && (variance - 1.0).abs() < 0.02,
            "normal: {mean} {variance}"
        );
        let (mean, variance) = moments(&mut || random.uniform());
        assert!(
            (mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.002,
            "uniform: {mean} {variance}"
        );
    }

    #[test]
    fn keys_differ_in_order_and_length() {
        let first = |key: &[u64]| Random::keyed(key).below(usize::MAX);
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        let keys: [&[u64]; 6] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1], &[1, 2, 0]];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert_ne!(first(a), first(b), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn shuffling_keeps_every_item_and_favours_no_place() {
        let mut random = Random::new(3);
        let mut seen = [[0; 4]; 4];
        for _ in 0..8000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            for (place, &item) in items.iter().enumerate() {
                seen[place][item] += 1;
            }
        }
        // Expected 2000 each; the standard deviation is sqrt(8000 * 3 / 16) = 39.
        assert!(
            seen.iter()
                .flatten()
                .all(|&count: &i32| (count - 2000).abs() < 200),
            "{seen:?}"
        );
    }
}

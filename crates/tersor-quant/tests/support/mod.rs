//! Seeded sources. Every test binary uses some of it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several test binaries, each of which uses a part"
)]

pub mod layer;

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1.
    pub fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Mean 0, variance 1.
    pub fn laplacian(&mut self) -> f64 {
        let u = self.uniform() - 0.5;
        -u.signum() * (1.0 - 2.0 * u.abs()).ln() / std::f64::consts::SQRT_2
    }

    /// `exp` of a normal variable of that deviation.
    pub fn lognormal(&mut self, deviation: f64) -> f64 {
        (deviation * self.gaussian()).exp()
    }
}

pub fn gaussian(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.gaussian() as f32).collect()
}

pub fn laplacian(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.laplacian() as f32).collect()
}

pub fn lognormal(n: usize, deviation: f64, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed ^ 0x5eed);
    (0..n).map(|_| rng.lognormal(deviation) as f32).collect()
}

/// Laplacian weights of which a share is exactly zero.
pub fn pruned(n: usize, zeros: f64, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n)
        .map(|_| {
            if rng.uniform() < zeros {
                0.0
            } else {
                rng.laplacian() as f32
            }
        })
        .collect()
}

/// `sum 1/2 h d^2`, computed plainly.
pub fn loss(w: &[f32], h: &[f32], values: impl Iterator<Item = f32>) -> f64 {
    w.iter()
        .zip(h)
        .zip(values)
        .map(|((&w, &h), v)| 0.5 * f64::from(h) * (f64::from(w) - f64::from(v)).powi(2))
        .sum()
}

//! Layers with correlated inputs, and their objective computed plainly.

use super::Rng;
use tersor_quant::SequentialPrice;

/// Seeded inputs `[n, n_in]`: neighbours are correlated, scales differ, and some directions carry most of the
/// power.
pub fn inputs(n: usize, n_in: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let scales: Vec<f64> = (0..n_in).map(|_| rng.lognormal(0.5)).collect();
    let mut x = Vec::with_capacity(n * n_in);
    for _ in 0..n {
        let common = rng.gaussian();
        let mut last = rng.gaussian();
        for scale in &scales {
            last = 0.8 * last + 0.6 * rng.gaussian();
            x.push((scale * (last + 0.7 * common)) as f32);
        }
    }
    x
}

/// The moment of independent inputs of power 1.
pub fn identity(n: usize) -> Vec<f32> {
    (0..n * n)
        .map(|i| f32::from(u8::from(i % (n + 1) == 0)))
        .collect()
}

/// `mean a b^T` over samples.
pub fn moment(a: &[f32], b: &[f32], n_in: usize) -> Vec<f32> {
    let mut sum = vec![0f64; n_in * n_in];
    for (a, b) in a.chunks_exact(n_in).zip(b.chunks_exact(n_in)) {
        for (row, &a) in sum.chunks_exact_mut(n_in).zip(a) {
            row.iter_mut()
                .zip(b)
                .for_each(|(sum, &b)| *sum += f64::from(a) * f64::from(b));
        }
    }
    let n = a.len() / n_in;
    sum.iter().map(|sum| (sum / n as f64) as f32).collect()
}

/// `[n, n_in]` times the transpose of `[rows, n_in]`.
pub fn outputs(x: &[f32], w: &[f32], n_in: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum::<f64>() as f32;
    x.chunks_exact(n_in)
        .flat_map(|x| w.chunks_exact(n_in).map(move |w| dot(x, w)))
        .collect()
}

/// Mean over rows of `e^T G e`, for `[rows, n_in]` errors.
pub fn output_error(e: &[f64], gram: &[f32], n_in: usize) -> f64 {
    e.chunks_exact(n_in).map(|e| quadratic(e, gram)).sum()
}

/// `e^T G e`.
pub fn quadratic(e: &[f64], gram: &[f32]) -> f64 {
    let dot = |row: &[f32]| row.iter().zip(e).map(|(&g, e)| f64::from(g) * e).sum::<f64>();
    gram.chunks_exact(e.len())
        .zip(e)
        .map(|(row, e)| e * dot(row))
        .sum()
}

/// `w - step * symbol`.
pub fn errors(w: &[f32], symbols: &[i32], step: f32) -> Vec<f64> {
    w.iter()
        .zip(symbols)
        .map(|(&w, &s)| f64::from(w) - f64::from(step * s as f32))
        .collect()
}

pub fn nearest(w: &[f32], step: f32) -> Vec<i32> {
    w.iter().map(|w| (w / step).round_ties_even() as i32).collect()
}

/// Order-0 entropy of all symbols together, in bits.
pub fn entropy(symbols: &[i32]) -> f64 {
    let mut sorted = symbols.to_vec();
    sorted.sort_unstable();
    let counts: Vec<u64> = sorted
        .chunk_by(|a, b| a == b)
        .map(|run| run.len() as u64)
        .collect();
    tersor_quant::entropy_bits(&counts)
}

/// `G / mean diagonal + damping I`.
pub fn curvature(gram: &[f32], n: usize, damping: f64) -> Vec<f32> {
    let mean = (0..n).map(|k| f64::from(gram[k * (n + 1)])).sum::<f64>() / n as f64;
    let added = |i: usize| if i.is_multiple_of(n + 1) { damping } else { 0.0 };
    let entry = |(i, &g): (usize, &f32)| (f64::from(g) / mean + added(i)) as f32;
    gram.iter().enumerate().map(entry).collect()
}

/// A coder that counts: prices are those of the frequencies so far, each symbol of `-reach ..= reach` counted once
/// before.
#[derive(Clone, Debug, PartialEq)]
pub struct Counting {
    reach: i32,
    counts: Vec<u32>,
    /// The next position, to see that positions come in order.
    next: usize,
}

impl Counting {
    pub fn new(reach: i32) -> Self {
        Counting {
            reach,
            counts: vec![1; 2 * reach as usize + 1],
            next: 0,
        }
    }
}

impl SequentialPrice for Counting {
    type Snapshot = Self;

    fn bits(&mut self, position: usize, symbol: i32) -> u32 {
        assert_eq!(position, self.next, "prices are asked for the next position");
        let total: u32 = self.counts.iter().sum();
        let count = self.counts[(symbol + self.reach) as usize];
        ((f64::from(total) / f64::from(count)).log2() * 65536.0).round() as u32
    }

    fn push(&mut self, position: usize, symbol: i32) {
        assert_eq!(position, self.next, "symbols are pushed in order");
        self.counts[(symbol + self.reach) as usize] += 1;
        self.next += 1;
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn snapshot(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, snapshot: &Self) {
        self.clone_from(snapshot);
    }

    fn alphabet(&self) -> std::ops::RangeInclusive<i32> {
        -self.reach..=self.reach
    }
}

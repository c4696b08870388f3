//! What a quantization cost.

/// Loss and rate of quantized weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Number of weights.
    pub n: u64,
    /// Predicted loss increase: sum of h (w - v)^2 / 2.
    pub distortion: f64,
    /// Sum of (w - v)^2.
    pub squared_error: f64,
    /// How often each symbol occurs.
    pub counts: Vec<u64>,
}

impl Report {
    /// A report of nothing, over an alphabet of `n_levels` symbols.
    pub fn new(n_levels: usize) -> Self {
        Self { counts: vec![0; n_levels], ..Self::default() }
    }

    /// Adds one weight.
    #[inline]
    pub fn add(&mut self, weight: f32, h: f32, level: f32, symbol: u16) {
        let error = f64::from(weight) - f64::from(level);
        self.n += 1;
        self.distortion += 0.5 * f64::from(h) * error * error;
        self.squared_error += error * error;
        if let Some(count) = self.counts.get_mut(usize::from(symbol)) {
            *count += 1;
        }
    }

    /// Adds the weights of another report over the same alphabet.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.distortion += other.distortion;
        self.squared_error += other.squared_error;
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Number of symbols that occur.
    pub fn levels_in_use(&self) -> usize {
        self.counts.iter().filter(|&&c| c > 0).count()
    }

    /// Bits of all symbols under an ideal code for their frequencies: n times the order-0 entropy.
    pub fn rate_bits(&self) -> f64 {
        entropy_bits(&self.counts)
    }

    /// Bits per weight: the order-0 entropy; 0 for no weights.
    pub fn rate_bpw(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.rate_bits() / self.n as f64 }
    }
}

/// Bits of symbols with these counts under an ideal code: sum of count x log2(total / count).
pub fn entropy_bits(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    counts.iter().filter(|&&c| c > 0).map(|&c| c as f64 * (total as f64 / c as f64).log2()).sum()
}

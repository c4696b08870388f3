//! What an assignment costs.

/// Loss and ideal rate of an assignment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Number of weights.
    pub n: u64,
    /// Predicted loss `sum 1/2 h d^2`.
    pub distortion: f64,
    /// `sum d^2`.
    pub squared_error: f64,
    /// Ideal order-0 rate of all symbols, without tables: `-sum count log2(count / n)`.
    pub rate_bits: f64,
    /// How often each symbol occurs.
    pub counts: Vec<u64>,
    /// Symbols that occur.
    pub levels_in_use: usize,
}

impl Report {
    /// A report with rate and use computed from the counts.
    pub fn new(counts: Vec<u64>, distortion: f64, squared_error: f64) -> Self {
        Report {
            n: counts.iter().sum(),
            distortion,
            squared_error,
            rate_bits: entropy_bits(&counts),
            levels_in_use: counts.iter().filter(|&&c| c > 0).count(),
            counts,
        }
    }

    /// The objective `distortion + slope * rate_bits`.
    pub fn j(&self, slope: f64) -> f64 {
        self.distortion + slope * self.rate_bits
    }

    /// Bits per weight; 0 without weights.
    pub fn rate_bpw(&self) -> f64 {
        if self.n == 0 {
            0.0
        } else {
            self.rate_bits / self.n as f64
        }
    }

    /// Adds the report of another part coded with the same codebook and table. Rates do not add: the sum is coded
    /// with the frequencies of both.
    pub fn merge(&mut self, other: &Report) {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(counts.len().max(other.counts.len()), 0);
        counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        let distortion = self.distortion + other.distortion;
        *self = Report::new(counts, distortion, self.squared_error + other.squared_error);
    }
}

/// Ideal order-0 code length of symbols with these counts, in bits.
pub fn entropy_bits(counts: &[u64]) -> f64 {
    let n = counts.iter().sum::<u64>() as f64;
    counts
        .iter()
        .filter(|&&c| c > 0)
        .map(|&c| c as f64 * (n / c as f64).log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_the_entropy_of_the_counts() {
        let report = Report::new(vec![2, 0, 1, 1], 3.0, 4.0);
        assert_eq!((report.n, report.rate_bits, report.levels_in_use), (4, 6.0, 3)); // 2 x 1 + 2 x 2 bits
        assert_eq!(report.j(0.5), 6.0);
    }

    #[test]
    fn merged_reports_share_one_table() {
        let mut a = Report::new(vec![4], 1.0, 1.0);
        a.merge(&Report::new(vec![0, 4], 2.0, 3.0));
        assert_eq!(a, Report::new(vec![4, 4], 3.0, 4.0));
        assert_eq!(a.rate_bits, 8.0, "each part alone would cost nothing");
    }
}

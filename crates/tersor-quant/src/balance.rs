//! What is assumed of inputs where their moments are not known: errors that add up in a row are worse than errors that cancel.
//!
//! Inputs of a layer are rarely around zero: behind a rectifier their mean is most of them, and within the window of a kernel they resemble each
//! other. So the loss of a row with errors `e` is not that of its squares alone; with the sums of `e` over the taps of each kernel and over the
//! row it is taken to be
//!
//! ```text
//! 1/2 h (sum e^2  +  kernel * sum_over_kernels (sum e)^2  +  row * (sum e)^2)
//! ```
//!
//! This is the second moment of inputs of variance 1 that have a covariance of `kernel` within a window and the squared mean `row`. Error
//! feedback with it needs no matrix: the best that all weights to come can do about the sums so far is known in closed form, so that each
//! weight knows its share. Where sensitivities differ, errors are counted in units of `1 / sqrt(h)`.
//!
//! # Source
//! Ours. Known relatives correct biases after the fact: M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization
//! Through Weight Equalization and Bias Correction", 2019.

/// Rows and kernels of a tensor, and how much sums of errors count in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    kernel: f64,
    row: f64,
    n_taps: usize,
    columns: Vec<Column>,
}

/// What a weight does about the sums of errors before it, with as many weights after it as its column has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    /// Shares of the sums of its kernel and of its row that it makes good.
    kernel: f64,
    row: f64,
    /// Loss per square of what it is off by then, the weights after it doing their best: in units of `h / 2`.
    pub(crate) pivot: f64,
    /// Whether a kernel ends with it.
    pub(crate) is_last: bool,
}

impl Column {
    /// What it makes good of the sums of its kernel and of its row.
    #[inline]
    pub(crate) fn share(&self, of_kernel: f64, of_row: f64) -> f64 {
        self.kernel * of_kernel + self.row * of_row
    }
}

impl Balance {
    /// For rows of `n_columns` weights, each of a number of kernels of `n_taps`.
    ///
    /// # Panics
    /// If there are no columns, or they are not a number of kernels.
    pub fn new((n_columns, n_taps): (usize, usize), kernel: f64, row: f64) -> Self {
        assert!(
            n_taps > 0 && n_columns > 0 && n_columns.is_multiple_of(n_taps),
            "rows are made of kernels"
        );
        let taps = n_taps as f64;
        let column = |k: usize| {
            let left = taps - (k % n_taps) as f64;
            let after = (n_columns / n_taps - k / n_taps - 1) as f64;
            // Kernels to come take their part of the row's sum, at the cost of sums of their own.
            let row = row / (1.0 + after * taps * row / (1.0 + kernel * taps));
            let both = kernel + row;
            let among = 1.0 + left * both;
            Column {
                kernel: kernel / among,
                row: row / among,
                pivot: 1.0 + both / (1.0 + (left - 1.0) * both),
                is_last: k % n_taps == n_taps - 1,
            }
        };
        Self {
            kernel,
            row,
            n_taps,
            columns: (0..n_columns).map(column).collect(),
        }
    }

    /// The same for rows of fewer kernels: as many as have `most` weights, one at least.
    #[must_use]
    pub(crate) fn shortened(&self, most: usize) -> Self {
        let n_columns = (most / self.n_taps).max(1) * self.n_taps;
        Self::new(
            (n_columns.min(self.n_columns()), self.n_taps),
            self.kernel,
            self.row,
        )
    }

    /// The columns of a row, from that of an element of a tensor on.
    pub(crate) fn columns_from(&self, first: usize) -> &[Column] {
        &self.columns[first % self.columns.len()..]
    }

    /// Number of weights of a row.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }
}

/// Sums of errors of the row at hand.
#[derive(Clone, Debug)]
pub(crate) struct Sums<'a> {
    balance: &'a Balance,
    column: usize,
    kernel: f64,
    row: f64,
    loss: f64,
}

impl<'a> Sums<'a> {
    /// Begins at an element of a tensor.
    pub(crate) fn new(balance: &'a Balance, first: usize) -> Self {
        Self {
            balance,
            column: first % balance.n_columns(),
            kernel: 0.0,
            row: 0.0,
            loss: 0.0,
        }
    }

    /// What to add to the next weight, in units of `1 / sqrt(h)`, and how much more its error counts.
    #[inline]
    pub(crate) fn next(&self) -> (f64, f64) {
        self.balance
            .columns
            .get(self.column)
            .map_or((0.0, 1.0), |c| (c.share(self.kernel, self.row), c.pivot))
    }

    /// The next weight is off by so much, in units of `1 / sqrt(h)`.
    #[inline]
    pub(crate) fn push(&mut self, error: f64) {
        self.kernel += error;
        self.row += error;
        let is_last = self.balance.columns.get(self.column).is_some_and(|c| c.is_last);
        self.column += 1;
        if is_last {
            self.loss += self.balance.kernel * self.kernel * self.kernel;
            self.kernel = 0.0;
        }
        if self.column == self.balance.n_columns() {
            self.loss += self.balance.row * self.row * self.row;
            self.row = 0.0;
            self.column = 0;
        }
    }

    /// What the sums of kernels and rows so far have added to the loss.
    pub(crate) fn loss(&self) -> f64 {
        0.5 * self.loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPS: usize = 3;
    const N: usize = 12;
    const KERNEL: f64 = 0.7;
    const ROW: f64 = 0.4;

    /// The loss of a row.
    fn loss(errors: &[f64]) -> f64 {
        let square_of_sum = |e: &[f64]| e.iter().sum::<f64>().powi(2);
        let squares: f64 = errors.iter().map(|e| e * e).sum();
        let kernels: f64 = errors.chunks(TAPS).map(square_of_sum).sum();
        squares + KERNEL * kernels + ROW * square_of_sum(errors)
    }

    /// The errors from column `from` on that are best after those before, by descent; all else stays.
    fn settle(errors: &mut [f64], from: usize) {
        for _ in 0..4000 {
            for k in from..errors.len() {
                let kernel: f64 = errors[k / TAPS * TAPS..][..TAPS].iter().sum();
                let row: f64 = errors.iter().sum();
                let slope = errors[k] + KERNEL * kernel + ROW * row;
                errors[k] -= slope / (1.0 + KERNEL + ROW);
            }
        }
    }

    #[test]
    fn each_weight_does_what_is_best_with_those_after_it() {
        let balance = Balance::new((N, TAPS), KERNEL, ROW);
        let mut sums = Sums::new(&balance, 0);
        let mut errors = [0.0; N];
        for k in 0..N {
            let (add, pivot) = sums.next();
            settle(&mut errors, k);
            assert!((errors[k] + add).abs() < 1e-6, "{k}: {} and {add}", errors[k]);
            // Off by 1 from there costs the pivot more, whatever the others make of it.
            let best = loss(&errors);
            errors[k] += 1.0;
            settle(&mut errors, k + 1);
            assert!((loss(&errors) - best - pivot).abs() < 1e-6, "{k}: {pivot}");
            sums.push(errors[k]);
        }
        let squares: f64 = errors.iter().map(|e| e * e).sum();
        assert!((squares + 2.0 * sums.loss() - loss(&errors)).abs() < 1e-9);
    }

    #[test]
    fn rows_begin_anew() {
        let balance = Balance::new((N, TAPS), KERNEL, ROW);
        let (mut within, mut sums) = (Sums::new(&balance, 2 * N + 5), Sums::new(&balance, 0));
        (0..N - 5).for_each(|_| within.push(1.0));
        (0..N).for_each(|_| sums.push(1.0));
        assert_eq!(within.next(), sums.next());
        assert_eq!(sums.next().0, 0.0);
    }
}

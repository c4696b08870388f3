//! Second moments of a layer's inputs, as they come from a file.

use std::ops::Range;

use rayon::prelude::*;

/// Two mirrored elements may differ by this share of what their diagonal allows: sums of `f32` in different orders
/// do.
const ASYMMETRY: f64 = 1e-3;

/// Moments that nothing can have, or that do not fit the layer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MomentError {
    /// A number of elements that does not fit.
    #[error("{name} has {got} elements, a layer of {n_in} inputs in blocks of {block} needs {expected}")]
    Shape {
        /// Which moment.
        name: &'static str,
        /// Its number of elements.
        got: usize,
        /// How many it should have.
        expected: usize,
        /// Inputs of the layer.
        n_in: usize,
        /// Inputs of a diagonal block.
        block: usize,
    },
    /// A number of row weights other than the number of rows.
    #[error("there are {got} row weights for {rows} rows")]
    Rows {
        /// Number of weights.
        got: usize,
        /// Number of rows.
        rows: usize,
    },
    /// NaN or infinity.
    #[error("{name} is {value} at element {index}, allowed are finite numbers")]
    NotFinite {
        /// Which moment.
        name: &'static str,
        /// Index of the element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A mean of squares below zero.
    #[error("{name} is {value:e} for {index}, a mean of squares is at least 0")]
    Negative {
        /// Which moment.
        name: &'static str,
        /// Input or row.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// Mirrored elements that differ by more than rounding.
    #[error("gram is {upper:e} for inputs {row} and {column} and {lower:e} for {column} and {row}")]
    Asymmetric {
        /// One input.
        row: usize,
        /// The other.
        column: usize,
        /// Element in the upper triangle.
        upper: f32,
        /// Element in the lower triangle.
        lower: f32,
    },
    /// A matrix that no damping up to 1 makes positive definite.
    #[error("gram is not positive definite for inputs {first} to {last}, even with its mean diagonal added")]
    Indefinite {
        /// First input of the block.
        first: usize,
        /// Last input of the block.
        last: usize,
    },
}

/// Second moments `E[x x^T]` of a layer's inputs: `[blocks, block, block]`, the diagonal blocks of an
/// `[n_in, n_in]` matrix, the last one padded. Moments between blocks count as 0; padding is not read.
///
/// A layer has one block up to some size (`n_in = block`). The scale does not matter. For a grouped convolution
/// every group is a layer of its own.
#[derive(Clone, Copy, Debug)]
pub struct Gram<'a> {
    values: &'a [f32],
    n_in: usize,
    block: usize,
}

impl<'a> Gram<'a> {
    /// Checks the moments: shape, finite elements, a diagonal of squares, symmetry up to rounding.
    ///
    /// # Errors
    /// [`MomentError`] for what does not hold.
    pub fn new(values: &'a [f32], n_in: usize, block: usize) -> Result<Self, MomentError> {
        let gram = Gram { values, n_in, block };
        gram.check_elements("gram", values)?;
        for k in 0..n_in {
            let value = gram.square(k);
            if value < 0.0 {
                let name = "the diagonal of gram";
                return Err(MomentError::Negative {
                    name,
                    index: k,
                    value,
                });
            }
        }
        gram.spans().try_for_each(|inputs| gram.check_symmetry(inputs))?;
        Ok(gram)
    }

    /// Number of inputs.
    pub const fn n_in(&self) -> usize {
        self.n_in
    }

    /// Refuses moments of another shape or with elements that are not finite.
    pub(super) fn check_elements(&self, name: &'static str, values: &[f32]) -> Result<(), MomentError> {
        let (n_in, block, got) = (self.n_in, self.block, values.len());
        let n_blocks = n_in.div_ceil(block.max(1));
        let expected = n_blocks.saturating_mul(block).saturating_mul(block);
        if got != expected || n_in == 0 || block == 0 {
            return Err(MomentError::Shape {
                name,
                got,
                expected,
                n_in,
                block,
            });
        }
        let inputs = self.spans().flat_map(|inputs| {
            let width = inputs.len();
            inputs.map(move |k| (k, width))
        });
        for (k, width) in inputs {
            let row = &values[k * block..][..width];
            if let Some(j) = row.iter().position(|value| !value.is_finite()) {
                let (index, value) = (k * block + j, row[j]);
                return Err(MomentError::NotFinite { name, index, value });
            }
        }
        Ok(())
    }

    fn check_symmetry(&self, inputs: Range<usize>) -> Result<(), MomentError> {
        let square = &self.values[inputs.start * self.block..];
        let at = |i: usize, j: usize| square[i * self.block + j];
        for i in 0..inputs.len() {
            for j in 0..i {
                let (upper, lower) = (at(j, i), at(i, j));
                let allowed = ASYMMETRY * (f64::from(at(i, i)) * f64::from(at(j, j))).sqrt();
                if f64::from(upper - lower).abs() > allowed {
                    return Err(MomentError::Asymmetric {
                        row: inputs.start + j,
                        column: inputs.start + i,
                        upper,
                        lower,
                    });
                }
            }
        }
        Ok(())
    }

    /// The inputs of each block.
    pub(super) fn spans(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n_in, block) = (self.n_in, self.block.max(1));
        (0..n_in.div_ceil(block)).map(move |i| i * block..n_in.min((i + 1) * block))
    }

    /// Mean of the diagonal; 0 for inputs that are always 0.
    pub(super) fn mean_diagonal(&self) -> f64 {
        (0..self.n_in).map(|k| f64::from(self.square(k))).sum::<f64>() / self.n_in as f64
    }

    /// Mean square of an input: row `k` of all rows, column `k % block` of its block.
    fn square(&self, k: usize) -> f32 {
        self.values[k * self.block + k % self.block]
    }

    /// One block times `scale` plus `damping` on the diagonal, exactly symmetric.
    pub(super) fn damped(&self, inputs: &Range<usize>, scale: f64, damping: f64) -> Vec<f32> {
        let (n, square) = (inputs.len(), &self.values[inputs.start * self.block..]);
        let at = |i: usize, j: usize| f64::from(square[i * self.block + j]);
        let mut h = vec![0f32; n * n];
        h.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            for (j, h) in row.iter_mut().enumerate() {
                let added = if i == j { damping } else { 0.0 };
                *h = (0.5 * scale * (at(i, j) + at(j, i)) + added) as f32;
            }
        });
        h
    }

    /// The rows of a moment of the same shape that belong to one block, and the elements from row to row.
    pub(super) fn rows_of<'b>(&self, values: &'b [f32], inputs: &Range<usize>) -> (&'b [f32], usize) {
        (&values[inputs.start * self.block..], self.block)
    }
}

/// Row weights with mean 1; equal ones if there are none, or all are 0.
pub(super) fn row_weights(given: Option<&[f32]>, rows: usize) -> Result<Vec<f64>, MomentError> {
    let Some(given) = given else {
        return Ok(vec![1.0; rows]);
    };
    let name = "a row weight";
    if given.len() != rows {
        return Err(MomentError::Rows {
            got: given.len(),
            rows,
        });
    }
    for (index, &value) in given.iter().enumerate() {
        if !value.is_finite() {
            return Err(MomentError::NotFinite { name, index, value });
        }
        if value < 0.0 {
            return Err(MomentError::Negative { name, index, value });
        }
    }
    let mean = given.iter().map(|&v| f64::from(v)).sum::<f64>() / rows.max(1) as f64;
    let weight = |&v: &f32| if mean > 0.0 { f64::from(v) / mean } else { 1.0 };
    Ok(given.iter().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_on_the_diagonal_and_padding_is_not_read() {
        let nan = f32::NAN;
        let values = [1.0, 0.5, 0.5, 4.0, 1.0, nan, nan, nan];
        let gram = Gram::new(&values, 3, 2).unwrap();
        assert_eq!(gram.spans().collect::<Vec<_>>(), [0..2, 2..3]);
        assert_eq!(gram.mean_diagonal(), 2.0);
        assert_eq!(gram.damped(&(0..2), 0.5, 0.25), [0.75, 0.25, 0.25, 2.25]);
        assert_eq!(gram.damped(&(2..3), 0.5, 0.25), [0.75]);
    }

    #[test]
    fn rounding_between_the_triangles_is_evened_out() {
        let values = [1.0, 0.5, 0.500_1, 1.0];
        let gram = Gram::new(&values, 2, 2).unwrap();
        let h = gram.damped(&(0..2), 1.0, 0.0);
        assert_eq!(h[1], h[2]);
        assert!((h[1] - 0.500_05).abs() < 1e-7);
    }

    #[test]
    fn row_weights_have_mean_one() {
        assert_eq!(row_weights(Some(&[1.0, 3.0]), 2), Ok(vec![0.5, 1.5]));
        assert_eq!(row_weights(Some(&[0.0, 0.0]), 2), Ok(vec![1.0, 1.0]));
        assert_eq!(row_weights(None, 1), Ok(vec![1.0]));
    }
}

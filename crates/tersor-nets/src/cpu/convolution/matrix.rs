//! Products of matrices in slices: the only unsafe code of the crate.
//!
//! Measured by `examples/speed.rs`: the framework's own product copies both matrices and the result, and asks for memory each time.

/// A matrix in a slice, row by row.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix of so many rows and columns.
    ///
    /// # Panics
    /// If the slice is of another length.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(
            rows.checked_mul(columns) == Some(values.len()),
            "a matrix of {rows} x {columns} in {} values",
            values.len()
        );
        Self {
            values,
            rows,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// The same values with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// `sum = sum + a b`, or `a b` if nothing is to be added to; `sum` is stored row by row.
///
/// # Panics
/// If extents do not fit together.
#[expect(
    unsafe_code,
    reason = "the product takes pointers; all that it needs to be sound is checked here"
)]
pub(super) fn multiply(sum: &mut [f32], adds: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let (rows, columns, inner) = (a.rows, b.columns, a.columns);
    assert!(
        inner == b.rows && rows.checked_mul(columns) == Some(sum.len()),
        "a product of {rows} x {inner} and {} x {columns} in {} values",
        b.rows,
        sum.len()
    );
    // SAFETY: element (i, j) of a matrix lies at i * row_step + j * column_step. `Matrix::new` has checked that rows x columns
    // values are there, and its steps, (columns, 1), exchanged together with the extents if at all, keep every such index
    // below rows x columns. `sum` has rows x columns values at steps (columns, 1). It is borrowed mutably, so that it overlaps
    // with neither matrix. All bits are valid f32, and no slice is longer than isize::MAX bytes, so that steps fit isize.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            sum.as_mut_ptr(),
            1,
            columns as isize,
            adds,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_worked_by_hand() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0];
        let mut sum = [100.0; 4];
        multiply(&mut sum, false, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
        assert_eq!(sum, [5.0, 11.0, 14.0, 23.0]);
        multiply(&mut sum, true, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
        assert_eq!(sum, [10.0, 22.0, 28.0, 46.0]);
        // a^T [3, 2] times b^T's first columns: rows (1 4), (2 5), (3 6) times ((1 2 0), (0 1 3)).
        let mut sum = [0.0; 9];
        multiply(
            &mut sum,
            false,
            Matrix::new(&a, 2, 3).transposed(),
            Matrix::new(&b, 3, 2).transposed(),
        );
        assert_eq!(sum, [1.0, 6.0, 12.0, 2.0, 9.0, 15.0, 3.0, 12.0, 18.0]);
    }

    #[test]
    #[should_panic(expected = "a product of 2 x 3 and 2 x 3")]
    fn extents_that_do_not_fit_are_refused() {
        let a = [0.0; 6];
        multiply(&mut [0.0; 6], false, Matrix::new(&a, 2, 3), Matrix::new(&a, 2, 3));
    }
}

//! What is assumed of the inputs of a layer whose moments are not known.

use tersor_quant::Balance;

/// Squared mean of the inputs of kernels, and what those within a window have in common, over their variance. On ResNet-32 and
/// `SqueezeNet` from a tenth to four times as much does about as well.
const MEAN: f64 = 0.5;
const COVARIANCE: f64 = 1.0;
/// Most weights of a row: what is assumed of a row takes 32 bytes each.
const MAX_COLUMNS: usize = 1 << 20;

/// How errors of kernels add up over their inputs, the axes after the first; the third axis and those after it are the window's.
///
/// Matrices are left alone: the inputs of many follow a normalisation that centres them.
pub(crate) fn assumed(shape: &[u64]) -> Option<Balance> {
    Some(Balance::new(rows(shape)?, COVARIANCE, MEAN))
}

/// Whether anything is assumed of the inputs of a tensor of this shape.
pub(crate) fn is_kernel(shape: &[u64]) -> bool {
    rows(shape).is_some()
}

/// Weights of a row of kernels, and of a kernel.
fn rows(shape: &[u64]) -> Option<(usize, usize)> {
    let [_, inputs, kernel @ ..] = shape else {
        return None;
    };
    let taps = kernel.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent))?;
    let columns = usize::try_from(inputs.checked_mul(taps)?).ok()?;
    let fits = !kernel.is_empty() && (2..=MAX_COLUMNS).contains(&columns);
    fits.then_some((columns, taps as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_axes_after_the_first() {
        let columns = |shape: &[u64]| assumed(shape).map(|b| b.n_columns());
        assert_eq!(columns(&[16, 8, 3, 3]), Some(72));
        assert_eq!(columns(&[10, 64, 1, 1]), Some(64));
        assert_eq!(columns(&[10, 1, 1]), None);
        assert_eq!(columns(&[10, 64]), None);
        assert_eq!(columns(&[10]), None);
        assert_eq!(columns(&[]), None);
        assert_eq!(columns(&[3, 0, 3]), None);
        assert_eq!(columns(&[1, 1 << 40]), None);
        assert_eq!(columns(&[1, 1 << 40, 1 << 40]), None);
    }
}

//! Errors of decoded elements, in f64 from whatever type they have.

use rayon::prelude::*;
use tersor_codec::{Dtype, decode_to_f32};

/// Elements that are converted at once.
const CHUNK: usize = 1 << 16;

/// How far decoded elements are from the original ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Errors {
    /// Sum of squared errors.
    pub(super) squared: f64,
    /// Sum of squares of the finite original elements.
    pub(super) energy: f64,
    /// Largest absolute error.
    pub(super) largest: f64,
}

impl Errors {
    /// Errors of two tensors of the same float type. An element with the same bytes has none, whatever it is; one that is
    /// not finite on one side only is infinitely far off.
    pub(super) fn of(original: &[u8], decoded: &[u8], dtype: Dtype) -> Self {
        let size = dtype.size_bytes();
        let chunks = original
            .par_chunks(CHUNK * size)
            .zip(decoded.par_chunks(CHUNK * size));
        let each: Vec<Self> = chunks.map(|(a, b)| Self::of_chunk(a, b, dtype)).collect();
        each.into_iter().fold(Self::default(), Self::add)
    }

    fn of_chunk(original: &[u8], decoded: &[u8], dtype: Dtype) -> Self {
        let size = dtype.size_bytes();
        let values = to_f64(original, dtype).into_iter().zip(to_f64(decoded, dtype));
        let bytes = original.chunks_exact(size).zip(decoded.chunks_exact(size));
        let mut errors = Self::default();
        for ((a, b), (a_bytes, b_bytes)) in values.zip(bytes) {
            if a.is_finite() {
                errors.energy += a * a;
            }
            if a_bytes == b_bytes {
                continue;
            }
            let error = if a.is_finite() && b.is_finite() {
                (a - b).abs()
            } else {
                f64::INFINITY
            };
            errors.squared += error * error;
            errors.largest = errors.largest.max(error);
        }
        errors
    }

    pub(super) fn add(self, other: Self) -> Self {
        Self {
            squared: self.squared + other.squared,
            energy: self.energy + other.energy,
            largest: self.largest.max(other.largest),
        }
    }

    /// Squared error over energy; 0 without an error.
    pub(super) fn noise(&self) -> f64 {
        if self.squared == 0.0 {
            0.0
        } else {
            self.squared / self.energy
        }
    }
}

fn to_f64(bytes: &[u8], dtype: Dtype) -> Vec<f64> {
    if dtype == Dtype::F64 {
        let (elements, _) = bytes.as_chunks();
        return elements.iter().map(|b| f64::from_le_bytes(*b)).collect();
    }
    let values = decode_to_f32(bytes, dtype).unwrap_or_default();
    values.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f64s(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn errors_of_f64_are_told_below_the_precision_of_f32() {
        let (a, b) = (f64s(&[1.0, 2.0]), f64s(&[1.0, 2.0 + 2f64.powi(-40)]));
        let errors = Errors::of(&a, &b, Dtype::F64);
        assert_eq!(errors.largest, 2f64.powi(-40));
        assert_eq!(errors.noise(), 2f64.powi(-80) / 5.0);
    }

    #[test]
    fn what_is_not_finite_is_right_only_if_it_is_the_same() {
        let same = f64s(&[f64::NAN, f64::INFINITY, 3.0]);
        let none = Errors {
            energy: 9.0,
            ..Errors::default()
        };
        assert_eq!(Errors::of(&same, &same, Dtype::F64), none);
        let other = f64s(&[0.0, f64::INFINITY, 3.0]);
        assert_eq!(Errors::of(&same, &other, Dtype::F64).largest, f64::INFINITY);
    }

    #[test]
    fn chunks_add_up_to_the_whole() {
        let n = 2 * CHUNK + 3;
        let a: Vec<u8> = (0..n).flat_map(|_| 1f32.to_le_bytes()).collect();
        let b: Vec<u8> = (0..n).flat_map(|_| 1.5f32.to_le_bytes()).collect();
        let errors = Errors::of(&a, &b, Dtype::F32);
        assert_eq!((errors.squared, errors.energy), (0.25 * n as f64, n as f64));
    }
}

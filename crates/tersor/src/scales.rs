//! Scales of rows: where some matter less than others, their steps are larger.
//!
//! With w = s v for each row, an error of v costs h s^2: rows of mean sensitivity h that are divided by s = h^(-1/2) are alike, and one step
//! suits all of them. At high rates that saves log2(mean h / geometric mean of h) / 2 bits per weight.

use tersor_codec::{Scales, TensorInfo};
use tersor_quant::Span;

/// Bits after the leading one of a scale: steps that are a tenth off cost next to nothing, and few different scales few bits.
const MANTISSA_BITS: u32 = 2;
/// Bits of a scale in a file, about.
const BITS: f64 = 6.0;
/// Saving over cost from which rows are scaled: at low rates less is saved than at high ones.
const WORTH: f64 = 2.0;
/// Least sensitivity of a row, in that of all: examples that it was measured on need not have every token.
const LEAST: f64 = 0.03;

/// A tensor whose rows are divided by scales.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScaledRows {
    pub(crate) scales: RowScales,
    /// Range of the quotients.
    pub(crate) span: Span,
    /// Mean sensitivity to their errors.
    pub(crate) mean_h: f64,
}

impl ScaledRows {
    /// A tensor with these scales.
    pub(crate) fn new(scales: RowScales, weights: &[f32], mean_h: f64) -> Self {
        Self {
            span: Span::of_slice(&scales.divided(weights)),
            scales,
            mean_h,
        }
    }

    /// Largest magnitude of a quotient times any scale.
    pub(crate) fn magnitude(&self) -> f32 {
        self.span.magnitude() * self.scales.largest()
    }
}

/// Scales of the rows of a tensor, with a geometric mean of about 1.
#[derive(Clone, Debug, PartialEq)]
pub struct RowScales {
    scales: Scales,
    row_len: usize,
}

impl RowScales {
    /// Scales for a tensor whose elements have these sensitivities, if they are worth their bits.
    pub(crate) fn new(info: &TensorInfo, h: &[f32]) -> Option<Self> {
        let n_rows = usize::try_from(*info.shape.first()?).ok()?;
        let row_len = h.len().checked_div(n_rows)?.max(1);
        let mean = |row: &[f32]| row.iter().map(|&h| f64::from(h)).sum::<f64>() / row_len as f64;
        let mut means: Vec<f64> = h.chunks(row_len).map(mean).collect();
        let all = means.iter().sum::<f64>() / n_rows as f64;
        for mean in &mut means {
            *mean = mean.max(LEAST * all);
        }
        let geometric = means.iter().map(|m| m.ln()).sum::<f64>() / n_rows as f64;
        let saved = 0.5 * (all.ln() - geometric) * std::f64::consts::LOG2_E * row_len as f64;
        if !saved.is_finite() || saved < WORTH * BITS {
            return None;
        }
        let scale = |mean: &f64| rounded((0.5 * (geometric - mean.ln())).exp() as f32);
        Some(Self {
            scales: Scales {
                axis: 0,
                values: means.iter().map(scale).collect(),
            },
            row_len,
        })
    }

    /// One for each row of a tensor of so many elements.
    pub fn of_rows(values: Vec<f32>, n_elements: usize) -> Self {
        Self {
            row_len: (n_elements / values.len().max(1)).max(1),
            scales: Scales { axis: 0, values },
        }
    }

    /// One for each row.
    pub fn values(&self) -> &[f32] {
        &self.scales.values
    }

    /// As a file has them.
    pub(crate) fn stored(&self) -> &Scales {
        &self.scales
    }

    /// The largest.
    fn largest(&self) -> f32 {
        self.scales.values.iter().copied().fold(0.0, f32::max)
    }

    /// That of an element.
    pub(crate) fn at(&self, element: usize) -> f64 {
        let row = element / self.row_len;
        self.scales.values.get(row).copied().map_or(1.0, f64::from)
    }

    /// Weights over their scales.
    pub fn divided(&self, weights: &[f32]) -> Vec<f32> {
        self.each(weights, |w, scale| w / scale)
    }

    /// Quotients times their scales.
    pub fn multiplied(&self, quotients: &[f32]) -> Vec<f32> {
        self.each(quotients, |v, scale| v * scale)
    }

    fn each(&self, elements: &[f32], change: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let change = &change;
        let rows = elements.chunks(self.row_len).zip(self.values());
        rows.flat_map(|(row, &scale)| row.iter().map(move |&x| change(x, scale)))
            .collect()
    }
}

/// A number with few bits after the leading one, close to a positive one.
fn rounded(scale: f32) -> f32 {
    let drop = 23 - MANTISSA_BITS;
    f32::from_bits((scale.to_bits() + (1 << (drop - 1))) >> drop << drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tersor_codec::Dtype;

    fn info(shape: &[u64]) -> TensorInfo {
        TensorInfo {
            name: "w".into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            shard: 0,
        }
    }

    #[test]
    fn rows_are_divided_by_the_roots_of_their_sensitivities() {
        // Sensitivities 4, 1 and 1/4: geometric mean 1.
        let h: Vec<f32> = (0..192).map(|i| 4f32.powi(1 - i / 64)).collect();
        let scales = RowScales::new(&info(&[3, 64]), &h).unwrap();
        assert_eq!(scales.stored().values, [0.5, 1.0, 2.0]);
        assert_eq!((scales.at(63), scales.at(64), scales.largest()), (0.5, 1.0, 2.0));
        let divided = scales.divided(&[3.0; 192]);
        assert_eq!([divided[0], divided[64], divided[191]], [6.0, 3.0, 1.5]);
    }

    #[test]
    fn rows_that_are_alike_or_short_have_none() {
        assert_eq!(RowScales::new(&info(&[3, 64]), &[2.0; 192]), None);
        let short: Vec<f32> = (0..12).map(|i| 4f32.powi(i / 4)).collect();
        assert_eq!(RowScales::new(&info(&[3, 4]), &short), None);
        assert_eq!(RowScales::new(&info(&[3, 64]), &[0.0; 192]), None);
        assert_eq!(RowScales::new(&info(&[0, 64]), &[]), None);
    }

    #[test]
    fn a_row_that_does_not_matter_has_a_finite_scale() {
        let h: Vec<f32> = (0..256).map(|i| if i < 64 { 0.0 } else { 1.0 }).collect();
        let scales = RowScales::new(&info(&[4, 64]), &h).unwrap();
        let values = &scales.stored().values;
        assert!(values.iter().all(|s| s.is_finite() && *s > 0.0), "{values:?}");
        assert!(values[0] > 4.0 * values[1], "{values:?}");
    }

    #[test]
    fn scales_have_few_bits() {
        for (scale, expected) in [(1.0, 1.0), (1.1, 1.0), (1.13, 1.25), (1.9, 2.0), (0.3, 0.3125)] {
            assert_eq!(rounded(scale), expected);
        }
    }
}

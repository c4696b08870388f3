//! Second moments of what reaches a layer in two networks at once.

use super::Inputs;
use crate::examples::Batch;
use crate::graph::{Op, Value};
use crate::lockstep::Sides;
use crate::sensitivity::{MAX_GRAM, add_products, input_rows, select};
use crate::{Error, Result};
use burn::tensor::Tensor;

/// Moments of a layer with `n_in` inputs, in diagonal blocks of `block`, the last one filled up with zeros.
pub(super) struct PairMoments {
    pub(super) n_in: usize,
    pub(super) block: usize,
    /// `[blocks, block, block]`: `E[x x^T]`, x what reaches the layer, the changed one unless the original's inputs are wanted.
    pub(super) gram: Vec<f32>,
    /// In the same shape: `E[x_original x^T]`, if targets are corrected.
    pub(super) cross: Option<Vec<f32>>,
}

impl PairMoments {
    /// Moments over all batches; of every k-th row (position of an image or a sequence) where there are more than
    /// `rows_per_input` times the inputs.
    pub(super) fn new(op: &Op, inputs: &Sides<'_>, (which, rows_per_input): (Inputs, usize)) -> Result<Self> {
        let seen = match which {
            Inputs::Original => inputs.original,
            Inputs::Quantized | Inputs::Corrected => inputs.changed,
        };
        let rows = |value: &Value, batch: &Batch| {
            let rows = input_rows(op, value, batch);
            rows.ok_or_else(|| Error::Internal("a layer whose inputs have no rows".into()))
        };
        let first = seen.first().zip(inputs.batches.first());
        let first = first.map(|(value, batch)| rows(value, batch)).transpose()?;
        let [n_rows, n_in] = first.map_or([0, 0], |rows| rows.dims());
        let stride = (n_rows * seen.len() / rows_per_input.saturating_mul(n_in).max(1)).max(1);
        let block = n_in.clamp(1, MAX_GRAM);
        let len = n_in.div_ceil(block) * block * block;
        let mut gram = vec![0f64; len];
        let mut cross = (which == Inputs::Corrected).then(|| vec![0f64; len]);
        let mut n = 0;
        let sides = inputs.original.iter().zip(seen).zip(inputs.batches);
        for (at, ((original, seen), batch)) in sides.enumerate() {
            let seen = thinned(rows(seen, batch)?, stride, at);
            n += seen.dims()[0];
            add_products(&mut gram, block, &seen, &seen)?;
            if let Some(cross) = &mut cross {
                add_products(cross, block, &thinned(rows(original, batch)?, stride, at), &seen)?;
            }
        }
        let mean = |sums: Vec<f64>| sums.iter().map(|s| (s / n.max(1) as f64) as f32).collect();
        Ok(Self {
            n_in,
            block,
            gram: mean(gram),
            cross: cross.map(mean),
        })
    }
}

/// Every `stride`-th row; which ones depends on the batch.
fn thinned(rows: Tensor<2>, stride: usize, batch: usize) -> Tensor<2> {
    if stride == 1 {
        return rows;
    }
    let indices = (batch % stride..rows.dims()[0]).step_by(stride);
    let indices: Vec<i32> = indices.map(|row| row as i32).collect();
    select(rows, &indices)
}

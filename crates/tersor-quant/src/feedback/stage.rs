//! What is done to a batch of rows: feedback, and passes of coordinate descent.
//!
//! Each row has a *field*, an `f64` per weight, which is used three times over. During feedback it is what the
//! errors so far push onto the columns to come, `sum_{j<k} e_j U_jk`; done with a column, `z_k = sum_{j<=k} e_j
//! U_jk`, so that the loss of a row is its weight times `|z|^2`. Then [`to_gradient`](Problem::to_gradient) turns
//! it to `g = U z = H e` for the descent.

use super::panel::{Rows, add_row, blocks};
use super::problem::{Curvature, Problem};
use crate::choice::{Cost, Knob};
use crate::price::SequentialPrice;

/// Consecutive rows with their symbols and fields.
pub(super) struct Batch<'a> {
    /// Index of the first.
    pub(super) first: usize,
    pub(super) symbols: &'a mut [i32],
    pub(super) field: &'a mut [f64],
}

impl Problem<'_> {
    /// Assigns symbols column by column, each with the errors before it pushed onto its target.
    ///
    /// Batches of more than one row need prices that do not depend on the order.
    pub(super) fn feed(&self, batch: &mut Batch, knob: Knob, price: &mut impl SequentialPrice) {
        batch.field.fill(0.0);
        let mut errors = Vec::new();
        for curvature in &self.curvatures {
            for block in blocks(curvature.inputs.len()) {
                let width = block.len();
                errors.clear();
                for (r, field) in batch.field.chunks_exact_mut(self.n_in()).enumerate() {
                    let field = &mut field[curvature.inputs.clone()];
                    let row = batch.first + r;
                    for k in block.clone() {
                        let column = curvature.inputs.start + k;
                        let position = row * self.n_in() + column;
                        let pivot = curvature.factor.diagonal(k);
                        let wanted = f64::from(self.targets[position]);
                        let symbol = if self.is_pinned(position, knob) {
                            0
                        } else {
                            let cost = Cost {
                                weight: self.config.caution * self.half_weights[row] * pivot * pivot,
                                target: wanted + field[k] / pivot,
                            };
                            knob.choose(price, position, cost, None)
                        };
                        price.push(position, symbol);
                        batch.symbols[r * self.n_in() + column] = symbol;
                        let error = wanted - knob.value(symbol);
                        field[k] += error * pivot;
                        let rest = k + 1..block.end;
                        add_row(&mut field[rest.clone()], error, &curvature.factor.row(k)[rest]);
                        errors.push(error);
                    }
                }
                let panel = curvature.factor.panel(block.start);
                let columns = block.end..curvature.inputs.len();
                self.part(batch.field, curvature)
                    .add(&errors, width, panel, columns);
            }
        }
    }

    /// Turns the field that feedback leaves to the gradient `H e`.
    pub(super) fn to_gradient(&self, field: &mut [f64]) {
        let mut coefs = Vec::new();
        for curvature in &self.curvatures {
            for block in blocks(curvature.inputs.len()) {
                coefs.clear();
                for field in field.chunks_exact_mut(self.n_in()) {
                    let field = &mut field[curvature.inputs.clone()];
                    coefs.extend_from_slice(&field[block.clone()]);
                    for k in block.clone() {
                        let z = field[k];
                        let row = &curvature.factor.row(k)[block.start..=k];
                        field[k] = 0.0;
                        add_row(&mut field[block.start..=k], z, row);
                    }
                }
                let panel = curvature.factor.panel(block.start);
                self.part(field, curvature)
                    .add(&coefs, block.len(), panel, 0..block.start);
            }
        }
    }

    /// One pass of coordinate descent: every symbol becomes the cheapest given all others. Symbols that cost
    /// the same as the present one do not replace it.
    pub(super) fn descend(&self, batch: &mut Batch, knob: Knob, price: &mut impl SequentialPrice) {
        let mut changes = Vec::new();
        for curvature in &self.curvatures {
            let n = curvature.inputs.len();
            for block in blocks(n) {
                changes.clear();
                for (r, field) in batch.field.chunks_exact_mut(self.n_in()).enumerate() {
                    let field = &mut field[curvature.inputs.clone()];
                    let row = batch.first + r;
                    for k in block.clone() {
                        let column = curvature.inputs.start + k;
                        let position = row * self.n_in() + column;
                        let present = &mut batch.symbols[r * self.n_in() + column];
                        let h = &curvature.h[k * n..][block.clone()];
                        let diagonal = f64::from(h[k - block.start]);
                        let mut change = 0.0;
                        if !self.is_pinned(position, knob) {
                            let cost = Cost {
                                weight: self.half_weights[row] * diagonal,
                                target: knob.value(*present) + field[k] / diagonal,
                            };
                            let symbol = knob.choose(price, position, cost, Some(*present));
                            change = knob.value(*present) - knob.value(symbol);
                            *present = symbol;
                        }
                        price.push(position, *present);
                        if change != 0.0 {
                            add_row(&mut field[block.clone()], change, h);
                        }
                        changes.push(change);
                    }
                }
                let panel = curvature.panel(block.start);
                let mut rows = self.part(batch.field, curvature);
                rows.add(&changes, block.len(), panel, 0..block.start);
                rows.add(&changes, block.len(), panel, block.end..n);
            }
        }
    }

    /// Loss of every row of a batch after feedback.
    pub(super) fn losses_fed<'b>(&'b self, first: usize, field: &'b [f64]) -> impl Iterator<Item = f64> + 'b {
        let rows = field.chunks_exact(self.n_in()).zip(&self.half_weights[first..]);
        rows.map(|(field, weight)| weight * field.iter().map(|z| z * z).sum::<f64>())
    }

    /// Loss of every row of a batch with its gradient.
    pub(super) fn losses<'b>(&'b self, batch: &'b Batch, knob: Knob) -> impl Iterator<Item = f64> + 'b {
        let first = batch.first * self.n_in();
        let error = move |i: usize| f64::from(self.targets[first + i]) - knob.value(batch.symbols[i]);
        let rows = batch.field.chunks_exact(self.n_in()).enumerate();
        rows.map(move |(r, field)| {
            let start = r * self.n_in();
            let product: f64 = field.iter().enumerate().map(|(k, g)| g * error(start + k)).sum();
            self.half_weights[batch.first + r] * product
        })
    }

    /// Whether a weight is a zero that stays.
    #[inline]
    pub(super) fn is_pinned(&self, position: usize, knob: Knob) -> bool {
        self.config.keep_zeros && self.layer.weights[position] == 0.0 && knob.has_zero()
    }

    pub(super) fn part<'b>(&self, field: &'b mut [f64], curvature: &Curvature) -> Rows<'b> {
        Rows {
            values: field,
            stride: self.n_in(),
            offset: curvature.inputs.start,
        }
    }
}

//! Codebooks at one operating point: what each tensor will be coded with, and what that costs.

mod assigner;
mod codebooks;
mod designer;
mod levels;
mod part;
mod steps;

pub(crate) use assigner::{Assigner, assign, grid_codebook};
pub(crate) use designer::Designer;
pub(crate) use part::{Loaded, Part};
pub(crate) use steps::{SMALL, short, within};

use crate::feedback::LayerSymbols;
use std::sync::Arc;
use tersor_codec::Codebook;
use tersor_quant::Report;

/// Iterations of prices and assignment on a grid.
pub(crate) const GRID_ITERATIONS: usize = 3;

/// Levels of a clustering for a single tensor whose number is not given.
const DEFAULT_LEVELS: usize = 16;

/// Largest sensitivity that quantizers see: products with squared errors stay finite.
pub(crate) const LARGEST_H: f64 = 1e30;

/// What sets the rate of a method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Knob {
    /// Predicted loss per bit.
    Slope(f64),
    /// Number of levels of a clustering.
    Levels(usize),
    /// Step of uniform cells common to all tensors.
    Step(f32),
}

/// A tensor's codebook and how it is used.
#[derive(Clone, Debug)]
pub(crate) struct Coding {
    /// Index in [`Design::codebooks`].
    pub(crate) codebook: usize,
    pub(crate) assigner: Assigner,
    /// Expected counts and loss; exact for all methods but grids, which may do slightly better, and choose other symbols in context.
    pub(crate) report: Report,
}

/// Codebooks of a whole checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Design {
    pub(crate) codebooks: Vec<Codebook>,
    /// One per tensor; `None` if it is not quantized.
    pub(crate) codings: Vec<Option<Coding>>,
    /// Slope in effect: given, or implied by the loss of a clustering.
    pub(crate) slope: f64,
}

impl Design {
    /// Gives a tensor its symbols, in place of what it had.
    pub(crate) fn set_symbols(&mut self, index: usize, layer: Arc<LayerSymbols>) {
        let (codebook, report) = (grid_codebook(&layer.grid), layer.report.clone());
        self.add(index, codebook, Assigner::Symbols(layer), report);
    }

    fn add(&mut self, index: usize, codebook: Codebook, assigner: Assigner, report: Report) {
        let known = self.codebooks.iter().rposition(|c| *c == codebook);
        let codebook = known.unwrap_or_else(|| {
            self.codebooks.push(codebook);
            self.codebooks.len() - 1
        });
        if let Some(slot) = self.codings.get_mut(index) {
            *slot = Some(Coding {
                codebook,
                assigner,
                report,
            });
        }
    }

    /// Numbers codebooks in the order of their first use, as a file needs them.
    pub(crate) fn order_codebooks(&mut self) {
        let mut order: Vec<Option<usize>> = vec![None; self.codebooks.len()];
        let mut ordered = Vec::with_capacity(self.codebooks.len());
        for coding in self.codings.iter_mut().flatten() {
            let old = coding.codebook;
            let Some(slot) = order.get_mut(old) else { continue };
            coding.codebook = *slot.get_or_insert_with(|| {
                ordered.extend(self.codebooks.get(old).cloned());
                ordered.len() - 1
            });
        }
        self.codebooks = ordered;
    }
}

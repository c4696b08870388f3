//! What is looked at of a tensor: all of it, or a sample.

use super::LARGEST_H;
use crate::samples::Sampled;
use crate::sensitivity::TensorSensitivity;
use std::borrow::Cow;
use tersor_quant::{Balance, Report, Source};

/// Weights and sensitivities of one tensor as it is quantized, loaded.
pub(crate) struct Loaded<'a> {
    pub(crate) weights: Cow<'a, [f32]>,
    pub(super) h: Option<TensorSensitivity<'a>>,
    /// Mean sensitivity; beyond the range of f32 for tensors of extreme magnitudes under relative precision.
    pub(crate) mean_h: f64,
    /// How its errors add up, if that is to be minded.
    pub(super) balance: Option<Balance>,
}

impl Loaded<'_> {
    /// The tensor as a quantizer sees it.
    pub(crate) fn source(&self) -> Source<'_> {
        let source = match &self.h {
            Some(h) => h.source(&self.weights),
            None => Source::constant(&self.weights, self.mean_h.min(LARGEST_H) as f32),
        };
        match &self.balance {
            Some(balance) => source.balanced(balance),
            None => source,
        }
    }
}

/// What a design looks at of a tensor.
pub(crate) enum Part<'a, 's> {
    Whole(Loaded<'a>),
    Sample(&'s Sampled),
}

impl Part<'_, '_> {
    pub(crate) fn source(&self) -> Source<'_> {
        match self {
            Part::Whole(loaded) => loaded.source(),
            Part::Sample(sampled) => sampled.source(),
        }
    }

    /// A report of the part as that of the tensor.
    pub(crate) fn scaled(&self, report: Report) -> Report {
        match self {
            Part::Whole(_) => report,
            Part::Sample(sampled) => sampled.scaled(&report),
        }
    }
}

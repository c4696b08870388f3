//! What sizes and ratios refer to.

use crate::design::Designer;
use crate::plan::Treatment;
use serde::Serialize;
use tersor_codec::TensorInfo;

/// Sizes that ratios refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InputSize {
    /// Bytes of the tensors as stored.
    #[serde(rename = "tensor_bytes")]
    pub bytes: u64,
    /// Weights: elements of floating-point tensors, shared ones once, running statistics included. What bits per weight
    /// refer to.
    pub n_weights: u64,
    /// Trainable parameters: those of the weights that are no running statistics. What the paper's ratio refers to.
    pub n_parameters: u64,
}

/// Whether a tensor is a buffer that training does not touch by gradients.
fn is_buffer(name: &str) -> bool {
    ["running_mean", "running_var", "num_batches_tracked", "inv_freq"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// What a tensor has in common with an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nothing.
    Own,
    /// Its bytes, which a file stores for both.
    Equal,
    /// Its storage: the bytes are in the checkpoint once.
    Tied,
}

impl InputSize {
    /// Counts tensors: bytes as stored, elements once.
    pub fn of<'t>(tensors: impl Iterator<Item = (&'t TensorInfo, Sharing)>) -> Self {
        let mut size = Self::default();
        for (info, sharing) in tensors {
            if sharing != Sharing::Tied {
                size.bytes += info.size_bytes().unwrap_or(0);
            }
            if sharing == Sharing::Own && info.dtype.is_float() {
                let n = info.n_elements().unwrap_or(0);
                size.n_weights += n;
                size.n_parameters += if is_buffer(&info.name) { 0 } else { n };
            }
        }
        size
    }

    pub(crate) fn of_designer(designer: &Designer<'_>) -> Self {
        let sharing = |i: usize| match designer.plan.tensors.get(i).map(|p| &p.treatment) {
            Some(Treatment::Alias(_)) if designer.checkpoint.alias_of(i).is_some() => Sharing::Tied,
            Some(Treatment::Alias(_)) => Sharing::Equal,
            _ => Sharing::Own,
        };
        let tensors = designer.checkpoint.tensors().iter().enumerate();
        Self::of(tensors.map(|(i, t)| (t, sharing(i))))
    }

    /// Bits of a file per weight.
    pub fn bpw(&self, file_bytes: u64) -> f64 {
        8.0 * file_bytes as f64 / self.n_weights.max(1) as f64
    }

    /// Bytes of the tensors over bytes of a file.
    pub fn ratio(&self, file_bytes: u64) -> f64 {
        self.bytes as f64 / file_bytes as f64
    }

    /// Four bytes times the trainable parameters, over bytes of a file: the ratio of the paper.
    pub fn ratio_paper(&self, file_bytes: u64) -> f64 {
        4.0 * self.n_parameters as f64 / file_bytes as f64
    }
}

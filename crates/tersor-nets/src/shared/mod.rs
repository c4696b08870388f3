//! Networks whose values are shared: a [`QuantizedCheckpoint`] seen as parameters, and edited without touching a symbol of
//! its matrices.

mod finetune;
mod repair;
mod replace;

pub use finetune::{FinetuneOptions, finetune};
pub(crate) use repair::repair_layer;
pub use repair::{Match, RepairReport, repair};
pub use replace::replace_values;

use crate::graph::Network;
use crate::{Parameters, Result};
use tersor::bare;
use tersor::checkpoint::Checkpoint;
use tersor_codec::QuantizedCheckpoint;

/// The values of a quantized checkpoint as a network's parameters.
///
/// # Errors
/// As [`Parameters::load`].
pub fn to_parameters(network: &Network, quantized: &QuantizedCheckpoint) -> Result<Parameters> {
    let tensors = quantized.tensors.iter().enumerate();
    let tensors = tensors
        .map(|(i, tensor)| {
            let mut info = tensor.info.clone();
            info.shard = 0;
            Ok((info, quantized.dequantize(i)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let checkpoint = Checkpoint::from_tensors(tensors, Vec::new(), Vec::new())?;
    Parameters::load(network, &checkpoint)
}

/// Index of the tensor that holds a parameter; of an alias, the tensor that it stands for.
pub(crate) fn tensor_of(quantized: &QuantizedCheckpoint, name: &str) -> Option<usize> {
    let found = quantized
        .tensors
        .iter()
        .position(|t| bare(&t.info.name) == name)?;
    match quantized.tensors.get(found)?.data {
        tersor_codec::TensorData::Alias { target, .. } => Some(target),
        _ => Some(found),
    }
}

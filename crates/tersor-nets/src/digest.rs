//! Digests that tell one network or data set from another.

use crate::examples::{BatchInput, Examples};
use crate::{Parameters, Result};
use tersor::codec::{file_digest, group_digest};
use tersor_data::Key;

/// Examples that tell one data set, selection or augmentation from another.
const PROBED: usize = 16;

fn of_floats(values: &[f32]) -> u64 {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    group_digest(&bytes)
}

/// Of all parameters, in hexadecimal.
pub(crate) fn of_parameters(parameters: &Parameters) -> String {
    let digests = parameters.iter().map(|(_, values)| of_floats(values));
    format!("{:016x}", file_digest(digests))
}

/// Of the first examples as a key augments them, and of their labels, in hexadecimal.
///
/// # Errors
/// As [`Examples::batch`].
pub(crate) fn of_examples(examples: &dyn Examples, key: Option<Key>) -> Result<String> {
    let indices: Vec<usize> = (0..examples.len().min(PROBED)).collect();
    let batch = examples.batch(&indices, key)?;
    let inputs = match &batch.input {
        BatchInput::Images(values, _) => of_floats(values),
        BatchInput::Tokens { ids: tokens, .. } => {
            let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
            group_digest(&bytes)
        }
    };
    let labels: Vec<u8> = batch.labels.iter().flat_map(|l| l.to_le_bytes()).collect();
    Ok(format!("{:016x}", file_digest([inputs, group_digest(&labels)])))
}

//! Sensitivities of a network's parameters as a file.

use super::{Diagonal, LayerMoments};
use crate::graph::ParameterSpec;
use crate::{Error, Result};
use std::path::Path;
use tersor::Recorded;
use tersor::checkpoint::{Checkpoint, f32_tensor};

/// Writes a diagonal, in nats per squared weight unit under the parameters' names, and the moments of layers beside it:
/// `NAME::gram` and `NAME::outgrad`. Negative values, which only unbiased estimates of a Hessian have, become 0.
///
/// # Errors
/// [`Error::Diverged`] if a value is not finite, naming the parameter; as writing a checkpoint.
pub fn write_sensitivities(
    path: &Path,
    specs: &[ParameterSpec],
    diagonal: &Diagonal,
    moments: &[LayerMoments],
    recorded: &Recorded,
    overwrite: bool,
) -> Result<()> {
    let mut tensors = Vec::new();
    for (spec, values) in specs.iter().zip(diagonal).filter(|(_, v)| !v.is_empty()) {
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            let name = &spec.name;
            return Err(Error::Diverged(format!(
                "the sensitivity of {name:?} came out as {bad}; check the checkpoint"
            )));
        }
        let values: Vec<f32> = values.iter().map(|v| v.max(0.0)).collect();
        let shape = spec.shape.iter().map(|&n| n as u64).collect();
        tensors.push(f32_tensor(spec.name.clone(), shape, &values));
    }
    for layer in moments {
        let Some(spec) = specs.get(layer.parameter) else {
            continue;
        };
        let block = layer.block as u64;
        let blocks = layer.gram.len() as u64 / (block * block).max(1);
        let name = &spec.name;
        tensors.push(f32_tensor(
            format!("{name}::gram"),
            vec![blocks, block, block],
            &layer.gram,
        ));
        if let Some(outputs) = &layer.output_gradients {
            tensors.push(f32_tensor(
                format!("{name}::outgrad"),
                vec![outputs.len() as u64],
                outputs,
            ));
        }
    }
    Ok(tersor::write_sensitivities(path, tensors, recorded, overwrite)?)
}

/// Reads a diagonal that [`write_sensitivities`] wrote; empty for parameters that the file lacks.
///
/// # Errors
/// As reading a checkpoint.
pub fn read_sensitivities(path: &Path, specs: &[ParameterSpec]) -> Result<Diagonal> {
    let file = Checkpoint::open(path)?;
    let read = |spec: &ParameterSpec| {
        let found = file.tensors().iter().position(|t| t.name == spec.name);
        found.map_or(Ok(Vec::new()), |at| Ok(file.to_f32(at)?.into_owned()))
    };
    specs.iter().map(read).collect()
}

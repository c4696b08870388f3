//! A training on disk, so that a killed one goes on: parameters and moments in one safetensors file.

use super::OptimizerState;
use crate::graph::Network;
use crate::{Error, Parameters, Result};
use std::path::Path;
use tersor::checkpoint::{Checkpoint, OutputFormat, f32_tensor};
use tersor_codec::{Dtype, TensorInfo};

/// Keys of the moments, after the parameter's name.
const MOMENTS: [&str; 2] = ["::first", "::second"];
/// Key of the counters: epochs and steps done, and the decay of the second moments as the bits of an f32.
const COUNTERS: &str = "::counters";

/// Writes parameters, moments and the number of epochs done. The file is replaced only when it is whole.
///
/// # Errors
/// As writing a checkpoint.
pub fn save_training(
    path: &Path,
    parameters: &Parameters,
    state: &OptimizerState,
    epoch: usize,
) -> Result<()> {
    let mut tensors = Vec::new();
    for (i, (spec, values)) in parameters.iter().enumerate() {
        let shape: Vec<u64> = spec.shape.iter().map(|&n| n as u64).collect();
        tensors.push(f32_tensor(spec.name.clone(), shape.clone(), values));
        for (suffix, moment) in MOMENTS.into_iter().zip([&state.first, &state.second]) {
            let values = moment.get(i).map_or(&[][..], Vec::as_slice);
            tensors.push(f32_tensor(
                format!("{}{suffix}", spec.name),
                shape.clone(),
                values,
            ));
        }
    }
    let counters = [epoch as u64, state.steps, state.beta2.to_bits().into()];
    let info = TensorInfo {
        name: COUNTERS.to_owned(),
        dtype: Dtype::U64,
        shape: vec![counters.len() as u64],
        shard: 0,
    };
    tensors.push((info, counters.iter().flat_map(|c| c.to_le_bytes()).collect()));
    let checkpoint = Checkpoint::from_tensors(tensors, Vec::new(), Vec::new())?;
    Ok(checkpoint.save(path, OutputFormat::Safetensors, true)?)
}

/// Reads what [`save_training`] wrote: parameters, moments and the number of epochs done.
///
/// # Errors
/// [`Error::Mismatch`] if the file belongs to another network, [`Error::Input`] if it is no such file.
pub fn load_training(path: &Path, network: &Network) -> Result<(Parameters, OptimizerState, usize)> {
    let file = Checkpoint::open(path)?;
    let wrong = || {
        Error::Input(format!(
            "{} holds no training; remove it to begin anew",
            path.display()
        ))
    };
    let find = |name: &str| file.tensors().iter().position(|t| t.name == name);
    let mut parameters = Parameters::random(network, 0);
    let mut state = OptimizerState::new(&parameters);
    let specs = parameters.specs().to_vec();
    for (i, spec) in specs.iter().enumerate() {
        let read = |suffix: &str, into: &mut [f32]| -> Result<()> {
            let at = find(&format!("{}{suffix}", spec.name)).ok_or_else(wrong)?;
            let values = file.to_f32(at)?;
            if values.len() != into.len() {
                return Err(wrong());
            }
            into.copy_from_slice(&values);
            Ok(())
        };
        read("", parameters.values_mut(i))?;
        for (suffix, moment) in MOMENTS.into_iter().zip([&mut state.first, &mut state.second]) {
            read(suffix, moment.get_mut(i).map_or(&mut [][..], Vec::as_mut_slice))?;
        }
    }
    let bytes = file.bytes(find(COUNTERS).ok_or_else(wrong)?)?;
    let counter = |at: usize| -> Option<u64> {
        let bytes = bytes.get(8 * at..8 * at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    state.steps = counter(1).ok_or_else(wrong)?;
    state.beta2 = f32::from_bits(counter(2).ok_or_else(wrong)? as u32);
    let epoch = counter(0).ok_or_else(wrong)?;
    Ok((parameters, state, epoch as usize))
}

//! Rounding a few layers at a time, while those behind them train on.

use super::freeze::Frozen;
use super::layers::{fill, folded};
use super::{SHARE, ShrinkOptions, ShrinkTask, training};
use crate::examples::Batch;
use crate::sequential::{Passes, Quantized, SequentialOptions, layer_weights};
use crate::train::EpochReport;
use crate::{Error, Parameters, Result};
use tersor::Compressor;
use tersor::options::CompressOptions;

/// A network on its levels.
pub(super) struct Rounded {
    pub(super) parameters: Parameters,
    pub(super) bytes: Vec<u8>,
    /// Loss per bit at each stage.
    pub(super) slopes: Vec<f64>,
}

/// Rounds layers in the order of execution, an equal number in each stage, as [`sequential`](crate::sequential) does: with errors
/// fed back by what the batches say, towards targets that make the best of what earlier layers of the stage have changed, at a slope for which
/// the whole file, with layers behind rounded as they are, has the size. Then the rest trains on. Behind the last stage
/// biases and normalisation are left to train.
///
/// # Errors
/// As [`Passes::within`] and training.
pub(super) fn by_layers(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    batches: &[Batch],
    say: &mut impl FnMut(&str, &EpochReport),
) -> Result<Rounded> {
    let network = task.network;
    let n_layers = layer_weights(network).iter().filter(|is| **is).count();
    let aim = (options.bytes as f64 * SHARE) as u64;
    let compress = CompressOptions::default().with_coder(Some(options.coder));
    let sequential = SequentialOptions {
        coder: options.coder,
        ..SequentialOptions::default()
    };
    let mut parameters = start;
    let mut frozen = Frozen::zeros(network, &parameters);
    let mut quantized = Quantized::nothing(options.coder);
    let mut slopes: Vec<f64> = Vec::new();
    let n_stages = options.n_stages.max(1);
    for stage in 1..=n_stages {
        let mut original = parameters.clone();
        crate::fold(network, &mut original)?;
        let checkpoint = original.to_checkpoint()?;
        let passes = Passes {
            network,
            original: &original,
            plain: Compressor::new(&checkpoint, compress.clone())?,
            batches,
            device: task.device,
            options: &sequential,
            begun: (&quantized, n_layers * stage / n_stages),
            progress: task.progress,
        };
        let (slope, (found, _)) = passes.within(aim, slopes.last().copied())?;
        slopes.push(slope);
        quantized = found.first;
        for (name, layer) in &quantized.symbols {
            let parameter = network.parameters.iter().position(|p| p.name == *name);
            let parameter = parameter.ok_or_else(|| Error::Internal(format!("there is no {name}")))?;
            let values: Vec<f32> = layer
                .symbols
                .iter()
                .map(|&s| layer.grid.value(s.into()))
                .collect();
            frozen.fix(parameter, &values);
            parameters.values_mut(parameter).copy_from_slice(&values);
        }
        let name = format!("stage {stage} of {n_stages}");
        let path = task.folder.join(format!("stage-{stage}.training.safetensors"));
        let run = training(task, &options.stage, &path);
        let make = |_: &Parameters| frozen.clone();
        (parameters, _, frozen) = run.run(parameters, make, task.progress, |r| say(&name, r))?;
    }
    let slope = slopes.last().copied().unwrap_or_default();
    let checkpoint = folded(network, &parameters)?;
    let bytes = fill(&checkpoint, &quantized.symbols, &compress, slope, options.bytes)?;
    Ok(Rounded {
        parameters,
        bytes,
        slopes,
    })
}

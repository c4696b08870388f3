//! Rounding a few layers at a time, while those behind them train on.

use super::freeze::Frozen;
use super::layers::fill;
use super::{Rounded, SHARE, ShrinkOptions, ShrinkTask, parameter, training};
use crate::examples::Batch;
use crate::graph::Network;
use crate::sequential::{CLOSE, Passes, Quantized, SequentialOptions, layer_weights};
use crate::train::{EpochReport, TrainOptions};
use crate::{Parameters, Result};
use tersor::Compressor;
use tersor::options::CompressOptions;

/// Share of the size that the last stage aims at: only vectors train on.
const LAST_SHARE: f64 = 0.99;

/// Before that it need not be that close.
const ROUGHLY: f64 = 0.97;

/// How many layers are on their levels after each stage, in the order of execution: stages have equal shares of all weights, as far
/// as layers let them, and none is without a layer.
fn ends(network: &Network, n_stages: usize) -> Vec<usize> {
    let is_layer = layer_weights(network);
    let mut sizes = Vec::new();
    for parameter in network.nodes.iter().filter_map(|node| node.parameters.first()) {
        if let (Some(true), Some(spec)) = (is_layer.get(*parameter), network.parameters.get(*parameter)) {
            sizes.push(spec.len());
        }
    }
    let twice: usize = 2 * sizes.iter().sum::<usize>();
    let mut behind = 0;
    // Where the middle of each layer is.
    let stages = sizes.iter().map(|size| {
        let middle = 2 * behind + size;
        behind += size;
        middle * n_stages / twice.max(1)
    });
    let stages: Vec<usize> = stages.collect();
    (1..=stages.len())
        .filter(|&end| stages.get(end) != stages.get(end - 1))
        .collect()
}

/// Rounds layers in the order of execution, equal shares of all weights in each stage, as [`sequential`](crate::sequential) does: with errors
/// fed back by what the batches say, towards targets that make the best of what earlier layers of the stage have changed, at a slope for which
/// the whole file, with layers behind rounded as they are, has the size. Then the rest trains on. Behind the last stage
/// biases and normalisation are left to train. Normalisation is folded, and trains as it is in the file: with statistics that stay.
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
    let ends = ends(network, options.n_stages.max(1));
    let mut compress = CompressOptions::default().with_coder(Some(options.coder));
    compress.alike = true;
    let sequential = SequentialOptions {
        coder: options.coder,
        ..SequentialOptions::default()
    };
    let train = TrainOptions {
        batch_statistics: 0.0,
        ..options.stage.clone()
    };
    let mut parameters = start;
    crate::fold(network, &mut parameters)?;
    let mut frozen = Frozen::zeros(network, &parameters);
    let mut quantized = Quantized::nothing(options.coder);
    let mut slopes: Vec<f64> = Vec::new();
    let n_stages = ends.len();
    for (stage, &end) in (1..).zip(&ends) {
        let checkpoint = parameters.to_checkpoint()?;
        let passes = Passes {
            network,
            original: &parameters,
            plain: Compressor::new(&checkpoint, compress.clone())?,
            batches,
            device: task.device,
            options: &sequential,
            begun: (&quantized, end),
            progress: task.progress,
        };
        let (share, close) = if stage < n_stages {
            (SHARE, ROUGHLY)
        } else {
            (LAST_SHARE, CLOSE)
        };
        let aim = (options.bytes as f64 * share) as u64;
        let (slope, (found, _)) = passes.within((aim, close), slopes.last().copied())?;
        slopes.push(slope);
        quantized = found.first;
        for (name, layer) in &quantized.symbols {
            let parameter = parameter(network, name)?;
            let values = layer.values();
            frozen.fix(parameter, &values);
            parameters.values_mut(parameter).copy_from_slice(&values);
        }
        let name = format!("stage {stage} of {n_stages}");
        let path = task.folder.join(format!("stage-{stage}.training.safetensors"));
        let run = training(task, &train, &path);
        let make = |_: &Parameters| frozen.clone();
        (parameters, _, frozen) = run.run(parameters, make, task.progress, |r| say(&name, r))?;
    }
    let slope = slopes.last().copied().unwrap_or_default();
    let checkpoint = parameters.to_checkpoint()?;
    let bytes = fill(&checkpoint, &quantized.symbols, &compress, slope, options.bytes)?;
    Ok(Rounded {
        parameters,
        bytes,
        slopes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{lenet5, resnet};

    #[test]
    fn stages_have_like_shares_of_weights() {
        let network = resnet(32);
        for n_stages in [1, 4, 6] {
            let ends = ends(&network, n_stages);
            assert_eq!(ends.len(), n_stages);
            assert_eq!(ends.last(), Some(&32));
        }
        // 21 layers of up to 32 channels have a quarter of the weights, and the other eleven the rest.
        assert_eq!(ends(&network, 4), [21, 25, 28, 32]);
        // Most of LeNet-5 is one layer.
        assert_eq!(ends(&lenet5(), 4), [2, 3, 4]);
    }
}

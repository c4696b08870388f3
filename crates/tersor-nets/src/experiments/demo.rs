//! The demonstration: a network from nothing to small files in a few minutes.

use super::methods::{Bench, Measured, MethodRow, PAPER_METHODS};
use crate::examples::Examples;
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope as PruneScope, Score, count};
use crate::sensitivity::{FisherOptions, Recorded, fisher, write_sensitivities};
use crate::shared::FinetuneOptions;
use crate::task::{DataOptions, open_data};
use crate::train::{Free, Optimizer, Schedule, TrainOptions, TrainingRun};
use crate::{Parameters, Result, models};
use burn::tensor::Device;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use tersor::Progress;
use tersor::options::{Method, Scope};
use tersor_codec::Coder;
use tersor_data::Augment;

/// Share of the parameters that pruning keeps: the paper's 8.55 %.
const KEEP: f64 = 0.0855;
/// Ratio that the paper's methods are asked for.
const RATIO: f64 = 50.0;
/// Ratio that grids with the adaptive coder are asked for besides.
const FURTHER: f64 = 70.0;

/// Settings of the demonstration.
#[derive(Clone, Debug)]
pub struct DemoOptions<'a> {
    /// What [`open_data`] opens.
    pub data: &'a str,
    /// Passes over the training set: dense, while pruning, and of fine-tuning.
    pub epochs: [usize; 3],
    /// Of everything.
    pub seed: u64,
}

/// What the demonstration found.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Trainable parameters.
    pub n_parameters: usize,
    /// The trained network, as f32.
    pub dense: Measured,
    /// The pruned network, its survivors as f32 and their positions coded.
    pub pruned: Measured,
    /// Parameters that survive.
    pub n_survivors: usize,
    /// The paper's quantizers at one size, Huffman coded, and then grids per tensor with the adaptive coder.
    pub rows: Vec<MethodRow>,
    /// Wall-clock time.
    pub seconds: f64,
}

fn adam(epochs: usize, peak: f64, seed: u64) -> TrainOptions {
    TrainOptions {
        epochs,
        batch: 100,
        seed,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Cosine {
            peak,
            warmup: 0.1,
            floor: 0.02,
        },
        batch_statistics: 1.0,
    }
}

/// The dense network, and the one pruned from it.
fn networks(
    network: &Network,
    train: &dyn Examples,
    device: &Device,
    options: &DemoOptions<'_>,
    progress: &dyn Progress,
    say: &mut impl FnMut(&str),
) -> Result<(Parameters, Parameters)> {
    let [dense_epochs, prune_epochs, _] = options.epochs;
    let dense_options = adam(dense_epochs, 2e-3, options.seed);
    let prune_options = adam(prune_epochs, 1e-3, options.seed + 1);
    let run = |options| TrainingRun {
        network,
        examples: train,
        device,
        options,
        teacher: None,
        path: None,
    };
    let start = Parameters::random(network, options.seed);
    let (dense, _, _) = run(&dense_options).run(start, |_| Free, progress, |_| ())?;
    say("trained");
    let prune = PruneOptions {
        keep: (KEEP * network.n_trainable() as f64).round() as usize,
        score: Score::Magnitude,
        scope: PruneScope::WeightsAndBiases,
        until: 0.6,
        every: 10,
    };
    let pruner = |p: &Parameters| Pruner::new(p, prune);
    let (pruned, _, _) = run(&prune_options).run(dense.clone(), pruner, progress, |_| ())?;
    say(&format!("pruned to {} parameters", prune.keep));
    Ok((dense, pruned))
}

/// Trains LeNet-5, prunes it, measures sensitivities, and compresses it with every method of the paper at one size and
/// with the default method at a smaller one, all through files in `folder`; each file is decoded and scored before and
/// after fine-tuning of its shared values.
///
/// # Errors
/// Whatever a step returns.
pub fn demo(
    options: &DemoOptions<'_>,
    folder: &Path,
    device: &Device,
    progress: &dyn Progress,
    mut say: impl FnMut(&str),
) -> Result<DemoReport> {
    let started = Instant::now();
    let network: Network = models::lenet5();
    let data_options = DataOptions {
        augment: Augment::affine(),
        tokenizer: None,
    };
    let data = open_data(&network, options.data, &data_options)?;
    let (train, test) = (data.train.as_ref(), data.test.as_ref());
    say(&format!(
        "{} images to train on, {} to test; LeNet-5 with {} parameters",
        train.len(),
        test.len(),
        network.n_trainable()
    ));

    let (dense, pruned) = networks(&network, train, device, options, progress, &mut say)?;
    let keep = count(&pruned, PruneScope::WeightsAndBiases).0;

    let fisher_options = FisherOptions {
        seed: options.seed,
        ..FisherOptions::default()
    };
    let h = fisher(&network, &pruned, train, device, &fisher_options, progress)?;
    let sensitivity = folder.join("fisher.safetensors");
    let recorded = Recorded {
        estimator: "fisher".into(),
        samples: fisher_options.samples,
        ..Recorded::default()
    };
    write_sensitivities(&sensitivity, &network.parameters, &h, &[], &recorded, true)?;

    let checkpoint = pruned.to_checkpoint()?;
    let bench = Bench {
        network: &network,
        checkpoint: &checkpoint,
        sensitivity: &sensitivity,
        train,
        teacher: None,
        test,
        device,
        finetune: FinetuneOptions {
            epochs: options.epochs[2],
            batch: 100,
            schedule: Schedule::Cosine {
                peak: 3e-4,
                warmup: 0.0,
                floor: 0.05,
            },
            seed: options.seed,
        },
        progress,
    };
    let float_bytes = 4 * network.n_trainable() as u64;
    let dense_measured = bench.measure(&dense, float_bytes)?;
    let pruned_bytes = super::methods::lossless_bytes(&checkpoint)?;
    let pruned_measured = bench.measure(&pruned, pruned_bytes)?;

    let mut rows = Vec::new();
    let at = |ratio: f64| (float_bytes as f64 / ratio) as u64;
    for method in PAPER_METHODS {
        let path = folder.join(format!("{method}.tersor"));
        rows.push(bench.row(method, Scope::Global, Coder::Huffman, at(RATIO), &path)?);
        say(&format!("compressed with {method}"));
    }
    let path = folder.join("grid.tersor");
    rows.push(bench.row(Method::Grid, Scope::Tensor, Coder::Context, at(FURTHER), &path)?);
    Ok(DemoReport {
        n_parameters: network.n_trainable(),
        dense: dense_measured,
        pruned: pruned_measured,
        n_survivors: keep,
        rows,
        seconds: started.elapsed().as_secs_f64(),
    })
}

//! Networks trained to be small: pruned in float by loss per bit, then quantized a part at a time while the rest trains on.
//!
//! First the least valuable weights go, while the others train ([`Pruner`]), and what is left is brought into canonical order
//! ([`canon`]). Then, in a few stages, the most sensitive weights that are
//! still free are rounded to their grids at the prices of the file's coder and stay there, and the others train on to make up for it; in
//! the last stage only biases and normalisation are left to train. Sizes are those of real files.
//!
//! Everything that takes long is saved after each epoch in a folder: a killed run goes on from there, since all else is computed anew the
//! same way.
//!
//! # Source
//! A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen, "Incremental network quantization", 2017, for the stages; S. Han, J. Pool, J. Tran,
//! W. Dally, "Learning both weights and connections", 2015, for pruning and training in turns.

mod freeze;
mod layers;

use crate::canon::canon;
use crate::examples::Examples;
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope, Score, count};
use crate::sensitivity::{AdamOptions, Diagonal, Recorded, adam_moments, write_sensitivities};
use crate::train::{EpochReport, OptimizerState, Teacher, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use freeze::Frozen;
use layers::{Layers, survivors_for};
use serde::Serialize;
use std::path::{Path, PathBuf};
use tersor::Progress;
use tersor::codec::Coder;

/// Share of the pruning after which no more is removed, and steps between removals.
const PRUNE_UNTIL: f64 = 0.6;
const PRUNE_EVERY: usize = 25;
/// Floor of sensitivities, in units of a tensor's mean over survivors.
const FLOOR: f64 = 0.05;
/// Sensitivities of networks that are not pruned are gathered on so many examples, in batches of so many.
const SAMPLES: usize = 5000;
const BATCH: usize = 50;
/// Share of the size that stages aim at: the rest trains on, and its cost with it.
const AIM: f64 = 0.985;

/// What a shrinking network is worked on with.
pub struct ShrinkTask<'a> {
    /// The network.
    pub network: &'a Network,
    /// What is trained on.
    pub examples: &'a dyn Examples,
    /// Where.
    pub device: &'a Device,
    /// Whose answers are the labels, in place of the examples' own.
    pub teacher: Option<&'a Teacher>,
    /// Where the state of a run is kept.
    pub folder: &'a Path,
    /// Told how far it is.
    pub progress: &'a dyn Progress,
}

/// How to shrink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShrinkOptions {
    /// Most bytes of the whole file.
    pub bytes: u64,
    /// Weights and biases that pruning leaves; `None`: as many as the size suggests.
    pub keep: Option<usize>,
    /// How to train while pruning.
    pub prune: TrainOptions,
    /// How to train in each stage of quantization.
    pub stage: TrainOptions,
    /// Stages.
    pub n_stages: usize,
    /// The coder of the file, whose prices are used.
    #[serde(skip)]
    pub coder: Coder,
}

/// What tells one run from another.
#[derive(Serialize)]
struct Identity<'a> {
    network: &'a str,
    examples: usize,
    distilled: bool,
    coder: &'a str,
    options: &'a ShrinkOptions,
}

/// Writes into the folder which run it belongs to.
///
/// # Errors
/// [`Error::Input`] if it belongs to another.
fn claim(task: &ShrinkTask<'_>, options: &ShrinkOptions) -> Result<()> {
    let identity = Identity {
        network: &task.network.name,
        examples: task.examples.len(),
        distilled: task.teacher.is_some(),
        coder: options.coder.name(),
        options,
    };
    let text = serde_json::to_string_pretty(&identity).map_err(|e| Error::Internal(e.to_string()))?;
    let path = task.folder.join("shrink.json");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == text => Ok(()),
        Ok(_) => Err(Error::Input(format!(
            "{} belongs to a run with other settings; give another folder, or remove it",
            task.folder.display()
        ))),
        Err(_) => Ok(tersor::write_file(&path, text.as_bytes(), true)?),
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShrinkReport {
    /// Bytes of the file.
    pub bytes: u64,
    /// Weights and biases that are not zero after pruning, and before the file is made.
    pub survivors: [usize; 2],
    /// Loss per bit at each stage, nats.
    pub slopes: Vec<f64>,
}

/// A shrunken network.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The `.tersor` file.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: ShrinkReport,
}

/// Shrinks a network to a size; `say` is told of each epoch with the name of its part.
///
/// # Errors
/// [`Error::Input`] if the size cannot be reached, as training and [`tersor::Compressor::compress`].
pub fn shrink(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    mut say: impl FnMut(&str, &EpochReport),
) -> Result<Shrunk> {
    claim(task, options)?;
    let (mut parameters, mut h) = prune(task, start, options, &mut say)?;
    canon(task.network, &mut parameters).reorder(task.network, &mut h);
    let pruned = count(&parameters, Scope::WeightsAndBiases).0;
    let sensitivity = task.folder.join("sensitivities.safetensors");
    let recorded = Recorded {
        estimator: "adam".into(),
        ..Recorded::default()
    };
    write_sensitivities(&sensitivity, &task.network.parameters, &h, &[], &recorded, true)?;
    let aim = (options.bytes as f64 * AIM) as u64;
    let mut layers = Layers::new(task.network, &parameters, &h, FLOOR, options.coder, &sensitivity);
    let mut slope = layers.choose_steps(&parameters, aim)?;
    let mut frozen = Frozen::zeros(task.network, &parameters);
    let mut slopes = vec![slope];
    let mut symbols = Vec::new();
    for stage in 1..=options.n_stages.max(1) {
        slope = layers.fit(&parameters, &frozen, slope, aim)?;
        slopes.push(slope);
        symbols = layers.quantize(&parameters, &frozen, slope)?;
        let share = stage as f64 / options.n_stages.max(1) as f64;
        frozen.extend(
            task.network,
            &mut parameters,
            &symbols,
            layers.sensitivities(),
            share,
        );
        let name = format!("stage {stage} of {}", options.n_stages.max(1));
        let path = task.folder.join(format!("stage-{stage}.training.safetensors"));
        let run = training(task, &options.stage, &path);
        let make = |_: &Parameters| frozen.clone();
        (parameters, _, frozen) = run.run(parameters, make, task.progress, |r| say(&name, r))?;
    }
    let bytes = layers.file(&parameters, &symbols, options.bytes)?;
    if bytes.len() as u64 > options.bytes {
        return Err(Error::Input(format!(
            "the smallest file has {} bytes; allow more, or let fewer weights remain",
            bytes.len()
        )));
    }
    let report = ShrinkReport {
        bytes: bytes.len() as u64,
        survivors: [pruned, count(&parameters, Scope::WeightsAndBiases).0],
        slopes,
    };
    Ok(Shrunk { bytes, report })
}

fn training<'a>(task: &'a ShrinkTask<'_>, options: &'a TrainOptions, path: &'a Path) -> TrainingRun<'a> {
    TrainingRun {
        network: task.network,
        examples: task.examples,
        device: task.device,
        options,
        teacher: task.teacher,
        path: Some(path),
    }
}

/// Prunes, and tells sensitivities: mean squared gradients, of the training if there was one.
fn prune(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    say: &mut impl FnMut(&str, &EpochReport),
) -> Result<(Parameters, Diagonal)> {
    let keep = options
        .keep
        .unwrap_or_else(|| survivors_for(task.network, options.bytes));
    if options.prune.epochs == 0 {
        let gather = AdamOptions {
            samples: SAMPLES,
            batch: BATCH,
            beta2: 0.999,
            seed: options.prune.seed,
        };
        let h = adam_moments(
            task.network,
            &start,
            task.examples,
            task.device,
            &gather,
            task.progress,
        )?;
        return Ok((start, h));
    }
    let prune = PruneOptions {
        keep,
        score: Score::LossPerBit,
        scope: Scope::WeightsAndBiases,
        until: PRUNE_UNTIL,
        every: PRUNE_EVERY,
    };
    let path: PathBuf = task.folder.join("prune.training.safetensors");
    let run = training(task, &options.prune, &path);
    let make = |p: &Parameters| Pruner::new(p, prune);
    let (parameters, state, pruner) = run.run(start, make, task.progress, |r| say("pruning", r))?;
    if let Some(failure) = pruner.failure {
        return Err(Error::Input(failure));
    }
    let h = moments(task.network, &state);
    Ok((parameters, h))
}

/// Adam's mean squared gradients of what is trained.
fn moments(network: &Network, state: &OptimizerState) -> Diagonal {
    let of = |(i, spec): (usize, &crate::graph::ParameterSpec)| {
        if spec.role.is_trainable() {
            state.mean_square(i)
        } else {
            Vec::new()
        }
    };
    network.parameters.iter().enumerate().map(of).collect()
}

//! Networks trained to be small: pruned in float, then quantized a part at a time while the rest trains on.
//!
//! First the least valuable weights go, by loss per bit or by magnitude, while the others train ([`Pruner`]), and what is left is brought
//! into canonical order ([`canon`]). Then, in a few stages, the most sensitive weights that are
//! still free are rounded to their grids at the prices of the file's coder and stay there, and the others train on to make up for it; in
//! the last stage only biases and normalisation are left to train. Sizes are those of real files. [`Rounding::Layers`] rounds the
//! first layers in place of the most sensitive weights, as [`sequential`](crate::sequential) does.
//!
//! Everything that takes long is saved after each epoch in a folder: a killed run goes on from there, since all else is computed anew the
//! same way.
//!
//! # Source
//! A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen, "Incremental network quantization", 2017, for the stages; S. Han, J. Pool, J. Tran,
//! W. Dally, "Learning both weights and connections", 2015, for pruning and training in turns.

mod accuracy;
mod by_layers;
mod by_weights;
mod freeze;
mod layers;

pub use accuracy::{AccuracyGoal, Accurate, shrink_to_accuracy};

use crate::canon::canon;
use crate::examples::{Examples, calibration_batches};
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope, Score, count};
use crate::train::{Distillation, EpochReport, OptimizerState, Teacher, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result, digest, unfold};
use burn::tensor::Device;
use layers::survivors_for;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tersor::Progress;
use tersor::codec::Coder;
use tersor_data::Key;

/// Share of the pruning after which no more is removed, and steps between removals.
const PRUNE_UNTIL: f64 = 0.6;
const PRUNE_EVERY: usize = 25;
/// Examples that normalisation is brought back from folding by, and whose moments errors are fed back through.
const CALIBRATION: usize = 750;
/// Share of the size that stages aim at: the rest trains on, and its cost with it.
const SHARE: f64 = 0.985;

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

/// What is rounded first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// The most sensitive weights of all layers.
    Weights,
    /// The first layers, with errors fed back.
    Layers,
}

/// How to shrink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShrinkOptions {
    /// Most bytes of the whole file.
    pub bytes: u64,
    /// Weights and biases that pruning leaves; `None`: as many as the size suggests.
    pub keep: Option<usize>,
    /// Which of them go first.
    pub score: Score,
    /// How to train while pruning.
    pub prune: TrainOptions,
    /// How to train in each stage of quantization.
    pub stage: TrainOptions,
    /// Stages.
    pub n_stages: usize,
    /// What is rounded in the first of them.
    pub rounding: Rounding,
    /// The coder of the file, whose prices are used.
    #[serde(skip)]
    pub coder: Coder,
}

/// What tells one run from another.
#[derive(Serialize)]
struct Identity<'a> {
    network: &'a str,
    /// Digests of what is begun with and of some examples as the training sees them.
    start: String,
    examples: String,
    n_examples: usize,
    distillation: Option<Distillation>,
    /// Digest of whose answers are learned.
    teacher: Option<String>,
    coder: &'a str,
    options: &'a ShrinkOptions,
}

impl<'a> Identity<'a> {
    fn new(task: &ShrinkTask<'a>, start: &Parameters, options: &'a ShrinkOptions) -> Result<Self> {
        let key = Key {
            seed: options.prune.seed,
            epoch: 0,
        };
        Ok(Self {
            network: &task.network.name,
            start: digest::of_parameters(start),
            examples: digest::of_examples(task.examples, Some(key))?,
            n_examples: task.examples.len(),
            distillation: task.teacher.map(Teacher::how),
            teacher: task.teacher.map(|t| t.digest(task.network)).transpose()?,
            coder: options.coder.name(),
            options,
        })
    }
}

/// Makes the folder, if it is not there, and writes into it which run it belongs to.
///
/// # Errors
/// [`Error::Input`] if it belongs to another, [`Error::Io`] if it cannot be made or read.
fn claim(task: &ShrinkTask<'_>, start: &Parameters, options: &ShrinkOptions) -> Result<()> {
    std::fs::create_dir_all(task.folder).map_err(Error::io(task.folder))?;
    let identity = Identity::new(task, start, options)?;
    let text = serde_json::to_string_pretty(&identity).map_err(|e| Error::Internal(e.to_string()))?;
    let path = task.folder.join("shrink.json");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == text => Ok(()),
        Ok(_) => Err(Error::Input(format!(
            "{} belongs to a run with other settings, weights or data; give another folder, or remove it",
            task.folder.display()
        ))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(tersor::write_file(&path, text.as_bytes(), true)?)
        }
        Err(source) => Err(Error::Io { path, source }),
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShrinkReport {
    /// Bytes of the file.
    pub bytes: u64,
    /// Weights and biases that are not zero after pruning, and before the file is made.
    pub survivors: [usize; 2],
    /// Loss per bit at each stage, in the unit of what is trained.
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

/// A network on its levels.
struct Rounded {
    parameters: Parameters,
    bytes: Vec<u8>,
    /// Loss per bit at each stage.
    slopes: Vec<f64>,
}

/// Shrinks a network to a size; `say` is told of each epoch with the name of its part.
///
/// # Errors
/// [`Error::Size`] if the size cannot be reached, as training and [`tersor::Compressor::compress`].
pub fn shrink(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    mut say: impl FnMut(&str, &EpochReport),
) -> Result<Shrunk> {
    claim(task, &start, options)?;
    let mut start = start;
    let batches = calibration_batches(task.network.input, task.examples, CALIBRATION, 0)?;
    unfold(task.network, &mut start, &batches, task.device)?;
    let (mut parameters, state) = prune(task, start, options, &mut say)?;
    let order = canon(task.network, &mut parameters);
    // What a unit learns from stays beside it.
    let reordered = |teacher: &Teacher| teacher.reordered(task.network, &order);
    let teacher = task.teacher.map(reordered).transpose()?;
    let task = &ShrinkTask {
        teacher: teacher.as_ref(),
        ..*task
    };
    let pruned = count(&parameters, Scope::WeightsAndBiases).0;
    let rounded = match options.rounding {
        Rounding::Weights => {
            let moments = state.map(|state| {
                let mut h = state.mean_squares(&task.network.parameters);
                order.reorder(task.network, &mut h);
                h
            });
            by_weights::by_weights(task, parameters, options, moments, &mut say)
        }
        Rounding::Layers => by_layers::by_layers(task, parameters, options, &batches, &mut say),
    }?;
    let report = ShrinkReport {
        bytes: rounded.bytes.len() as u64,
        survivors: [pruned, count(&rounded.parameters, Scope::WeightsAndBiases).0],
        slopes: rounded.slopes,
    };
    Ok(Shrunk {
        bytes: rounded.bytes,
        report,
    })
}

/// Index of a parameter that is there.
fn parameter(network: &Network, name: &str) -> Result<usize> {
    let index = network.parameter(name);
    index.ok_or_else(|| Error::Internal(format!("there is no {name}")))
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

/// Prunes, if that is wanted: also the state of the optimizer.
fn prune(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    say: &mut impl FnMut(&str, &EpochReport),
) -> Result<(Parameters, Option<OptimizerState>)> {
    if options.prune.epochs == 0 {
        return Ok((start, None));
    }
    let keep = options
        .keep
        .unwrap_or_else(|| survivors_for(task.network, options.bytes));
    let prune = PruneOptions {
        keep,
        score: options.score,
        scope: Scope::WeightsAndBiases,
        until: PRUNE_UNTIL,
        every: PRUNE_EVERY,
    };
    let path: PathBuf = task.folder.join("prune.training.safetensors");
    let run = training(task, &options.prune, &path);
    let make = |p: &Parameters| Pruner::new(p, prune);
    let (parameters, state, pruner) = run.run(start, make, task.progress, |r| say("pruning", r))?;
    match pruner.failure {
        Some(failure) => Err(Error::Input(failure)),
        None => Ok((parameters, Some(state))),
    }
}

//! Arguments of commands that train.

use super::{AugmentArg, OutputArgs, SizeArgs, TaskArgs};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use tersor_nets::Selection;
use tersor_nets::prune::Score;

/// A rule of steps.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum OptimizerArg {
    /// Adam, beta 0.9 and 0.999.
    Adam,
    /// Gradient descent with momentum 0.9 and weight decay 1e-4.
    Sgd,
}

/// Steps of training.
#[derive(Args, Debug)]
pub(crate) struct StepArgs {
    /// Examples per step.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch: usize,
    /// Highest learning rate; it rises over the first tenth and falls as half a cosine.
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub(crate) rate: f64,
    /// What training does to images.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) augment: AugmentArg,
    /// Seed of initial weights, order and augmentation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Training examples used: a range such as ..55000, or 0%10 for every tenth, !0%10 for the others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// Learn the answers of the network that is begun with instead of labels, both softened by this temperature.
    #[arg(long, value_name = "T")]
    pub(crate) distill: Option<f32>,
    /// Learn them for mixtures of two images each: where the network knows the images themselves by heart.
    #[arg(long, requires = "distill")]
    pub(crate) mix: bool,
    /// Learn its activations as well: weight of their squared error over their square.
    #[arg(long, value_name = "W", default_value_t = 0.0, requires = "distill")]
    pub(crate) features: f32,
}

/// Parses a share of a whole, from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1, such as 0.75".to_owned())
}

/// How to train.
#[derive(Args, Debug)]
pub(crate) struct TrainingArgs {
    /// Passes over the training set.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) epochs: usize,
    /// The rule of steps.
    #[arg(long, value_enum, default_value = "adam")]
    pub(crate) optimizer: OptimizerArg,
    /// Steps.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
    /// Share of the training, 0 to 1, in which normalisation is by the statistics of batches; after it, by the running ones as in use.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub(crate) batch_statistics: f64,
    /// File for the state after each epoch; if it is there, the training goes on from it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) resume: Option<PathBuf>,
    /// File for Adam's second moments as sensitivities, besides the weights.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sensitivity: Option<PathBuf>,
}

/// Arguments of `net train`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net train --net lenet5 --data digits --epochs 5 -o lenet.safetensors
  tersor net train --net resnet20 --data cifar10 --optimizer sgd --rate 0.1 --augment crop-flip -o r20.safetensors")]
pub(crate) struct TrainArgs {
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Weights to begin with, instead of random ones.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) from: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What a parameter is worth.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum ScoreArg {
    /// Its magnitude.
    Magnitude,
    /// The loss that its removal adds.
    Loss,
    /// That loss over the bits that its removal saves.
    LossPerBit,
}

impl From<ScoreArg> for Score {
    fn from(score: ScoreArg) -> Self {
        match score {
            ScoreArg::Magnitude => Self::Magnitude,
            ScoreArg::Loss => Self::Loss,
            ScoreArg::LossPerBit => Self::LossPerBit,
        }
    }
}

/// Arguments of `net prune`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net prune --net lenet5 --data mnist lenet.safetensors --keep 8.55% --epochs 12 -o pruned.safetensors
  tersor net prune --net lenet5 --data mnist lenet.safetensors --keep 2600 --score loss-per-bit --weights-only \\
      --augment elastic --epochs 40 -o sparse.safetensors
  tersor net prune --net resnet32 --data cifar10 resnet32.safetensors --keep 35% --begin 35% --epochs 0 -o pruned.safetensors")]
pub(crate) struct PruneArgs {
    /// A checkpoint.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// What remains of weights and biases: a number, or a share such as 8.55%.
    #[arg(long, value_name = "N")]
    pub(crate) keep: String,
    /// Which go first.
    #[arg(long, value_enum, default_value = "magnitude")]
    pub(crate) score: ScoreArg,
    /// Leave biases alone.
    #[arg(long)]
    pub(crate) weights_only: bool,
    /// Begin with so many, pruned layer by layer in view of examples: what remains makes good what goes. A number or a share such
    /// as 26%. Training then goes on from there; with --epochs 0 this is all.
    #[arg(long, value_name = "N")]
    pub(crate) begin: Option<String>,
    /// Training examples that --begin looks at.
    #[arg(long, value_name = "N", default_value_t = 750, requires = "begin")]
    pub(crate) samples: usize,
    /// How the rest trains on.
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is rounded first.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum RoundingArg {
    /// The most sensitive weights of all layers.
    Weights,
    /// The first layers, with errors fed back as in `net compress`: for networks that are not pruned, or by magnitude.
    Layers,
}

/// Arguments of `net shrink`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net shrink --net lenet5 --data mnist lenet.safetensors --ratio 600 --augment elastic --examples ..55000 \\
      --epochs 60 --folder shrink-lenet -o lenet.tersor
  tersor net shrink --net lenet5 --data mnist lenet.safetensors --ratio 400 --accuracy 0.99 --augment elastic --examples ..55000 \\
      --folder shrink-lenet-99 -o lenet-99.tersor
  tersor net shrink --net resnet32 --data cifar10 resnet32.safetensors --ratio 30 --augment crop-flip --distill 4 \\
      --folder shrink-resnet -o resnet32.tersor

First weights are pruned by loss per bit while the others train, then weights are rounded a part at a time, the most sensitive first,
while the rest trains on. A killed run goes on from its folder.")]
pub(crate) struct ShrinkArgs {
    /// A checkpoint of a trained network.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// How small.
    #[command(flatten)]
    pub(crate) target: SizeArgs,
    /// Go on to smaller files while the share of right answers is at least this, and to larger ones until it is: measured on the
    /// training examples that --examples leaves out. The size is the first one tried.
    #[arg(long, value_name = "SHARE", conflicts_with = "keep")]
    pub(crate) accuracy: Option<f64>,
    /// Most sizes tried for an accuracy, each of them a whole training.
    #[arg(long, value_name = "N", default_value = "8", requires = "accuracy", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_sizes: u16,
    /// Weights and biases that remain after pruning: a number, or a share such as 8.55%. Default: as many as the size suggests.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<String>,
    /// Which go first.
    #[arg(long, value_enum, default_value = "loss-per-bit")]
    pub(crate) score: ScoreArg,
    /// Passes over the training set while pruning; 0 leaves the network as it is.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) epochs: usize,
    /// Stages of rounding.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) stages: usize,
    /// What is rounded first.
    #[arg(long, value_enum, default_value = "weights")]
    pub(crate) rounding: RoundingArg,
    /// Passes over the training set in each stage.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) stage_epochs: usize,
    /// Highest learning rate of stages.
    #[arg(long, value_name = "RATE", default_value_t = 3e-4)]
    pub(crate) stage_rate: f64,
    /// Steps.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
    /// How symbols become bits.
    #[arg(long, value_enum, default_value = "context")]
    pub(crate) coder: crate::args::values::CoderArg,
    /// Folder for the state of the run; what is there of the same run is gone on from.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

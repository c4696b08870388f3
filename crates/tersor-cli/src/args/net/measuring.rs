//! Arguments of commands that measure networks.

use super::{AugmentArg, OutputArgs, TaskArgs};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use tersor_nets::Selection;

/// Arguments of `net evaluate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net evaluate --net resnet32 --data cifar10 resnet32.safetensors
  tersor net evaluate --net resnet32 --data cifar10 resnet32.tersor --against resnet32.safetensors")]
pub(crate) struct EvaluateArgs {
    /// A checkpoint or a .tersor file.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// The original: both are measured on the same examples, and the divergence from it.
    #[arg(long, value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<PathBuf>,
    /// Measure on the training set instead of the test set.
    #[arg(long)]
    pub(crate) train: bool,
    /// Which examples: a range such as 150.., or 0%10 for every tenth, !0%10 for the others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// Only the first N of them.
    #[arg(long, value_name = "N")]
    pub(crate) samples: Option<usize>,
    /// Examples per pass, at most; fewer of long texts.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) batch: usize,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but the accuracy as a number, for `tersor compress --evaluate`.
    #[arg(long, conflicts_with = "json")]
    pub(crate) score: bool,
}

/// How sensitivities are measured.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum EstimatorArg {
    /// Fisher diagonal, labels drawn from the network.
    Fisher,
    /// Empirical Fisher diagonal, the data's labels.
    Empirical,
    /// Hessian diagonal by second-order back-propagation, the paper's.
    Hessian,
    /// Hessian diagonal by products with random vectors.
    Hutchinson,
    /// Adam's mean squared gradient at learning rate 0.
    Adam,
    /// Its root.
    SqrtAdam,
}

/// Arguments of `net sensitivity`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net sensitivity --net resnet32 --data cifar10 resnet32.safetensors -o fisher.safetensors
  tersor net sensitivity --net lenet5 --data mnist lenet.safetensors --estimator hessian -o hessian.safetensors
  tersor compress resnet32.safetensors --sensitivity fisher.safetensors --bpw 3")]
pub(crate) struct SensitivityArgs {
    /// A checkpoint.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// How it is measured.
    #[arg(long, value_enum, default_value = "fisher")]
    pub(crate) estimator: EstimatorArg,
    /// Training examples used; test examples if there are none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) samples: usize,
    /// Examples to choose from: a range such as ..150, or 0%10 for every tenth, !0%10 for the others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// Examples per pass. Default: 5 for Fisher and Adam, 50 otherwise.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Divides logits before the softmax, for Fisher.
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    pub(crate) temperature: f32,
    /// Random vectors per batch, for Hutchinson.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) probes: usize,
    /// What is done to images, for Fisher and Adam.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) augment: AugmentArg,
    /// Also Gram matrices of layers' inputs and second moments of output gradients.
    #[arg(long)]
    pub(crate) gram: bool,
    /// Seed of order, labels and vectors.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

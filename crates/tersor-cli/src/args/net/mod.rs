//! Arguments of `tersor net` and `tersor demo`.

mod common;
mod demo;
mod files;
mod measuring;
mod reproduce;
mod rewriting;
mod training;

pub(crate) use common::{AugmentArg, OutputArgs, SizeArgs, TaskArgs};
pub(crate) use demo::DemoArgs;
pub(crate) use files::{CompressArgs, FinetuneArgs, InputsArg, MatchArg, RepairArg, RepairArgs};
pub(crate) use measuring::{EstimatorArg, EvaluateArgs, SensitivityArgs};
pub(crate) use reproduce::{ExperimentArg, ReproduceArgs};
pub(crate) use rewriting::{CanonArgs, FoldArgs};
pub(crate) use training::{
    OptimizerArg, PruneArgs, RoundingArg, ShrinkArgs, StepArgs, TrainArgs, TrainingArgs,
};

use clap::Subcommand;

/// The verbs of `net`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Train a network.
    Train(Box<TrainArgs>),
    /// Measure accuracy and loss of a checkpoint or a .tersor file.
    #[command(visible_alias = "eval")]
    Evaluate(EvaluateArgs),
    /// Measure how sensitive the loss is to each parameter, for `tersor compress --sensitivity`.
    Sensitivity(SensitivityArgs),
    /// Set the least valuable parameters to zero while the others train on.
    Prune(Box<PruneArgs>),
    /// Compress layer by layer in view of data: smaller than `tersor compress` at the same accuracy.
    Compress(Box<CompressArgs>),
    /// Train a network to be small: pruned and quantized while it trains on.
    Shrink(Box<ShrinkArgs>),
    /// Fine-tune the shared values of a .tersor file.
    Finetune(FinetuneArgs),
    /// Repair the normalisation of a .tersor file with unlabelled images.
    Repair(RepairArgs),
    /// Fold the running statistics of batch-norm into its scale and shift.
    Fold(FoldArgs),
    /// Sort hidden units and empty those without effect, which the network's function does not depend on.
    Canon(CanonArgs),
    /// Repeat an experiment of the paper, or check the files of one.
    Reproduce(ReproduceArgs),
}

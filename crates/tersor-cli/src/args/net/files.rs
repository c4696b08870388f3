//! Arguments of commands that make and change .tersor files.

use super::{AugmentArg, OutputArgs, TaskArgs};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use tersor::options::CompressOptions;
use tersor_nets::Selection;
use tersor_nets::sequential::SequentialOptions;

/// How much layers matter, and their rows.
#[derive(Args, Debug)]
pub(crate) struct WeighingArgs {
    /// A sensitivity file: a layer's weight is its mean.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sensitivity: Option<PathBuf>,
    /// Exponent of sensitivities, 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.5, requires = "sensitivity")]
    pub(crate) power: f64,
    /// Share of a tensor's mean sensitivity that is added to each: what embeddings and vectors are rounded by.
    #[arg(long, value_name = "F", default_value_t = CompressOptions::default().floor, requires = "sensitivity")]
    pub(crate) floor: f64,
    /// Scale rows of tensors where FILE says that some matter less, as those of rare tokens in embeddings.
    #[arg(long, requires = "sensitivity")]
    pub(crate) row_scales: bool,
}

/// Arguments of `net compress`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net compress --net resnet32 --data cifar10 resnet32.safetensors --ratio 16 -o resnet32.tersor
  tersor net compress --net llama:config.json --data train.txt --tokenizer tok.bin model.safetensors --size 100k -o model.tersor

Original and compressed network run side by side on the same examples, which need no labels. Each layer is quantized in view of
what reaches it, with errors fed back to the weights not yet quantized.")]
pub(crate) struct CompressArgs {
    /// A checkpoint.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network, its data and its device. Labels are not used.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Where to end up.
    #[command(flatten)]
    pub(crate) target: SequentialTargetArgs,
    /// Training examples used; test examples if there are none.
    #[arg(long, value_name = "N", default_value_t = 750)]
    pub(crate) samples: usize,
    /// Examples to choose from: a range such as ..150, or 0%10 for every tenth, !0%10 for the others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// How images are changed that are used again, if --samples asks for more than there are.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) augment: AugmentArg,
    /// How symbols become bits.
    #[arg(long, value_enum, default_value = "context")]
    pub(crate) coder: crate::args::values::CoderArg,
    /// How much layers matter.
    #[command(flatten)]
    pub(crate) weighing: WeighingArgs,
    /// Quantize each weight by itself, not on a trellis: faster to make, larger at the same accuracy.
    #[arg(long)]
    pub(crate) no_trellis: bool,
    /// Which inputs of a layer its errors are fed back through.
    #[arg(long, value_enum, default_value = "corrected")]
    pub(crate) inputs: InputsArg,
    /// Added to the diagonal of moments, in units of its mean.
    #[arg(long, value_name = "X", default_value_t = SequentialOptions::default().feedback.damping)]
    pub(crate) damping: f64,
    /// Positions used per input of a layer: more of them make better moments, and take longer.
    #[arg(long, value_name = "N", default_value_t = SequentialOptions::default().rows_per_input)]
    pub(crate) rows: usize,
    /// Further passes over each layer: along the trellis, or of coordinate descent.
    #[arg(long, value_name = "N", default_value_t = SequentialOptions::default().feedback.passes)]
    pub(crate) passes: usize,
    /// Leave running statistics of batch-norm as they are, instead of folding them into scale and shift.
    #[arg(long)]
    pub(crate) no_fold: bool,
    /// How normalisation and biases are repaired on the way.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) repair: RepairArg,
    /// Seed of the choice of examples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Inputs of layers.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum InputsArg {
    /// Those of the original's layer.
    Original,
    /// What reaches the layer that is quantized.
    Quantized,
    /// What reaches it; and its targets are the weights that do best with it what the original's do with their inputs.
    Corrected,
}

/// One of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct SequentialTargetArgs {
    /// Size of the file: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", value_parser = crate::args::values::size)]
    pub(crate) size: Option<u64>,
    /// Bits of the whole file per weight.
    #[arg(long, value_name = "X")]
    pub(crate) bpw: Option<f64>,
    /// The paper's ratio: four bytes per trainable parameter over bytes of the file.
    #[arg(long, value_name = "X")]
    pub(crate) ratio: Option<f64>,
    /// Loss per bit.
    #[arg(long, value_name = "X")]
    pub(crate) slope: Option<f64>,
}

/// Arguments of `net finetune`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net finetune --net lenet5 --data mnist lenet.tersor -o tuned.tersor")]
pub(crate) struct FinetuneArgs {
    /// A .tersor file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Passes over the training set.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) epochs: usize,
    /// Examples per step.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch: usize,
    /// Learning rate at the beginning; it falls as half a cosine.
    #[arg(long, value_name = "RATE", default_value_t = 3e-4)]
    pub(crate) rate: f64,
    /// What training does to images.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) augment: AugmentArg,
    /// Seed of order and augmentation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Training examples used: a range such as ..55000, or 0%10 for every tenth, !0%10 for the others. With --teacher test examples, if
    /// there are no others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// Learn this network's answers instead of labels: the original, .safetensors or .tersor.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) teacher: Option<PathBuf>,
    /// Both answers are softened by this temperature.
    #[arg(long, value_name = "T", default_value_t = 4.0, requires = "teacher")]
    pub(crate) distill: f32,
    /// Learn them for mixtures of two images each: where the teacher knows the images themselves by heart.
    #[arg(long, requires = "teacher")]
    pub(crate) mix: bool,
    /// Learn its activations as well: weight of their squared error over their square.
    #[arg(long, value_name = "W", default_value_t = 0.0, requires = "teacher")]
    pub(crate) features: f32,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What scales and shifts of normalisation are chosen for.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum MatchArg {
    /// The original's means.
    Mean,
    /// Its means and variances.
    Moments,
    /// Least squares from its outputs.
    LeastSquares,
}

/// The same, or nothing.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum RepairArg {
    /// Normalisation and biases stay.
    None,
    /// The original's means.
    Mean,
    /// Its means and variances.
    Moments,
    /// Least squares from its outputs.
    LeastSquares,
}

/// Arguments of `net repair`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net repair --net resnet32 --data cifar10 resnet32.tersor --original resnet32.safetensors -o repaired.tersor")]
pub(crate) struct RepairArgs {
    /// A .tersor file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The network, its data and its device. Labels are not used.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// The checkpoint that was compressed.
    #[arg(long, value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) original: PathBuf,
    /// What scales and shifts are chosen for.
    #[arg(long = "match", value_enum, default_value = "moments")]
    pub(crate) target: MatchArg,
    /// Training images used; test images if there are none.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) samples: usize,
    /// Images to choose from: a range such as ..150, or 0%10 for every tenth, !0%10 for the others.
    #[arg(long, value_name = "WHICH", default_value = "0..")]
    pub(crate) examples: Selection,
    /// Seed of the choice of images.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

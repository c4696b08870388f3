//! Arguments of `tersor net` and `tersor demo`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use tersor::options::CompressOptions;
use tersor_nets::Selection;
use tersor_nets::prune::Score;
use tersor_nets::sequential::SequentialOptions;

/// Arguments of `demo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor demo                                     on digits that the program draws itself; needs no file
  tersor demo --data mnist                        on MNIST, from a folder with its four files")]
pub(crate) struct DemoArgs {
    /// Images to train on: `digits`, `digits:N`, or a folder with MNIST's files.
    #[arg(long, value_name = "DATA", default_value = "digits:11000")]
    pub(crate) data: String,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the files, kept afterwards. Without it they go to a temporary one.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Where the network runs.
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub(crate) device: String,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// Which network, on what data, where.
#[derive(Args, Debug)]
pub(crate) struct TaskArgs {
    /// The network: lenet5, resnet20, resnet32, resnet44, resnet56, alexnet, `squeezenet1_1`, or llama:CONFIG.json.
    #[arg(long, value_name = "NAME")]
    pub(crate) net: String,
    /// Data: `digits`, `digits:N`, `digits:N:SEED`, or a path: MNIST's files, CIFAR-10's, a folder of images, a text.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
    /// Tokenizer of a text, in llama2.c's format.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Where the network runs.
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub(crate) device: String,
}

/// Where results go.
#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// The file to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Overwrite it if it is there.
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// What training does to images.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum AugmentArg {
    /// Nothing.
    None,
    /// Rotation, scale, shear and shift, for digits.
    Affine,
    /// Affine and a smooth displacement, for digits.
    Elastic,
    /// Random crops of the padded image and mirror images, for CIFAR-10.
    CropFlip,
}

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
    /// Examples per pass.
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

/// What is rounded first.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum RoundingArg {
    /// The most sensitive weights of all layers.
    Weights,
    /// The first layers, with errors fed back as in `net compress`: for networks that are not pruned, or by magnitude.
    Layers,
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
      --augment elastic --epochs 40 -o sparse.safetensors")]
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
    /// How the rest trains on.
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

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
    pub(crate) coder: super::values::CoderArg,
    /// How much layers matter.
    #[command(flatten)]
    pub(crate) weighing: WeighingArgs,
    /// Quantize each weight by itself, not on a trellis: faster to make, larger at the same accuracy.
    #[arg(long)]
    pub(crate) no_trellis: bool,
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
    pub(crate) coder: super::values::CoderArg,
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

/// One of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct SizeArgs {
    /// Size of the file: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", value_parser = super::values::size)]
    pub(crate) size: Option<u64>,
    /// Bits of the whole file per weight.
    #[arg(long, value_name = "X")]
    pub(crate) bpw: Option<f64>,
    /// The paper's ratio: four bytes per trainable parameter over bytes of the file.
    #[arg(long, value_name = "X")]
    pub(crate) ratio: Option<f64>,
}

/// One of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct SequentialTargetArgs {
    /// Size of the file: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", value_parser = super::values::size)]
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

/// A checkpoint that is rewritten, and its network.
#[derive(Args, Debug)]
pub(crate) struct RewriteArgs {
    /// A checkpoint.
    #[arg(value_name = "WEIGHTS", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: PathBuf,
    /// The network.
    #[arg(long, value_name = "NAME")]
    pub(crate) net: String,
    /// Where to.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `net fold`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net fold --net resnet32 resnet32.safetensors -o folded.safetensors")]
pub(crate) struct FoldArgs {
    /// What.
    #[command(flatten)]
    pub(crate) rewrite: RewriteArgs,
}

/// Arguments of `net canon`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor net canon --net lenet5 pruned.safetensors -o sorted.safetensors")]
pub(crate) struct CanonArgs {
    /// What.
    #[command(flatten)]
    pub(crate) rewrite: RewriteArgs,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// An experiment.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum ExperimentArg {
    /// Table 1: pruned, quantized four ways at the paper's ratios, Huffman coded, fine-tuned.
    Table1,
    /// Small files of a network and how accurate they are.
    Frontier,
    /// Figure 1: accuracy against bits, four quantizers, fixed-length and Huffman codes, without and with fine-tuning.
    Figure1,
    /// Figure 2: the Hessian from all and from 1,000 samples, and the root of Adam's second moments.
    Figure2,
    /// Figure 3: plain and Hessian-weighted means of uniform cells.
    Figure3,
    /// One codebook for all layers, or one for each, at equal bytes.
    Scope,
    /// Estimates of sensitivities and their samples, at equal bytes.
    Sensitivities,
    /// Every method on a language model.
    Transformer,
    /// Levels, slope, step, tempering, floor, samples.
    Hyperparameters,
    /// What the gradient, the diagonal and the whole Hessian predict of the loss, and what it is.
    OffDiagonal,
    /// Cost per iteration of ECSQ from several starts, how far k-means is from its optimum, and time.
    Convergence,
}

/// Arguments of `net reproduce`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one per flag of the command line")]
#[command(after_help = "\
Experiments:
  table1    the paper's four quantizers on pruned LeNet-5, ResNet-32 or AlexNet, fine-tuned: LeNet-5 is trained first, the others begin with
            --weights; AlexNet with a folder that holds ImageNet in train and val
  frontier  small files of a network and how accurate they are: of weights that are given, compressed after training, with --no-data
            without any examples, or with --trained trained to be small; of LeNet-5 also without weights
  the others files of the weights given that differ in one thing

Examples:
  tersor net reproduce table1 --net lenet5 --data mnist -o table1         an hour or two; a killed run goes on
  tersor net reproduce table1 --net lenet5 --data mnist -o docs/results/table1-lenet5 --check
  tersor net reproduce table1 --net resnet32 --data cifar10 --weights resnet32.safetensors -o table1-resnet32
  tersor net reproduce table1 --net alexnet --data imagenet --weights alexnet-owt-7be5be79.pth -o table1-alexnet
  tersor net reproduce frontier --net lenet5 --data mnist -o lenet5
  tersor net reproduce frontier --net resnet32 --data cifar10 --weights resnet32.safetensors -o resnet32
  tersor net reproduce figure1 --net resnet32 --data cifar10 --weights resnet32.safetensors -o figure1")]
pub(crate) struct ReproduceArgs {
    /// The experiment.
    #[arg(value_enum)]
    pub(crate) experiment: ExperimentArg,
    /// The network, its data and its device.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// The trained network that files are made from.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: Option<PathBuf>,
    /// Folder of the report, its files and the state of trainings.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Ratios of the files of a frontier, or bits per weight of a language model's; otherwise those of the network's recipe.
    #[arg(long, value_name = "X", value_delimiter = ',')]
    pub(crate) sizes: Vec<f64>,
    /// Train the network to be small, instead of compressing it as it is.
    #[arg(long)]
    pub(crate) trained: bool,
    /// Compress the weights as `tersor compress` does, without examples.
    #[arg(long, conflicts_with = "trained", requires = "weights")]
    pub(crate) no_data: bool,
    /// Seeds of training, one run each. Default: 1,2,3, or 1 with --weights.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Passes. table1: dense, while pruning, augmented, fine-tuning; frontier: dense, while pruning, in each stage.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) epochs: Option<Vec<usize>>,
    /// Records of other software on the same network, drawn beside those of a frontier.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) beside: Vec<PathBuf>,
    /// Decode and score the files of a report that is there; status 1 if one differs.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

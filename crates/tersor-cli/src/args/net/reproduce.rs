//! Arguments of `tersor net reproduce`.

use super::TaskArgs;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// An experiment.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum ExperimentArg {
    /// Table 1: pruned, quantized four ways at the paper's ratios, Huffman coded, fine-tuned.
    Table1,
    /// Small files of a network and how accurate they are.
    Frontier,
    /// What each part of compression layer by layer brings: files of one size, each without one of them.
    Ingredients,
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
  ingredients  a file after training, and what it is like without each of the recipe's parts
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
    /// Ratios of the files of a frontier or of ingredients, or bits per weight of a language model's; otherwise those of the network's recipe.
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
    /// Passes. table1: dense, while pruning, augmented, fine-tuning; frontier: dense, while pruning (of a
    /// ResNet as many again on what is left), in each stage.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) epochs: Option<Vec<usize>>,
    /// Records of other software on the same network, drawn beside those of a frontier.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) beside: Vec<PathBuf>,
    /// Decode and score the files of a report that is there, with --weights their divergence from these too; status 1 if one differs.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

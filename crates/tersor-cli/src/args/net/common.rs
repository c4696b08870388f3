//! Arguments that several commands have.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

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

/// One of these.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct SizeArgs {
    /// Size of the file: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", value_parser = crate::args::values::size)]
    pub(crate) size: Option<u64>,
    /// Bits of the whole file per weight.
    #[arg(long, value_name = "X")]
    pub(crate) bpw: Option<f64>,
    /// The paper's ratio: four bytes per trainable parameter over bytes of the file.
    #[arg(long, value_name = "X")]
    pub(crate) ratio: Option<f64>,
}

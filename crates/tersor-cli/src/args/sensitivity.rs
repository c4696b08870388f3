//! Arguments of `sensitivity`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Arguments of `sensitivity`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor sensitivity --from-optimizer training.pt -o net.sens.safetensors
  tersor sensitivity --from-optimizer optimizer.pt --model net.pt -o net.sens.safetensors
  tersor compress net.safetensors --sensitivity net.sens.safetensors --bpw 3

Second moments are those of Adam and its kin, RMSprop, Adadelta and Adagrad. PyTorch numbers an optimizer's parameters; their \
order and shapes are matched with those of the weights beside the optimizer, or else of --model, and a match that leaves a \
choice is refused. Safetensors are written in the order of names, which does not tell the order of the parameters: a model \
with parameters of equal shapes has to come from `torch.save`. An L2 penalty given to Adam (not AdamW) as weight_decay is \
part of its moments.")]
pub(crate) struct OptimizerArgs {
    /// A file written by torch.save that holds the state dict of an optimizer; code in it is never run.
    #[arg(long, value_name = "CHECKPOINT", value_hint = ValueHint::FilePath)]
    pub(crate) from_optimizer: PathBuf,
    /// The model: names to write, and their order if there are no weights beside the optimizer. Default: those weights.
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) model: Option<PathBuf>,
    /// Write the roots of the moments, which Choi et al. use in place of a Hessian.
    #[arg(long)]
    pub(crate) sqrt: bool,
    /// The file to write: safetensors, for `tersor compress --sensitivity`.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Overwrite it if it is there.
    #[arg(short, long)]
    pub(crate) force: bool,
}

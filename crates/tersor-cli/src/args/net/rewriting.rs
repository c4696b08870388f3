//! Arguments of commands that write the same function with other weights.

use super::OutputArgs;
use clap::{Args, ValueHint};
use std::path::PathBuf;

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

//! Arguments of `tersor demo`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

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

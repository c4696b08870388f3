//! The command line: what can be asked for. Every text of `--help`, of the completions and of the manual pages is here.

mod compress;
#[cfg(feature = "nets")]
pub(crate) mod net;
mod sensitivity;
mod values;

pub(crate) use compress::{CompressArgs, SensitivityArgs, check_weighted};
pub(crate) use sensitivity::OptimizerArgs;
pub(crate) use values::{CoderArg, FormatArg, ScopeArg};

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use std::path::PathBuf;
use tersor::options::Method;

/// Makes trained neural networks small, and gives them back as ordinary checkpoints.
#[derive(Debug, Parser)]
#[command(name = "tersor", version, max_term_width = 110)]
#[command(after_help = "\
Examples:
  tersor compress net.safetensors --bpw 3         about 3 bits per weight, to net.tersor
  tersor decompress net.tersor                    back to net.safetensors
  tersor verify net.tersor --against net.safetensors
  tersor demo                                     see it work on a network that it trains itself

Exit status: 0 done, 1 a negative answer (verify), 2 failure or wrong usage, 130 interrupted. An option that would \
change nothing is wrong usage.")]
pub(crate) struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Threads to use; 0 for one per processor. Results do not depend on it.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 0,
        help_heading = "General"
    )]
    pub(crate) threads: usize,
    /// Only errors: no summary, no warnings, no progress.
    #[arg(short, long, global = true, help_heading = "General")]
    pub(crate) quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compress a checkpoint to one .tersor file.
    #[command(visible_alias = "c")]
    Compress(Box<CompressArgs>),
    /// Turn a .tersor file back into a checkpoint.
    #[command(visible_alias = "d")]
    Decompress(DecompressArgs),
    /// Show what a .tersor file or a checkpoint holds, without decoding it.
    Inspect(InspectArgs),
    /// Check that a .tersor file is whole, and how far it is from its original.
    Verify(VerifyArgs),
    /// Compress with many methods to many sizes and tabulate what each costs.
    Sweep(SweepArgs),
    /// Write the sensitivities that a PyTorch training checkpoint holds already: the second moments of its optimizer.
    Sensitivity(OptimizerArgs),
    /// See it work: a network trained, pruned, quantized, fine-tuned and scored, from nothing to small files.
    #[cfg(feature = "nets")]
    Demo(net::DemoArgs),
    /// Train, measure, prune and repair networks.
    #[cfg(feature = "nets")]
    #[command(subcommand)]
    Net(net::NetCommand),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands to a folder.
    Man(ManArgs),
}

/// Arguments of `decompress`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor decompress net.tersor                    to net.safetensors, or to the folder net if it holds several files
  tersor decompress net.tersor -o net.npz         to arrays of NumPy
  tersor decompress - < net.tersor > net.safetensors")]
pub(crate) struct DecompressArgs {
    /// The .tersor file; - for standard input.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// Where to write: a .safetensors or .npz file, a folder if FILE holds several files, or - for standard output.
    /// Default: FILE without .tersor, with the ending of the format unless it becomes a folder.
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Format of the checkpoint. Default: by the ending of OUT, else safetensors.
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// Overwrite what is there.
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
}

/// How large decoded data may be.
#[derive(Args, Debug)]
pub(crate) struct LimitArgs {
    /// Refuse files that decode to more: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = values::size)]
    pub(crate) max_size: u64,
}

/// Arguments of `inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor inspect net.tersor                       sizes, coders, tensors
  tersor inspect -v net.tersor                    with codebooks and groups
  tersor inspect net.safetensors                  the tensors of a checkpoint")]
pub(crate) struct InspectArgs {
    /// A .tersor file or a checkpoint; - for standard input.
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show codebooks, groups and all files too.
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) verbose: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor verify net.tersor                        exit status 0 if every checksum is right, 1 if not
  tersor verify net.tersor --against net.safetensors

With --against, names match with or without a leading \"module.\". The status is 1 if the tensors differ in names, types or \
shapes, what is stored losslessly differs, or the file lacks metadata or other files that the original has. Errors of \
quantized tensors are shown, and are what lossy compression is about.")]
pub(crate) struct VerifyArgs {
    /// The .tersor file; - for standard input.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// The checkpoint it was made from: shows the error of each tensor.
    #[arg(long, value_name = "ORIGINAL", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
}

/// Arguments of `sweep`.
#[expect(clippy::struct_excessive_bools, reason = "one per flag of the command line")]
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor sweep net.safetensors                    all methods and scopes at six sizes
  tersor sweep net.safetensors --methods grid,uniform --scopes tensor --bpw 2,3,4
  tersor sweep net.safetensors --sensitivity fisher.safetensors --csv > sweep.csv
  tersor sweep net.safetensors --svg curves.svg   a picture beside the table
  tersor sweep net.safetensors --bound --coders ans --svg limit.svg

A size that a method cannot reach is left out.")]
pub(crate) struct SweepArgs {
    /// The checkpoint: a file, a folder, or - for standard input.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) sensitivity: SensitivityArgs,
    /// Methods. Default: all; without sensitivities, all but hessian-kmeans, which is kmeans then.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = values::method())]
    pub(crate) methods: Vec<Method>,
    /// Scopes. Default: both.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_enum)]
    pub(crate) scopes: Vec<ScopeArg>,
    /// Coders. Default: context.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_enum)]
    pub(crate) coders: Vec<CoderArg>,
    /// Bits per weight of the whole file. Default: from 1.5 to 5.
    #[arg(
        long,
        value_name = "X,Y",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub(crate) bpw: Vec<f64>,
    /// Tell how far the symbols of each file are from the rate-distortion bound: what no code can beat that takes weights one by one.
    /// Errors are not balanced or fed back then.
    #[arg(long)]
    pub(crate) bound: bool,
    /// Print a JSON array instead of a table.
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print comma-separated values instead of a table.
    #[arg(long)]
    pub(crate) csv: bool,
    /// Draw the curves to this file: predicted loss, or noise without sensitivities.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
    /// Overwrite the picture if it is there.
    #[arg(short, long, requires = "svg")]
    pub(crate) force: bool,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor completions bash > ~/.local/share/bash-completion/completions/tersor
  tersor completions zsh > ~/.zfunc/_tersor
  tersor completions fish > ~/.config/fish/completions/tersor.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tersor man | man -l -                           read it now
  tersor man ~/.local/share/man/man1              install the pages of all commands")]
pub(crate) struct ManArgs {
    /// Folder for the pages, which must exist. Without it, the main page goes to standard output.
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Overwrite pages that are there.
    #[arg(short, long, requires = "dir")]
    pub(crate) force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

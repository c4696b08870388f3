//! Arguments of `compress`.

use super::values::{self, CentresArg, CoderArg, ScopeArg};
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::str::FromStr;
use tersor::evaluate::EvaluateOptions;
use tersor::options::{CompressOptions, Method, Override, Target, parse_glob};

/// Arguments of `compress`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one per flag of the command line")]
#[command(after_help = "\
Examples:
  tersor compress net.safetensors                           near-lossless, to net.tersor
  tersor compress net.pt --bpw 2.5 -o small.tersor          2.5 bits per weight, everything counted
  tersor compress llama/ --size 2GiB --tensor 'lm_head*=keep'
  tersor compress net.safetensors --sensitivity fisher.safetensors --max-loss 0.01
  tersor compress net.safetensors --evaluate 'python accuracy.py {}' --at-least 0.92
  tersor compress net.safetensors --dry-run                 what would be done with each tensor
  cat net.safetensors | tersor compress - --ratio 10 > net.tersor

Without a target the file is near-lossless: in the median tensor of two or more dimensions the noise is 40 dB below the weights. The input is kept.")]
pub(crate) struct CompressArgs {
    /// The checkpoint: a file (safetensors, PyTorch, npz), a folder, or - for standard input.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Where to write; - for standard output. Default: INPUT with the extension .tersor.
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite OUT if it is there.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the plan and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what became of each tensor.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    evaluate: EvaluateArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    sensitivity: SensitivityArgs,
    #[command(flatten)]
    tensors: TensorArgs,
}

/// Where to end up: at most one of these.
#[derive(Args, Debug)]
#[group(id = "target", multiple = false)]
#[command(next_help_heading = "Target (at most one)")]
struct TargetArgs {
    /// Bits of the whole file per weight.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    bpw: Option<f64>,
    /// Bytes of the tensors over bytes of the file.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    ratio: Option<f64>,
    /// Size of the file: bytes, or with a suffix k, M, G (1000s), KiB, MiB, GiB (1024s).
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    size: Option<u64>,
    /// Largest predicted increase of the loss; needs --sensitivity.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    max_loss: Option<f64>,
    /// Price of a bit in predicted loss.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    slope: Option<f64>,
    /// Number of levels, for k-means.
    #[arg(long, value_name = "K")]
    levels: Option<usize>,
    /// Distance of levels, for uniform quantization.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    step: Option<f32>,
    /// Smallest file of a measured quality: a shell command with {} for the path of a decoded checkpoint. The last line
    /// that it prints is the quality; more is better.
    #[arg(long, value_name = "COMMAND", requires = "at_least", value_hint = ValueHint::CommandString)]
    evaluate: Option<String>,
}

/// What goes with `--evaluate`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target (at most one)")]
struct EvaluateArgs {
    /// Least quality that --evaluate has to reach.
    #[arg(long, value_name = "X", requires = "evaluate", allow_negative_numbers = true)]
    at_least: Option<f64>,
    /// Most runs of the command of --evaluate.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = at_least_one)]
    max_evals: usize,
}

/// How weights are quantized and coded.
#[derive(Args, Debug)]
#[command(next_help_heading = "Method")]
struct MethodArgs {
    /// How levels are found. grid is the best here; uniform, ecsq, hessian-kmeans and kmeans are those of the literature.
    #[arg(long, default_value_t = CompressOptions::default().method, value_parser = values::method())]
    method: Method,
    /// Which weights share a codebook.
    #[arg(long, value_enum, default_value_t)]
    scope: ScopeArg,
    /// How symbols become bits; auto takes the smallest.
    #[arg(long, value_enum, default_value_t)]
    coder: CoderArg,
    /// Values of the cells of --method uniform.
    #[arg(long, value_enum, default_value_t)]
    centres: CentresArg,
}

/// How sensitive the loss is to each weight.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sensitivity")]
pub(crate) struct SensitivityArgs {
    /// A safetensors file of the Hessian's or Fisher information's diagonal, under the names of the tensors.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sensitivity: Option<PathBuf>,
    /// Exponent of the sensitivities, 0 to 1; below 1 they are trusted less.
    #[arg(long, value_name = "P", default_value_t = CompressOptions::default().power, allow_negative_numbers = true)]
    power: f64,
    /// Share of a tensor's mean sensitivity that is added to each.
    #[arg(long, value_name = "F", default_value_t = CompressOptions::default().floor, allow_negative_numbers = true)]
    floor: f64,
}

impl SensitivityArgs {
    /// Puts these settings into those of the library.
    pub(crate) fn apply(&self, options: &mut CompressOptions) {
        options.sensitivity.clone_from(&self.sensitivity);
        options.power = self.power;
        options.floor = self.floor;
    }
}

/// Settings of single tensors.
#[derive(Args, Debug)]
#[command(next_help_heading = "Single tensors")]
struct TensorArgs {
    /// Store the tensors whose names match losslessly; may be repeated.
    #[arg(long, value_name = "GLOB")]
    keep: Vec<String>,
    /// A rule for matching tensors; may be repeated, the last that matches counts. RULE is keep (as --keep, which wins), or
    /// parts with commas between: xF, a factor on the slope (x0.25 doubles the precision); sS, a slope; the name of a
    /// method; kN, the levels of a clustering. Such as 'conv1.*=x0.25' or 'fc.*=hessian-kmeans,k16'.
    #[arg(long, value_name = "GLOB=RULE", value_parser = TensorRule::from_str)]
    tensor: Vec<TensorRule>,
}

/// A number of runs.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("it must be a whole number of at least 1".into()),
    }
}

/// What to do with the tensors that match a pattern.
#[derive(Clone, Debug)]
enum TensorRule {
    /// Store them losslessly.
    Keep(String),
    /// Weigh bits otherwise.
    Override(Override),
}

impl FromStr for TensorRule {
    type Err = tersor::Error;

    fn from_str(text: &str) -> tersor::Result<Self> {
        match text.strip_suffix("=keep") {
            Some(glob) => Ok(Self::Keep(glob.into())),
            None => text.parse().map(Self::Override),
        }
    }
}

impl CompressArgs {
    /// The settings of the library that were asked for.
    ///
    /// # Errors
    /// If a pattern is not valid.
    pub(crate) fn options(&self) -> tersor::Result<CompressOptions> {
        let mut options = CompressOptions::default();
        options.method = self.method.method;
        options.scope = self.method.scope.into();
        options.coder = self.method.coder.into();
        options.centres = self.method.centres.into();
        options.target = self.target();
        self.sensitivity.apply(&mut options);
        for glob in &self.tensors.keep {
            options.keep.push(parse_glob(glob)?);
        }
        for rule in &self.tensors.tensor {
            match rule {
                TensorRule::Keep(glob) => options.keep.push(parse_glob(glob)?),
                TensorRule::Override(rule) => options.overrides.push(rule.clone()),
            }
        }
        Ok(options)
    }

    fn target(&self) -> Target {
        let args = &self.target;
        args.bpw
            .map(Target::Bpw)
            .or(args.ratio.map(Target::Ratio))
            .or(args.size.map(Target::SizeBytes))
            .or(args.max_loss.map(Target::MaxLoss))
            .or(args.slope.map(Target::Slope))
            .or(args.levels.map(Target::Levels))
            .or(args.step.map(Target::Step))
            .unwrap_or_default()
    }

    /// The command that measures quality, if there is one.
    pub(crate) fn evaluation(&self) -> Option<EvaluateOptions> {
        let command = self.target.evaluate.clone()?;
        let at_least = self.evaluate.at_least?;
        Some(EvaluateOptions {
            command,
            at_least,
            max_evals: self.evaluate.max_evals,
        })
    }
}

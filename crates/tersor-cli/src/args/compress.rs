//! Arguments of `compress`.

use super::Common;
use super::values::{self, CentresArg, CoderArg, FeedbackArg, ScopeArg};
use anyhow::bail;
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::str::FromStr;
use tersor::codec::Coder;
use tersor::evaluate::EvaluateOptions;
use tersor::options::{Centres, CompressOptions, Method, Override, Scope, Target, parse_glob};

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
    /// Print what would be done with each tensor and write nothing. All other options are checked.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what became of each tensor.
    #[arg(short, long, conflicts_with_all = ["json", "dry_run"])]
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
    /// Distance of levels, for --method uniform.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    step: Option<f32>,
    /// Smallest file of a measured quality: a command for the shell (sh, or cmd on Windows) with {} for the path of a decoded
    /// checkpoint, which is quoted where it has to be. The last line that it prints is the quality; more is better.
    #[arg(long, value_name = "COMMAND", requires = "at_least", value_hint = ValueHint::CommandString)]
    evaluate: Option<String>,
}

/// Runs of the command of `--evaluate` if nobody says how many.
const DEFAULT_MAX_EVALS: usize = 12;

/// What goes with `--evaluate`. The parser does not tell what needs it beside another target, which excludes it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target (at most one)")]
struct EvaluateArgs {
    /// Least quality that --evaluate has to reach.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    at_least: Option<f64>,
    /// Most runs of the command of --evaluate. Default: 12.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_evals: Option<usize>,
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
    /// How symbols become bits; auto takes the smallest. Default: context where the file is to be small (--bpw, --ratio, --size,
    /// --max-loss, --evaluate), ans otherwise, which decodes many times as fast.
    #[arg(long, value_enum)]
    coder: Option<CoderArg>,
    /// Values of the cells of --method uniform. Default: grid.
    #[arg(long, value_enum)]
    centres: Option<CentresArg>,
}

/// How sensitive the loss is to each weight.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sensitivity")]
pub(crate) struct SensitivityArgs {
    /// A safetensors file of the Hessian's or Fisher information's diagonal, under the names of the tensors.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sensitivity: Option<PathBuf>,
    /// Without sensitivities, count all weights of tensors of two or more dimensions alike, as the paper does; otherwise those of small
    /// tensors count more.
    #[arg(long, conflicts_with = "sensitivity")]
    alike: bool,
    /// Exponent of the sensitivities, 0 to 1; below 1 they are trusted less.
    #[arg(long, value_name = "P", default_value_t = CompressOptions::default().power, requires = "sensitivity", allow_negative_numbers = true)]
    power: f64,
    /// Share of a tensor's mean sensitivity that is added to each.
    #[arg(long, value_name = "F", default_value_t = CompressOptions::default().floor, requires = "sensitivity", allow_negative_numbers = true)]
    floor: f64,
    /// Scale rows of tensors with grids of their own where FILE says that some matter less, as those of rare tokens in embeddings.
    #[arg(long, requires = "sensitivity")]
    row_scales: bool,
    /// Method grid makes errors good by the weights that come after: where FILE has second moments of a layer's inputs
    /// (`NAME::gram`) by these, slower and better, and in other convolutions by what their inputs are mostly like.
    #[arg(long, value_enum, default_value_t)]
    feedback: FeedbackArg,
    /// Quantize each weight by itself, not on a trellis as method grid does with the coder context: faster to make, larger at the same loss.
    #[arg(long)]
    no_trellis: bool,
}

impl SensitivityArgs {
    /// Whether a file was given.
    pub(crate) fn are_given(&self) -> bool {
        self.sensitivity.is_some()
    }

    /// Puts these settings into those of the library.
    pub(crate) fn apply(&self, options: &mut CompressOptions) {
        options.sensitivity.clone_from(&self.sensitivity);
        options.alike = self.alike;
        options.power = self.power;
        options.floor = self.floor;
        options.row_scales = self.row_scales;
        options.feedback = self.feedback.into();
        options.trellis = !self.no_trellis;
    }
}

/// Refuses methods that are others without sensitivities.
pub(crate) fn check_weighted(methods: &[Method]) -> anyhow::Result<()> {
    for method in methods {
        if let Some(other) = method.without_sensitivities() {
            bail!(
                "without sensitivities, method {method} is {other}; give --sensitivity FILE or use {other}"
            );
        }
    }
    Ok(())
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
    /// method; kN, the levels of a clustering. Such as 'conv1.*=x0.25' or 'fc.*=kmeans,k16'.
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
    /// The settings of the library that were asked for, checked as far as they can be without the checkpoint.
    ///
    /// # Errors
    /// If a pattern is not valid, a value out of range, or an option without effect.
    pub(crate) fn options(&self, common: &Common) -> anyhow::Result<CompressOptions> {
        let mut options = CompressOptions::default();
        options.method = self.method.method;
        options.scope = self.method.scope.into();
        options.centres = self.method.centres.unwrap_or_default().into();
        options.target = self.target();
        options.coder = match self.method.coder {
            Some(coder) => coder.into(),
            None if self.target.evaluate.is_some() => Some(Coder::Context),
            None => Some(options.target.default_coder()),
        };
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
        options.check()?;
        self.check_effect(&options)?;
        if self.verbose && common.quiet {
            bail!("--verbose has no effect with --quiet; give one of them");
        }
        if let Some(evaluation) = self.evaluation() {
            evaluation.check()?;
        }
        Ok(options)
    }

    /// Refuses what would change nothing, but for what single options need, which the parser knows.
    fn check_effect(&self, options: &CompressOptions) -> anyhow::Result<()> {
        let evaluate = [
            ("--at-least", self.evaluate.at_least.is_some()),
            ("--max-evals", self.evaluate.max_evals.is_some()),
        ];
        if let Some((option, _)) = evaluate
            .iter()
            .find(|(_, given)| *given && self.target.evaluate.is_none())
        {
            bail!(
                "{option} has no effect without a command to measure with; give --evaluate <COMMAND> with it"
            );
        }
        let rules = options.overrides.iter().filter_map(|o| o.rule.method);
        let methods: Vec<Method> = rules.chain([options.method]).collect();
        if self.method.centres.is_some() && !methods.contains(&Method::Uniform) {
            bail!(
                "--centres has no effect with method {}, which has no cells; give --method uniform with it",
                options.method
            );
        }
        let has_own_grid = methods.contains(&Method::Grid)
            && (options.scope == Scope::Tensor || !options.overrides.is_empty());
        if options.row_scales && !has_own_grid {
            bail!(
                "--row-scales has no effect where no tensor has a grid of its own; leave out --method {} and --scope, or --row-scales",
                options.method
            );
        }
        if !self.sensitivity.are_given() {
            if options.centres == Centres::WeightedMean {
                bail!(
                    "without sensitivities, weighted means are means; give --sensitivity FILE or --centres mean"
                );
            }
            check_weighted(&methods)?;
        }
        Ok(())
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
            max_evals: self.evaluate.max_evals.unwrap_or(DEFAULT_MAX_EVALS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use clap::Parser as _;

    /// Options that are given together.
    type Given = &'static [&'static str];

    const BPW: Given = &["--bpw=3"];
    const RATIO: Given = &["--ratio=10"];
    const SIZE: Given = &["--size=1M"];
    const MAX_LOSS: Given = &["--max-loss=0.1"];
    const SLOPE: Given = &["--slope=1e-6"];
    const LEVELS: Given = &["--levels=16"];
    const STEP: Given = &["--step=0.1"];
    const EVALUATE: Given = &["--evaluate=measure {}", "--at-least=1"];
    const MAX_EVALS: Given = &["--max-evals=3"];
    const AT_LEAST: Given = &["--at-least=2"];
    const GRID: Given = &["--method=grid"];
    const UNIFORM: Given = &["--method=uniform"];
    const ECSQ: Given = &["--method=ecsq"];
    const HESSIAN: Given = &["--method=hessian-kmeans"];
    const KMEANS: Given = &["--method=kmeans"];
    const SCOPE: Given = &["--scope=global"];
    const CODER: Given = &["--coder=auto"];
    const CENTRES: Given = &["--centres=mean"];
    const WEIGHTED: Given = &["--centres=weighted-mean"];
    const SENSITIVITY: Given = &["--sensitivity=h.safetensors"];
    const POWER: Given = &["--power=0.5"];
    const FLOOR: Given = &["--floor=0.1"];
    const ROW_SCALES: Given = &["--row-scales"];
    const FEEDBACK: Given = &["--feedback=off"];
    const KEEP: Given = &["--keep=a.*"];
    const RULE: Given = &["--tensor=b.*=x0.5"];
    const UNIFORM_RULE: Given = &["--tensor=b.*=uniform"];
    const HESSIAN_RULE: Given = &["--tensor=b.*=hessian-kmeans"];
    const OUTPUT: Given = &["--output=a.tersor"];
    const FORCE: Given = &["--force"];
    const DRY_RUN: Given = &["--dry-run"];
    const JSON: Given = &["--json"];
    const VERBOSE: Given = &["--verbose"];
    const THREADS: Given = &["--threads=2"];
    const QUIET: Given = &["--quiet"];

    const ALL: [Given; 35] = [
        BPW,
        RATIO,
        SIZE,
        MAX_LOSS,
        SLOPE,
        LEVELS,
        STEP,
        EVALUATE,
        MAX_EVALS,
        AT_LEAST,
        GRID,
        UNIFORM,
        ECSQ,
        HESSIAN,
        KMEANS,
        SCOPE,
        CODER,
        CENTRES,
        WEIGHTED,
        SENSITIVITY,
        POWER,
        FLOOR,
        ROW_SCALES,
        FEEDBACK,
        KEEP,
        RULE,
        UNIFORM_RULE,
        HESSIAN_RULE,
        OUTPUT,
        FORCE,
        DRY_RUN,
        JSON,
        VERBOSE,
        THREADS,
        QUIET,
    ];

    /// Options without effect, the option that the message has to name, and those beside which they have one.
    const NEEDS: [(Given, &str, &[Given]); 13] = [
        (MAX_LOSS, "--sensitivity", &[SENSITIVITY]),
        (LEVELS, "--method", &[KMEANS]),
        (STEP, "--method", &[UNIFORM]),
        (MAX_EVALS, "--evaluate", &[EVALUATE]),
        (AT_LEAST, "--evaluate", &[]), // `EVALUATE` has one already
        (HESSIAN, "--sensitivity", &[SENSITIVITY]),
        (HESSIAN_RULE, "--sensitivity", &[SENSITIVITY]),
        (CENTRES, "--method", &[UNIFORM, UNIFORM_RULE]),
        (WEIGHTED, "--method", &[UNIFORM, UNIFORM_RULE]),
        (WEIGHTED, "--sensitivity", &[SENSITIVITY]),
        (POWER, "--sensitivity", &[SENSITIVITY]),
        (FLOOR, "--sensitivity", &[SENSITIVITY]),
        (ROW_SCALES, "--sensitivity", &[SENSITIVITY]),
    ];

    /// Sets of which at most one can be given.
    const EXCLUSIVE: [&[Given]; 9] = [
        &[BPW, RATIO, SIZE, MAX_LOSS, SLOPE, LEVELS, STEP, EVALUATE],
        &[GRID, UNIFORM, ECSQ, HESSIAN, KMEANS],
        &[CENTRES, WEIGHTED],
        &[EVALUATE, AT_LEAST],
        &[SLOPE, KMEANS],
        &[SLOPE, HESSIAN],
        &[VERBOSE, JSON],
        &[VERBOSE, DRY_RUN],
        &[VERBOSE, QUIET],
    ];

    fn refusal(given: &[Given]) -> Option<String> {
        let args = ["tersor", "compress", "net.safetensors"];
        match Cli::try_parse_from(args.iter().chain(given.iter().copied().flatten())) {
            Err(error) => Some(error.to_string()),
            Ok(cli) => match cli.command {
                Command::Compress(args) => args.options(&cli.common).err().map(|error| error.to_string()),
                _ => None,
            },
        }
    }

    #[test]
    fn of_all_pairs_of_options_those_without_effect_are_refused_with_the_remedy() {
        for (i, &a) in ALL.iter().enumerate() {
            for &b in ALL.get(i..).unwrap() {
                let given: &[Given] = if a == b { &[a] } else { &[a, b] };
                let lacking: Vec<&str> = NEEDS
                    .iter()
                    .filter(|(option, _, with)| {
                        given.contains(option) && !with.iter().any(|w| given.contains(w))
                    })
                    .map(|(_, remedy, _)| *remedy)
                    .collect();
                let is_exclusive = a != b && EXCLUSIVE.iter().any(|set| set.contains(&a) && set.contains(&b));
                let refused = refusal(given);
                assert_eq!(
                    refused.is_some(),
                    is_exclusive || !lacking.is_empty(),
                    "{given:?}: {refused:?}"
                );
                if let Some(message) = refused.filter(|_| !is_exclusive) {
                    assert!(
                        lacking.iter().any(|remedy| message.contains(remedy)),
                        "{given:?}: {message}"
                    );
                }
            }
        }
    }

    #[test]
    fn options_that_need_two_others_are_accepted_with_both() {
        for given in [
            &[WEIGHTED, UNIFORM, SENSITIVITY][..],
            &[LEVELS, HESSIAN, SENSITIVITY],
            &[MAX_LOSS, SENSITIVITY, POWER, FLOOR, HESSIAN],
            &[STEP, UNIFORM, CENTRES, SCOPE],
            &[ROW_SCALES, SENSITIVITY],
            &[ROW_SCALES, SENSITIVITY, GRID, SCOPE, RULE],
        ] {
            assert_eq!(refusal(given), None, "{given:?}");
        }
    }

    #[test]
    fn row_scales_are_refused_where_no_tensor_has_a_grid_of_its_own() {
        for given in [
            &[ROW_SCALES, SENSITIVITY, KMEANS][..],
            &[ROW_SCALES, SENSITIVITY, UNIFORM, SCOPE],
            &[ROW_SCALES, SENSITIVITY, SCOPE],
        ] {
            let message = refusal(given).unwrap_or_default();
            assert!(
                message.contains("--row-scales has no effect"),
                "{given:?}: {message}"
            );
        }
    }
}

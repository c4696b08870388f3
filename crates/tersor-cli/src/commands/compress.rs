//! `tersor compress`: a checkpoint to a file.

use crate::Status;
use crate::args::{Common, CompressArgs};
use crate::files::{self, Output};
use crate::output::{self, Align, Table};
use crate::progress::Bar;
use anyhow::bail;
use serde::Serialize;
use tersor::checkpoint::Checkpoint;
use tersor::evaluate::{Evaluation, compress_to_quality};
use tersor::options::Rule;
use tersor::plan::{Plan, SensitivitySource, TensorPlan, Treatment};
use tersor::{CompressReport, Compressor};

/// What `--json` prints.
#[derive(Serialize)]
struct JsonReport<'a> {
    input: String,
    output: String,
    #[serde(flatten)]
    report: &'a CompressReport,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    evaluations: &'a [Evaluation],
}

/// Compresses a checkpoint, or says what would be done.
pub(crate) fn run(args: &CompressArgs, common: &Common) -> anyhow::Result<Status> {
    let options = args.options()?;
    if args.dry_run {
        let checkpoint = files::open_checkpoint(&args.input)?;
        let compressor = Compressor::new(&checkpoint, options)?;
        return dry_run(args, common, &checkpoint, &compressor);
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None => files::compressed_name(&args.input)?,
    };
    if args.json && files::is_stream(&path) {
        bail!("--json and the compressed file cannot both go to standard output; give -o FILE");
    }
    let destination = Output::prepare(&path, &args.input, args.force, false)?;
    let checkpoint = files::open_checkpoint(&args.input)?;
    let target = options.target.clone();
    let compressor = Compressor::new(&checkpoint, options)?;
    let bar = Bar::new(common.quiet);
    let (compressed, evaluations) = match args.evaluation() {
        Some(evaluation) => compress_to_quality(&compressor, &evaluation, &bar)?,
        None => (compressor.compress(&target, &bar)?, Vec::new()),
    };
    drop(bar);
    destination.write(&compressed.bytes)?;
    let report = &compressed.report;
    if args.json {
        output::json(&JsonReport {
            input: args.input.display().to_string(),
            output: path.display().to_string(),
            report,
            evaluations: &evaluations,
        })?;
    } else if !common.quiet {
        if args.verbose {
            output::say(&tensor_table(report).to_string());
        }
        if !evaluations.is_empty() {
            output::say(&evaluation_table(&evaluations, report.levels.is_some()).to_string());
        }
        let (from, to) = (files::label(&args.input), files::label_output(&path));
        output::say(&format!("{from}: {}, to {to}", summary(report)));
        output::warn(&report.warnings);
    }
    Ok(Status::Done)
}

fn summary(report: &CompressReport) -> String {
    let knob = match report.levels {
        Some(levels) => format!("{levels} levels"),
        None => format!("slope {}", output::three_digits(report.slope)),
    };
    let damage = if report.has_sensitivities {
        format!("predicted loss +{}", output::three_digits(report.predicted_loss))
    } else {
        format!("noise {}", output::decibels(report.noise))
    };
    format!(
        "{} -> {} bytes ({:.2}x, {:.2} bpw; paper's ratio {:.2}x), {}/{}, {}, {knob}, {damage}",
        output::thousands(report.input_bytes),
        output::thousands(report.file_bytes),
        report.ratio,
        report.bpw,
        report.ratio_paper,
        report.method,
        report.scope,
        report.coder,
    )
}

fn tensor_table(report: &CompressReport) -> Table {
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("dtype", Align::Left),
        ("shape", Align::Left),
        ("levels", Align::Right),
        ("step", Align::Right),
        ("bpw", Align::Right),
        ("loss", Align::Right),
        ("noise", Align::Right),
        ("stored", Align::Left),
    ]);
    for tensor in &report.tensors {
        let stored = tensor
            .reason
            .as_ref()
            .map(|why| format!("{}: {}", tensor.stored, output::printable(why)));
        table.row([
            output::printable(&tensor.name),
            tensor.dtype.clone(),
            output::shape(&tensor.shape),
            output::optional(tensor.levels, |n| output::thousands(n as u64)),
            output::optional(tensor.step, |step| output::three_digits(step.into())),
            output::optional(tensor.entropy_bpw, |bits| format!("{bits:.2}")),
            output::optional(tensor.loss, output::three_digits),
            output::optional(tensor.noise, output::decibels),
            stored.unwrap_or_else(|| tensor.stored.into()),
        ]);
    }
    table
}

fn evaluation_table(evaluations: &[Evaluation], is_clustering: bool) -> Table {
    let knob = if is_clustering { "levels" } else { "slope" };
    let mut table = Table::new(&[
        (knob, Align::Right),
        ("bytes", Align::Right),
        ("quality", Align::Right),
    ]);
    for run in evaluations {
        table.row([
            output::three_digits(run.slope),
            output::thousands(run.file_bytes),
            run.quality.to_string(),
        ]);
    }
    table
}

/// One tensor of the plan, as `--dry-run` tells it.
#[derive(Serialize)]
struct PlannedTensor<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [u64],
    treatment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_sensitivity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

/// The plan, as `--dry-run --json` prints it.
#[derive(Serialize)]
struct PlanReport<'a> {
    input: String,
    input_bytes: u64,
    n_parameters: u64,
    tensors: Vec<PlannedTensor<'a>>,
    warnings: Vec<String>,
}

fn treatment(plan: &TensorPlan, checkpoint: &Checkpoint) -> String {
    match &plan.treatment {
        Treatment::Raw(reason) => format!("lossless: {reason}"),
        Treatment::Alias(target) => {
            let name = checkpoint.tensors().get(*target).map_or("", |t| &t.name);
            format!("stored once: equal to {name:?}")
        }
        Treatment::Constant(value) => format!("constant {value}"),
        Treatment::Fine => "fine codebook: one dimension".into(),
        Treatment::Main => "quantized".into(),
        _ => "unknown".into(),
    }
}

fn planned<'a>(checkpoint: &'a Checkpoint, plan: &Plan) -> Vec<PlannedTensor<'a>> {
    let tensor = |(info, plan): (&'a tersor::codec::TensorInfo, &TensorPlan)| {
        let is_quantized = matches!(plan.treatment, Treatment::Main | Treatment::Fine);
        let source = match plan.sensitivity {
            SensitivitySource::File => "file",
            SensitivitySource::Default => "equal",
            SensitivitySource::Relative => "relative",
        };
        PlannedTensor {
            name: &info.name,
            dtype: info.dtype.name(),
            shape: &info.shape,
            treatment: treatment(plan, checkpoint),
            sensitivity: is_quantized.then_some(source),
            mean_sensitivity: is_quantized.then_some(plan.mean_h),
            rule: (is_quantized && plan.rule != Rule::default()).then(|| plan.rule.to_string()),
        }
    };
    checkpoint
        .tensors()
        .iter()
        .zip(&plan.tensors)
        .map(tensor)
        .collect()
}

fn dry_run(
    args: &CompressArgs,
    common: &Common,
    checkpoint: &Checkpoint,
    compressor: &Compressor<'_>,
) -> anyhow::Result<Status> {
    let size = compressor.input_size();
    let report = PlanReport {
        input: args.input.display().to_string(),
        input_bytes: size.bytes,
        n_parameters: size.n_parameters,
        tensors: planned(checkpoint, compressor.plan()),
        warnings: checkpoint
            .notes()
            .iter()
            .chain(&compressor.plan().warnings)
            .cloned()
            .collect(),
    };
    if args.json {
        output::json(&report)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("dtype", Align::Left),
        ("shape", Align::Left),
        ("sensitivity", Align::Left),
        ("mean", Align::Right),
        ("rule", Align::Right),
        ("treatment", Align::Left),
    ]);
    for tensor in &report.tensors {
        table.row([
            output::printable(tensor.name),
            tensor.dtype.into(),
            output::shape(tensor.shape),
            output::optional(tensor.sensitivity, str::to_owned),
            output::optional(tensor.mean_sensitivity, output::three_digits),
            output::optional(tensor.rule.as_deref(), str::to_owned),
            tensor.treatment.clone(),
        ]);
    }
    output::out(&format!(
        "{table}\n{}, {} bytes, {} parameters; nothing was written\n",
        output::count(report.tensors.len(), "tensor"),
        output::thousands(report.input_bytes),
        output::thousands(report.n_parameters),
    ))?;
    if !common.quiet {
        output::warn(&report.warnings);
    }
    Ok(Status::Done)
}

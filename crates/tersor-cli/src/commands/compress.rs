//! `tersor compress`: a checkpoint to a file.

use super::plan;
use crate::Status;
use crate::args::{Common, CompressArgs};
use crate::destination::{self, Output};
use crate::files;
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, TensorTable};
use anyhow::bail;
use serde::Serialize;
use std::time::Instant;
use tersor::evaluate::{EvaluateOptions, Evaluation, OperatingPoint, compress_to_quality};
use tersor::{CompressReport, Compressed, Compressor};

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
    let options = args.options(common)?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => files::compressed_name(&args.input)?,
    };
    destination::check_compressed_name(&path)?;
    if args.json && files::is_stream(&path) && !args.dry_run {
        bail!("--json and the compressed file cannot both go to standard output; give -o FILE");
    }
    files::check_input(&args.input)?;
    let bar = Bar::new(common.quiet);
    if args.dry_run {
        let checkpoint = files::open_checkpoint(&args.input)?;
        let compressor = Compressor::with_progress(&checkpoint, options, &bar)?;
        return plan::run(args, common, &checkpoint, &compressor);
    }
    let destination = Output::prepare(&path, &args.input, args.force, false)?;
    let checkpoint = files::open_checkpoint(&args.input)?;
    let target = options.target.clone();
    let compressor = Compressor::with_progress(&checkpoint, options, &bar)?;
    let (compressed, evaluations) = match args.evaluation() {
        Some(evaluation) => evaluate(&compressor, &evaluation, common, &bar)?,
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
        output::say(&summary(
            report,
            &files::label(&args.input),
            &files::label_output(&path),
        ));
        output::warn(&report.warnings);
    }
    Ok(Status::Done)
}

/// Searches by measured quality, and tells every run as it ends.
fn evaluate(
    compressor: &Compressor<'_>,
    evaluation: &EvaluateOptions,
    common: &Common,
    bar: &Bar,
) -> tersor::Result<(Compressed, Vec<Evaluation>)> {
    let start = Instant::now();
    let mut n_runs = 0;
    let mut tell = |run: &Evaluation| {
        n_runs += 1;
        if !common.quiet {
            let point = match run.point {
                OperatingPoint::Levels(k) => format!("{k} levels"),
                OperatingPoint::Slope(slope) => format!("slope {}", output::three_digits(slope)),
                _ => String::new(),
            };
            bar.say(&format!(
                "run {n_runs}: {point}, {} bytes, {:.2} bits per weight: quality {} after {:.1} s, {:.1} s in all",
                output::thousands(run.file_bytes),
                run.bpw,
                run.quality,
                run.seconds,
                start.elapsed().as_secs_f64()
            ));
        }
    };
    compress_to_quality(compressor, evaluation, bar, &mut tell)
}

fn summary(report: &CompressReport, from: &str, to: &str) -> String {
    let knob = match (report.levels, report.step) {
        (Some(levels), _) => format!("{levels} levels"),
        (_, Some(step)) => format!("step {}", output::three_digits(step.into())),
        (None, None) => format!("slope {}", output::three_digits(report.slope)),
    };
    let loss = report
        .predicted_loss
        .map(|loss| format!("predicted loss +{}, ", output::three_digits(loss)));
    let defaults = &report.without_sensitivities;
    let without = format!(
        "\n  {} without sensitivities in the file got them by default: {}",
        output::count(defaults.len(), "tensor"),
        output::names(defaults)
    );
    format!(
        "{from}: {} -> {} bytes, to {to}\n  {} ({})\n  {}/{}, {}, {knob}, {}noise {}{}",
        output::thousands(report.size.bytes),
        output::thousands(report.file_bytes),
        output::ratios(report.ratio, report.bpw, report.ratio_paper),
        output::weights(&report.size),
        report.method,
        report.scope,
        report.coder,
        loss.unwrap_or_default(),
        output::decibels(report.noise),
        if defaults.is_empty() { "" } else { &without },
    )
}

fn tensor_table(report: &CompressReport) -> TensorTable {
    let mut table = TensorTable::new(&[
        ("levels", Align::Right),
        ("used", Align::Right),
        ("step", Align::Right),
        ("bpw", Align::Right),
        ("sensitivity", Align::Left),
        ("loss", Align::Right),
        ("noise", Align::Right),
        ("stored", Align::Left),
    ]);
    for tensor in &report.tensors {
        let stored = match (&tensor.reason, tensor.assignment) {
            (Some(why), _) => format!("{}: {}", tensor.stored, output::printable(why)),
            (None, Some(how)) => format!("{}, {how}", tensor.stored),
            (None, None) => tensor.stored.into(),
        };
        let n = |n: usize| output::thousands(n as u64);
        table.row(
            &tensor.name,
            &tensor.dtype,
            &tensor.shape,
            [
                output::optional(tensor.levels, n),
                output::optional(tensor.levels_used, n),
                output::optional(tensor.step, |step| output::three_digits(step.into())),
                output::optional(tensor.entropy_bpw, |bits| format!("{bits:.2}")),
                output::optional(tensor.sensitivity, str::to_owned),
                output::optional(tensor.predicted_loss, output::three_digits),
                output::optional(tensor.noise, output::decibels),
                stored,
            ],
        );
    }
    table
}

//! `tersor compress --dry-run`: what would be done with each tensor.

use crate::Status;
use crate::args::{Common, CompressArgs};
use crate::output;
use crate::table::{Align, TensorTable};
use serde::Serialize;
use tersor::checkpoint::Checkpoint;
use tersor::options::Rule;
use tersor::plan::{TensorPlan, Treatment};
use tersor::{Compressor, InputSize};

/// One tensor of the plan, as `--dry-run` tells it.
#[derive(Serialize)]
struct PlannedTensor<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [u64],
    treatment: String,
    /// Whether errors are fed back.
    feedback: bool,
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
    #[serde(flatten)]
    size: InputSize,
    tensors: Vec<PlannedTensor<'a>>,
    warnings: Vec<String>,
}

fn treatment(plan: &TensorPlan, feedback: bool, checkpoint: &Checkpoint) -> String {
    match &plan.treatment {
        Treatment::Raw(reason) => format!("lossless: {reason}"),
        Treatment::Alias(target) => {
            let name = checkpoint.tensors().get(*target).map_or("", |t| &t.name);
            format!("stored once: equal to {name:?}")
        }
        Treatment::Constant(value) => format!("constant {value}"),
        Treatment::Fine => "fine codebook: one dimension".into(),
        Treatment::Main if feedback => "quantized with error feedback".into(),
        Treatment::Main => "quantized".into(),
        _ => "unknown".into(),
    }
}

fn planned<'a>(checkpoint: &'a Checkpoint, compressor: &Compressor<'_>) -> Vec<PlannedTensor<'a>> {
    let tensor = |(index, (info, plan)): (usize, (&'a tersor::codec::TensorInfo, &TensorPlan))| {
        let feedback = compressor.uses_feedback(index);
        let is_quantized = matches!(plan.treatment, Treatment::Main | Treatment::Fine);
        PlannedTensor {
            name: &info.name,
            dtype: info.dtype.name(),
            shape: &info.shape,
            treatment: treatment(plan, feedback, checkpoint),
            feedback,
            sensitivity: is_quantized.then_some(plan.sensitivity.name()),
            mean_sensitivity: is_quantized.then_some(plan.mean_h),
            rule: (is_quantized && plan.rule != Rule::default()).then(|| plan.rule.to_string()),
        }
    };
    checkpoint
        .tensors()
        .iter()
        .zip(&compressor.plan().tensors)
        .enumerate()
        .map(tensor)
        .collect()
}

/// Prints the plan.
pub(super) fn run(
    args: &CompressArgs,
    common: &Common,
    checkpoint: &Checkpoint,
    compressor: &Compressor<'_>,
) -> anyhow::Result<Status> {
    let report = PlanReport {
        input: args.input.display().to_string(),
        size: compressor.input_size(),
        tensors: planned(checkpoint, compressor),
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
    let mut table = TensorTable::new(&[
        ("sensitivity", Align::Left),
        ("mean", Align::Right),
        ("rule", Align::Right),
        ("treatment", Align::Left),
    ]);
    for tensor in &report.tensors {
        table.row(
            tensor.name,
            tensor.dtype,
            tensor.shape,
            [
                output::optional(tensor.sensitivity, str::to_owned),
                output::optional(tensor.mean_sensitivity, output::three_digits),
                output::optional(tensor.rule.as_deref(), str::to_owned),
                tensor.treatment.clone(),
            ],
        );
    }
    output::out(&format!(
        "{table}\n{}, {} bytes; {}; nothing was written\n",
        output::count(report.tensors.len(), "tensor"),
        output::thousands(report.size.bytes),
        output::weights(&report.size),
    ))?;
    if !common.quiet {
        output::warn(&report.warnings);
    }
    Ok(Status::Done)
}

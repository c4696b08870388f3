//! `tersor net compress`.

use super::{Task, check_output, open_weights, target_bytes};
use crate::args::Common;
use crate::args::net::CompressArgs;
use crate::progress::Bar;
use crate::{Status, output};
use serde::Serialize;
use tersor::codec::Coder;
use tersor::feedback::FeedbackConfig;
use tersor::options::CompressOptions;
use tersor_nets::examples::calibration_batches;
use tersor_nets::graph::Network;
use tersor_nets::sequential::{LayerReport, SequentialOptions, SequentialTarget, compress};
use tersor_nets::shared::RepairReport;

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    bytes: usize,
    ratio_paper: f64,
    slope: f64,
    seconds: f64,
    repair: RepairReport,
    layers: &'a [LayerReport],
}

fn target(args: &CompressArgs, network: &Network) -> anyhow::Result<SequentialTarget> {
    let target = &args.target;
    if let Some(bytes) = target_bytes(network, target.size, target.bpw, target.ratio)? {
        return Ok(SequentialTarget::SizeBytes(bytes));
    }
    let slope = target.slope.unwrap_or_default();
    anyhow::ensure!(
        slope > 0.0 && slope.is_finite(),
        "the slope is {slope}; it must be positive"
    );
    Ok(SequentialTarget::Slope(slope))
}

pub(crate) fn run(args: &CompressArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let begun = std::time::Instant::now();
    let task = Task::open(&args.task, args.augment)?;
    let target = target(args, &task.network)?;
    let mut original = open_weights(&task.network, &args.weights)?;
    if !args.no_fold {
        tersor_nets::fold(&task.network, &mut original)?;
    }
    let examples = args.examples.of(task.calibration())?;
    let batches = calibration_batches(task.network.input, &examples, args.samples, args.seed)?;
    let coder: Option<Coder> = args.coder.into();
    let options = SequentialOptions {
        coder: coder.unwrap_or(Coder::Context),
        feedback: FeedbackConfig {
            damping: args.damping,
            passes: args.passes,
            trellis: !args.no_trellis,
            ..FeedbackConfig::default()
        },
        inputs: args.inputs.into(),
        rows_per_input: args.rows,
        repair: args.repair.into(),
    };
    let mut rest = CompressOptions::default();
    rest.trellis = !args.no_trellis;
    if let Some(path) = &args.weighing.sensitivity {
        rest = rest.with_sensitivity(path);
        rest.power = args.weighing.power;
        rest.floor = args.weighing.floor;
        rest.row_scales = args.weighing.row_scales;
    }
    let bar = Bar::new(common.quiet);
    let (found, compressed) = compress(
        &task.network,
        &original,
        &batches,
        &task.device,
        (target, &options),
        &rest,
        &bar,
    )?;
    drop(bar);
    tersor::write_file(&args.output.output, &compressed.bytes, args.output.force)?;
    let bytes = compressed.bytes.len();
    let report = Report {
        bytes,
        ratio_paper: task.network.ratio(bytes as u64),
        slope: compressed.report.slope,
        seconds: begun.elapsed().as_secs_f64(),
        repair: found.repair,
        layers: &found.quantized.layers,
    };
    if args.json {
        output::json(&report)?;
    } else if !common.quiet {
        output::say(&format!(
            "{} bytes, paper's ratio {:.2}x, slope {:.2e}, {} layers, {:.0} s",
            output::thousands(bytes as u64),
            report.ratio_paper,
            report.slope,
            found.quantized.layers.len(),
            report.seconds
        ));
    }
    Ok(Status::Done)
}

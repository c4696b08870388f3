//! `tersor net repair`.

use super::{Task, check_output, open_quantized, open_weights};
use crate::args::Common;
use crate::args::net::{AugmentArg, RepairArgs};
use crate::progress::Bar;
use crate::{Status, output};
use tersor_nets::examples::calibration_batches;
use tersor_nets::shared::repair;

pub(crate) fn run(args: &RepairArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let task = Task::open(&args.task, AugmentArg::None)?;
    let original = open_weights(&task.network, &args.original)?;
    let (mut quantized, coder) = open_quantized(&args.file)?;
    let examples = args.examples.of(task.calibration())?;
    let batches = calibration_batches(task.network.input, &examples, args.samples, args.seed)?;
    let bar = Bar::new(common.quiet);
    let report = repair(
        &task.network,
        &original,
        &mut quantized,
        &batches,
        &task.device,
        args.target.into(),
        &bar,
    )?;
    drop(bar);
    let bytes = quantized.encode(coder)?;
    tersor::write_file(&args.output.output, &bytes, args.output.force)?;
    if !common.quiet {
        output::say(&format!(
            "{} normalisation layers and {} biases repaired; largest gain {:.2}; {} bytes",
            report.n_normalised,
            report.n_biased,
            report.largest_gain,
            output::thousands(bytes.len() as u64)
        ));
    }
    Ok(Status::Done)
}

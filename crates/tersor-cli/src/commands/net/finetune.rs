//! `tersor net finetune`.

use super::{Task, check_output, open_quantized};
use crate::args::Common;
use crate::args::net::FinetuneArgs;
use crate::progress::Bar;
use crate::{Status, output};
use tersor_nets::shared::{FinetuneOptions, finetune};
use tersor_nets::train::Schedule;

pub(crate) fn run(args: &FinetuneArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let task = Task::open(&args.task, args.augment)?;
    let (mut quantized, coder) = open_quantized(&args.file)?;
    let options = FinetuneOptions {
        epochs: args.epochs,
        batch: args.batch,
        schedule: Schedule::Cosine {
            peak: args.rate,
            warmup: 0.0,
            floor: 0.02,
        },
        seed: args.seed,
    };
    let bar = Bar::new(common.quiet);
    let reports = finetune(
        &task.network,
        &mut quantized,
        task.train()?,
        &task.device,
        &options,
        &bar,
    )?;
    drop(bar);
    let bytes = quantized.encode(coder)?;
    tersor::write_file(&args.output.output, &bytes, args.output.force)?;
    if !common.quiet {
        for report in &reports {
            output::say(&format!("epoch {:3}  loss {:.4}", report.epoch, report.loss));
        }
        output::say(&format!("{} bytes", output::thousands(bytes.len() as u64)));
    }
    Ok(Status::Done)
}

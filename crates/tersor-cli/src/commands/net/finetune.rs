//! `tersor net finetune`.

use super::{Task, check_output, open_quantized, open_weights, teacher_at, trained_on};
use crate::args::Common;
use crate::args::net::FinetuneArgs;
use crate::progress::Bar;
use crate::{Status, output};
use std::path::PathBuf;
use tersor_nets::examples::Mixed;
use tersor_nets::shared::{FinetuneOptions, finetune};
use tersor_nets::train::{Distillation, Schedule};

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
    let how = Distillation {
        temperature: args.distill,
        features: args.features,
    };
    let teach = |path: &PathBuf| teacher_at(how, &open_weights(&task.network, path)?, &task.device);
    let teacher = args.teacher.as_ref().map(teach).transpose()?;
    // A teacher needs no labels.
    let set = if teacher.is_some() {
        task.calibration()
    } else {
        task.train()?
    };
    let examples = args.examples.of(set)?;
    let mixed = args.mix.then_some(Mixed { examples: &examples });
    let bar = Bar::new(common.quiet);
    let reports = finetune(
        &task.network,
        &mut quantized,
        trained_on(&examples, mixed.as_ref()),
        teacher.as_ref(),
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

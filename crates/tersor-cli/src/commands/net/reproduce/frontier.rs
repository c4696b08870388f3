//! `tersor net reproduce frontier`.

use crate::args::Common;
use crate::args::net::ReproduceArgs;
use crate::commands::net::{Task, open_weights};
use crate::progress::Bar;
use crate::table::{Align, Table};
use crate::{Status, output};
use anyhow::{bail, ensure};
use tersor_nets::experiments::{
    FrontierTask, PostTraining, Recipe, Record, Records, Trained, check_frontier, frontier, frontier_svg,
};
use tersor_nets::task::network;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    let augment = Trained::augment(&network(&args.task.net)?);
    let task = Task::open(&args.task, augment)?;
    let bar = Bar::new(common.quiet);
    let work = FrontierTask {
        network: &task.network,
        data: &task.data,
        device: &task.device,
        folder: &args.output,
        progress: &bar,
    };
    if args.check {
        let checked = check_frontier(&work)?;
        drop(bar);
        return super::say_checked(&checked, args.json);
    }
    let mut beside = Vec::new();
    for path in &args.beside {
        beside.extend(Records::read(path)?.records);
    }
    let recipe = recipe(args, &work)?;
    super::make_folder(&args.output)?;
    let mut records = frontier(&work, recipe.as_ref(), &mut |line| bar.println(line))?;
    drop(bar);
    records.records.extend(beside);
    let picture = args.output.join("frontier.svg");
    tersor::write_file(
        &picture,
        frontier_svg(&task.network.name, &records)?.as_bytes(),
        true,
    )?;
    if args.json {
        output::json(&records)?;
    } else {
        output::out(&describe(&records.records))?;
    }
    Ok(Status::Done)
}

fn recipe(args: &ReproduceArgs, work: &FrontierTask<'_>) -> anyhow::Result<Box<dyn Recipe>> {
    let weights = args.weights.as_deref();
    let start = weights.map(|path| open_weights(work.network, path)).transpose()?;
    match start {
        Some(start) if !args.trained => {
            ensure!(
                args.epochs.is_none() && args.seeds.is_empty(),
                "--epochs and --seeds are for networks that are trained; give --trained"
            );
            Ok(Box::new(PostTraining::new(work, start, &args.sizes)?))
        }
        start => {
            let has_start = start.is_some();
            let trained = Trained::new(work, start, &args.sizes, super::seeds(args))?;
            let Some(epochs) = args.epochs.as_deref() else {
                return Ok(Box::new(trained));
            };
            let &[dense, prune, stage] = epochs else {
                bail!("--epochs takes three numbers: first training, while pruning, in each stage");
            };
            ensure!(
                dense == 0 || !has_start,
                "the first of --epochs is of the training that --weights stands in for; give 0"
            );
            Ok(Box::new(trained.with_epochs([dense, prune, stage])))
        }
    }
}

fn describe(records: &[Record]) -> String {
    let mut table = Table::new(&[
        ("file", Align::Left),
        ("bytes", Align::Right),
        ("ratio", Align::Right),
        ("examples", Align::Left),
        ("accuracy %", Align::Right),
        ("change", Align::Right),
        ("loss", Align::Right),
        ("change", Align::Right),
        ("divergence", Align::Right),
    ]);
    for record in records {
        for score in &record.scores {
            let (now, change) = (&score.decoded, score.comparison);
            let of = |f: &dyn Fn(&tersor_nets::evaluate::Comparison) -> String| {
                change.as_ref().map_or_else(|| "-".to_owned(), f)
            };
            table.row([
                record.file.display().to_string(),
                output::thousands(record.bytes),
                format!("{:.2}x", record.ratio),
                score.examples.clone(),
                format!("{:.2} +- {:.2}", 100.0 * now.accuracy, 100.0 * now.accuracy_error),
                of(&|c| {
                    format!(
                        "{:+.2} +- {:.2}",
                        100.0 * c.accuracy_change,
                        100.0 * c.accuracy_change_error
                    )
                }),
                format!("{:.4}", now.loss),
                of(&|c| format!("{:+.4} +- {:.4}", c.loss_change, c.loss_change_error)),
                of(&|c| c.divergence.map_or_else(|| "-".to_owned(), |d| format!("{d:.5}"))),
            ]);
        }
    }
    table.to_string()
}

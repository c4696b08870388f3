//! `tersor net reproduce`.

mod comparison;
mod convergence;
mod frontier;
mod ingredients;
mod table1;

use crate::Status;
use crate::args::Common;
use crate::args::net::{ExperimentArg, ReproduceArgs};
use crate::commands::net::{Task, open_weights};
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, Table};
use anyhow::{Context as _, ensure};
use std::path::Path;
use tersor_nets::Parameters;
use tersor_nets::experiments::{Checked, ExperimentTask, Question, Record, Speed, check_files};
use tersor_nets::graph::Network;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    match args.experiment {
        ExperimentArg::Table1 => table1::run(args, common),
        ExperimentArg::Frontier => frontier::run(args, common),
        ExperimentArg::Ingredients => ingredients::run(args, common),
        ExperimentArg::Convergence => convergence::run(args, common),
        ExperimentArg::Figure1 => comparison::run(args, common, Question::Figure1),
        ExperimentArg::Figure2 => comparison::run(args, common, Question::Figure2),
        ExperimentArg::Figure3 => comparison::run(args, common, Question::Figure3),
        ExperimentArg::Scope => comparison::run(args, common, Question::Scope),
        ExperimentArg::Sensitivities => comparison::run(args, common, Question::Sensitivities),
        ExperimentArg::Transformer => comparison::run(args, common, Question::Transformer),
        ExperimentArg::Hyperparameters => comparison::run(args, common, Question::Hyperparameters),
        ExperimentArg::OffDiagonal => comparison::run(args, common, Question::OffDiagonal),
    }
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// What an experiment is made with.
fn experiment<'a>(task: &'a Task, args: &'a ReproduceArgs, bar: &'a Bar) -> ExperimentTask<'a> {
    ExperimentTask {
        network: &task.network,
        data: &task.data,
        device: &task.device,
        folder: &args.output,
        progress: bar,
    }
}

/// Whether what belongs to frontiers and tables is asked for, sizes apart.
fn has_recipe(args: &ReproduceArgs) -> bool {
    args.trained || args.no_data || !args.beside.is_empty() || !args.seeds.is_empty() || args.epochs.is_some()
}

/// Refuses what an experiment whose files are given has no use for.
fn refuse_settings(args: &ReproduceArgs, experiment: &str) -> anyhow::Result<()> {
    ensure!(
        !has_recipe(args) && args.sizes.is_empty(),
        "--trained, --no-data, --sizes, --beside, --seeds and --epochs are not for {experiment}, whose settings are given"
    );
    Ok(())
}

/// The weights that an experiment needs.
fn weights(args: &ReproduceArgs, network: &Network, experiment: &str) -> anyhow::Result<Parameters> {
    given_weights(args, network)?.with_context(|| format!("{experiment} needs a trained network: --weights"))
}

/// The seeds asked for, or those of the published results.
fn seeds(args: &ReproduceArgs) -> &[u64] {
    match (args.seeds.is_empty(), args.weights.is_some()) {
        (false, _) => &args.seeds,
        (true, false) => &[1, 2, 3],
        (true, true) => &[1],
    }
}

/// The weights, if they are given.
fn given_weights(args: &ReproduceArgs, network: &Network) -> anyhow::Result<Option<Parameters>> {
    let path = args.weights.as_deref();
    path.map(|path| open_weights(network, path)).transpose()
}

/// Decodes and scores the files of an experiment's folder again, beside what they were made from if that is given, and says what
/// that gave.
fn check(
    task: &Task,
    args: &ReproduceArgs,
    original: Option<&Parameters>,
    bar: Bar,
) -> anyhow::Result<Status> {
    let checked = check_files(&experiment(task, args, &bar), original)?;
    drop(bar);
    say_checked(&checked, args.json)
}

/// Says what decoding and scoring files again gave.
fn say_checked(checked: &[Checked], json: bool) -> anyhow::Result<Status> {
    if json {
        output::json(&checked)?;
    } else {
        output::out(&describe_check(checked))?;
    }
    Ok(if checked.iter().all(|c| c.is_same) {
        Status::Done
    } else {
        Status::Negative
    })
}

fn describe_check(checked: &[Checked]) -> String {
    let mut table = Table::new(&[
        ("file", Align::Left),
        ("bytes", Align::Right),
        ("now", Align::Right),
        ("accuracy %", Align::Right),
        ("now", Align::Right),
        ("loss", Align::Right),
        ("now", Align::Right),
        ("divergence", Align::Right),
        ("now", Align::Right),
        ("", Align::Left),
    ]);
    for c in checked {
        let divergence = |i: usize| c.divergence.map_or("-".into(), |d| format!("{:.5}", d[i]));
        table.row([
            c.file.display().to_string(),
            output::thousands(c.bytes[0]),
            output::thousands(c.bytes[1]),
            format!("{:.2}", 100.0 * c.accuracy[0]),
            format!("{:.2}", 100.0 * c.accuracy[1]),
            format!("{:.5}", c.loss[0]),
            format!("{:.5}", c.loss[1]),
            divergence(0),
            divergence(1),
            if c.is_same {
                "same".into()
            } else {
                "DIFFERS".into()
            },
        ]);
    }
    table.to_string()
}

/// Files and what they do, a row for each score.
fn describe_files(records: &[Record]) -> String {
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
        ("made, s", Align::Right),
        ("decoded, MB/s", Align::Right),
    ]);
    for record in records {
        let speed = |f: &dyn Fn(&Speed) -> String| record.speed.as_ref().map_or_else(|| "-".to_owned(), f);
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
                speed(&|s| format!("{:.0}", s.made_s)),
                speed(&|s| format!("{:.1}", s.decode_bytes_per_s / 1e6)),
            ]);
        }
    }
    table.to_string()
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    let n = values.len();
    if n % 2 == 1 {
        at(n / 2)
    } else {
        f64::midpoint(at((n / 2).wrapping_sub(1)), at(n / 2))
    }
}

//! `tersor net reproduce frontier`.

use super::median;
use crate::args::Common;
use crate::args::net::ReproduceArgs;
use crate::commands::net::{Task, open_weights};
use crate::progress::Bar;
use crate::{Status, output};
use anyhow::{bail, ensure};
use serde::Serialize;
use tersor_nets::experiments::{
    ExperimentTask, NoData, PostTraining, Recipe, Record, Records, Saving, SizeAtLoss, Trained, frontier_svg,
    make_files, savings, sizes_at_losses,
};
use tersor_nets::graph::{Input, Network};
use tersor_nets::task::network;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    let augment = Trained::augment(&network(&args.task.net)?);
    let task = Task::open(&args.task, augment)?;
    let bar = Bar::new(common.quiet);
    if args.check {
        let original = super::given_weights(args, &task.network)?;
        return super::check(&task, args, original.as_ref(), bar);
    }
    let work = super::experiment(&task, args, &bar);
    let mut beside = Vec::new();
    for path in &args.beside {
        beside.extend(Records::read(path)?.records);
    }
    let recipe = recipe(args, &work)?;
    super::make_folder(&args.output)?;
    let mut records = make_files(&work, recipe.as_ref(), &mut |line| bar.println(line))?;
    drop(bar);
    let savings = savings(&records.records, &beside);
    records.records.extend(beside);
    let picture = args.output.join("frontier.svg");
    tersor::write_file(
        &picture,
        frontier_svg(&task.network.name, &records)?.as_bytes(),
        true,
    )?;
    let sizes = match task.network.input {
        Input::Tokens { .. } => sizes_at_losses(&records.records, &LOSS_CHANGES),
        Input::Image(_) => Vec::new(),
    };
    let found = Found {
        records,
        savings,
        sizes,
    };
    if args.json {
        output::json(&found)?;
    } else {
        output::out(&describe(&found, &task.network))?;
    }
    Ok(Status::Done)
}

/// Changes of a language model's loss whose sizes are told, in nats per token.
const LOSS_CHANGES: [f64; 2] = [0.02, 0.1];

/// The files, and how they compare.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    records: Records,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    savings: Vec<Saving>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<SizeAtLoss>,
}

fn describe(found: &Found, network: &Network) -> String {
    let mut text = super::describe_files(&found.records.records);
    let saving = |s: &Saving| {
        let than = if s.saved < 0.0 { "larger" } else { "smaller" };
        format!(
            "{}: {:.1} % {than} than {} at equal divergence, {} bytes\n",
            s.file.display(),
            100.0 * s.saved.abs(),
            s.beside,
            output::thousands(s.bytes_beside.round() as u64)
        )
    };
    let size = |s: &SizeAtLoss| {
        format!(
            "{}: {:+} nats at {:.2} bits per weight, {} bytes\n",
            s.how,
            s.loss_change,
            network.bpw(s.bytes),
            output::thousands(s.bytes.round() as u64)
        )
    };
    let lines = medians(&found.records.records).into_iter();
    let lines = lines.chain(found.savings.iter().map(saving));
    let lines: String = lines.chain(found.sizes.iter().map(size)).collect();
    if !lines.is_empty() {
        text.push('\n');
        text += &lines;
    }
    text
}

/// Medians over the seeds of files that are made alike, a line for each choice of examples.
fn medians(records: &[Record]) -> Vec<String> {
    let alike = |a: &Record, b: &Record| a.how == b.how && a.settings == b.settings;
    let mut lines = Vec::new();
    for (i, first) in records.iter().enumerate() {
        let group: Vec<&Record> = records
            .iter()
            .filter(|r| r.seed.is_some() && alike(r, first))
            .collect();
        if group.len() < 2 || records.iter().take(i).any(|r| alike(r, first)) {
            continue;
        }
        for (at, score) in first.scores.iter().enumerate() {
            let accuracies = group.iter().filter_map(|r| r.scores.get(at));
            lines.push(format!(
                "{}, {}: medians of {} seeds {:.2}x, {:.2} % on {}\n",
                first.how,
                first.settings,
                group.len(),
                median(group.iter().map(|r| r.ratio).collect()),
                100.0 * median(accuracies.map(|s| s.decoded.accuracy).collect()),
                score.examples
            ));
        }
    }
    lines
}

fn recipe(args: &ReproduceArgs, work: &ExperimentTask<'_>) -> anyhow::Result<Box<dyn Recipe>> {
    let weights = args.weights.as_deref();
    let start = weights.map(|path| open_weights(work.network, path)).transpose()?;
    match start {
        Some(start) if !args.trained => {
            ensure!(
                args.epochs.is_none() && args.seeds.is_empty(),
                "--epochs and --seeds are for networks that are trained; give --trained"
            );
            if args.no_data {
                return Ok(Box::new(NoData::new(work, start, &args.sizes)?));
            }
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

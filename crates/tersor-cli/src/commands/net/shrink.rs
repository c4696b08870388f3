//! `tersor net shrink`.

use super::prune::parse_keep;
use super::{Task, check_output, open_weights, say_epoch, schedule, target_bytes, teacher, trained_on};
use crate::args::Common;
use crate::args::net::{RoundingArg, ShrinkArgs};
use crate::progress::Bar;
use crate::{Status, output};
use anyhow::{Context as _, ensure};
use serde::Serialize;
use tersor::codec::Coder;
use tersor_nets::evaluate::Evaluation;
use tersor_nets::examples::{Examples as _, Mixed};
use tersor_nets::prune::{Scope, count};
use tersor_nets::shrink::{
    AccuracyGoal, Rounding, ShrinkOptions, ShrinkReport, ShrinkTask, shrink, shrink_to_accuracy,
};
use tersor_nets::train::{EpochReport, Optimizer};

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    ratio_paper: f64,
    /// On the training examples that were left out, where an accuracy was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<Evaluation>,
    /// Sizes tried for it, and their accuracies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<(u64, Option<f64>)>,
    #[serde(flatten)]
    shrunk: &'a ShrinkReport,
}

pub(crate) fn run(args: &ShrinkArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    ensure!(
        args.epochs > 0 || args.keep.is_none(),
        "--keep says what pruning leaves; with --epochs 0 nothing is pruned"
    );
    let task = Task::open(&args.task, args.steps.augment)?;
    let target = &args.target;
    let bytes = target_bytes(&task.network, target.size, target.bpw, target.ratio)?;
    let start = open_weights(&task.network, &args.weights)?;
    let (_, all) = count(&start, Scope::WeightsAndBiases);
    let keep = args
        .keep
        .as_deref()
        .map(|text| parse_keep("--keep", text, all))
        .transpose()?;
    let coder: Option<Coder> = args.coder.into();
    let options = ShrinkOptions {
        bytes: bytes.context("give --size, --ratio or --bpw")?,
        keep,
        score: args.score.into(),
        prune: schedule(&args.steps, args.epochs, args.steps.rate, Optimizer::ADAM),
        stage: schedule(&args.steps, args.stage_epochs, args.stage_rate, Optimizer::ADAM),
        n_stages: args.stages,
        rounding: match args.rounding {
            RoundingArg::Weights => Rounding::Weights,
            RoundingArg::Layers => Rounding::Layers,
        },
        coder: coder.unwrap_or(Coder::Context),
    };
    let folder = &args.folder;
    let examples = args.steps.examples.of(task.train()?)?;
    let mixed = args.steps.mix.then_some(Mixed { examples: &examples });
    let teacher = teacher(&args.steps, &start, &task.device)?;
    let bar = Bar::new(common.quiet);
    let work = ShrinkTask {
        network: &task.network,
        examples: trained_on(&examples, mixed.as_ref()),
        device: &task.device,
        teacher: teacher.as_ref(),
        folder,
        progress: &bar,
    };
    let mut tried = Vec::new();
    let say = |part: &str, report: &EpochReport| say_epoch(&format!("{part}: "), report, &bar);
    let (shrunk, held_out) = match args.accuracy {
        None => (shrink(&work, start, &options, say)?, None),
        Some(least) => {
            ensure!(
                (0.0..=1.0).contains(&least),
                "--accuracy {least}: a share is between 0 and 1"
            );
            let rest = args.steps.examples.rest(task.train()?);
            ensure!(
                !rest.is_empty(),
                "all examples are trained on; leave some out with --examples, such as --examples '!0%10', to measure accuracy on"
            );
            let goal = AccuracyGoal {
                least,
                held_out: &rest,
                max_sizes: args.max_sizes.into(),
            };
            let found = shrink_to_accuracy(&work, &start, &options, &goal, say)?;
            tried = found.tried;
            (found.shrunk, Some(found.held_out))
        }
    };
    drop(bar);
    tersor::write_file(&args.output.output, &shrunk.bytes, args.output.force)?;
    let report = Report {
        ratio_paper: task.network.ratio(shrunk.bytes.len() as u64),
        held_out,
        tried,
        shrunk: &shrunk.report,
    };
    if args.json {
        output::json(&report)?;
    } else if !common.quiet {
        for &(bytes, accuracy) in &report.tried {
            let accuracy = output::optional(accuracy, |a| format!("{:.2} %", 100.0 * a));
            output::say(&format!(
                "tried {} bytes: accuracy {accuracy}",
                output::thousands(bytes)
            ));
        }
        output::say(&format!(
            "{} bytes, paper's ratio {:.2}x, {} weights and biases are not zero{}",
            output::thousands(report.shrunk.bytes),
            report.ratio_paper,
            output::thousands(report.shrunk.survivors[1] as u64),
            held_out.map_or(String::new(), |e| format!(
                ", accuracy {:.2} % held out",
                100.0 * e.accuracy
            ))
        ));
    }
    Ok(Status::Done)
}

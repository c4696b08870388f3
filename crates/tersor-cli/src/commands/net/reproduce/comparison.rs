//! `tersor net reproduce` of figures and questions: files of one network that differ in one thing.

use crate::args::Common;
use crate::args::net::{AugmentArg, ReproduceArgs};
use crate::commands::net::Task;
use crate::progress::Bar;
use crate::table::{Align, Table};
use crate::{Status, output};
use serde::Serialize;
use tersor_nets::experiments::{
    Comparison, Correlation, Expansion, Question, Records, make_files, panel_svg,
};

pub(crate) fn run(args: &ReproduceArgs, common: &Common, question: Question) -> anyhow::Result<Status> {
    super::refuse_settings(args, question.name())?;
    let task = Task::open(&args.task, AugmentArg::None)?;
    let bar = Bar::new(common.quiet);
    if args.check {
        let mut original = super::given_weights(args, &task.network)?;
        if let Some(original) = &mut original {
            Comparison::prepare(&task.network, original)?;
        }
        return super::check(&task, args, original.as_ref(), bar);
    }
    let work = super::experiment(&task, args, &bar);
    let weights = super::weights(args, work.network, question.name())?;
    let comparison = Comparison::new(&work, weights, question)?;
    super::make_folder(&args.output)?;
    let records = make_files(&work, &comparison, &mut |line| bar.println(line))?;
    let records = comparison.own(&records);
    for panel in comparison.panels(&work) {
        let path = args.output.join(format!("{}.svg", panel.name));
        tersor::write_file(&path, panel_svg(&panel, &records)?.as_bytes(), true)?;
    }
    let found = Found {
        expansions: match question {
            Question::OffDiagonal => comparison.expansions(&work, &records)?,
            _ => Vec::new(),
        },
        correlations: match question {
            Question::Sensitivities => comparison.correlations(&work)?,
            _ => Vec::new(),
        },
        records,
    };
    drop(bar);
    if args.json {
        output::json(&found)?;
    } else {
        output::out(&describe(&found))?;
    }
    Ok(Status::Done)
}

/// What a question found.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    records: Records,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expansions: Vec<Expansion>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    correlations: Vec<Correlation>,
}

fn describe(found: &Found) -> String {
    let mut text = super::describe_files(&found.records.records);
    if !found.expansions.is_empty() {
        text += &describe_expansions(&found.expansions);
    }
    if !found.correlations.is_empty() {
        text += &describe_correlations(&found.correlations);
    }
    text
}

fn describe_expansions(expansions: &[Expansion]) -> String {
    let mut table = Table::new(&[
        ("file", Align::Left),
        ("examples", Align::Left),
        ("gradient", Align::Right),
        ("diagonal", Align::Right),
        ("quadratic", Align::Right),
        ("loss", Align::Right),
    ]);
    for e in expansions {
        let diagonal: Vec<String> = e.diagonal.iter().map(|(_, d)| format!("{d:.4}")).collect();
        table.row([
            e.file.display().to_string(),
            e.examples.clone(),
            format!("{:+.4}", e.gradient),
            diagonal.join(" "),
            format!("{:+.4}", e.quadratic),
            format!("{:+.4}", e.change),
        ]);
    }
    format!("\n{table}")
}

fn describe_correlations(correlations: &[Correlation]) -> String {
    let mut table = Table::new(&[
        ("estimate", Align::Left),
        ("all weights", Align::Right),
        ("within tensors", Align::Right),
        ("between tensors", Align::Right),
    ]);
    for c in correlations {
        table.row([
            c.estimate.clone(),
            format!("{:.3}", c.weights),
            format!("{:.3}", c.within),
            format!("{:.3}", c.between),
        ]);
    }
    format!("\n{table}")
}

//! `tersor net evaluate`.

use super::{Task, open_weights};
use crate::args::Common;
use crate::args::net::{AugmentArg, EvaluateArgs};
use crate::progress::Bar;
use crate::{Status, output};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;
use tersor_nets::evaluate::{Comparison, EvaluateOptions, Evaluation, evaluate};

#[derive(Serialize)]
struct Outcome {
    network: String,
    evaluation: Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<Evaluation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
    seconds: f64,
}

/// Perplexities from here on are printed in powers of ten.
const LARGE: f64 = 1e6;

fn line(what: &str, e: &Evaluation) -> String {
    let perplexity = match e.perplexity {
        large if large >= LARGE => format!("{large:.3e}"),
        perplexity => format!("{perplexity:.3}"),
    };
    format!(
        "{what:9} accuracy {:.2} +- {:.2} %   loss {:.5} +- {:.5} nats   perplexity {perplexity}   {} rows\n",
        100.0 * e.accuracy,
        100.0 * e.accuracy_error,
        e.loss,
        e.loss_error,
        e.n
    )
}

fn describe(outcome: &Outcome) -> String {
    let mut text = line("this", &outcome.evaluation);
    if let (Some(original), Some(c)) = (&outcome.original, &outcome.comparison) {
        text += &line("original", original);
        let _ = writeln!(
            text,
            "change    accuracy {:+.2} +- {:.2} points   loss {:+.5} +- {:.5} nats   divergence {:.5} nats",
            100.0 * c.accuracy_change,
            100.0 * c.accuracy_change_error,
            c.loss_change,
            c.loss_change_error,
            c.divergence.unwrap_or(0.0)
        );
    }
    text
}

pub(crate) fn run(args: &EvaluateArgs, common: &Common) -> anyhow::Result<Status> {
    let task = Task::open(&args.task, AugmentArg::None)?;
    let set = if args.train {
        task.train()?
    } else {
        task.data.test.as_ref()
    };
    let mut examples = args.examples.of(set)?;
    examples.indices.truncate(args.samples.unwrap_or(usize::MAX));
    let parameters = open_weights(&task.network, &args.weights)?;
    let original = args
        .against
        .as_ref()
        .map(|p| open_weights(&task.network, p))
        .transpose()?;
    let bar = Bar::new(common.quiet);
    let started = Instant::now();
    let measure = |parameters, reference, keep_logits| {
        let options = EvaluateOptions {
            batch: args.batch,
            keep_logits,
            reference,
        };
        evaluate(&task.network, parameters, &examples, &task.device, &options, &bar)
    };
    let reference = original.as_ref().map(|p| measure(p, None, true)).transpose()?;
    let scores = measure(&parameters, reference.as_ref(), false)?;
    drop(bar);
    let outcome = Outcome {
        network: task.network.name.clone(),
        evaluation: scores.summary(),
        comparison: reference.as_ref().map(|r| r.compare(&scores)).transpose()?,
        original: reference.map(|r| r.summary()),
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json {
        output::json(&outcome)?;
    } else if args.score {
        output::out(&format!("{}\n", outcome.evaluation.accuracy))?;
    } else {
        output::out(&describe(&outcome))?;
    }
    Ok(Status::Done)
}

//! `tersor net reproduce table1`.

use super::median;
use crate::Status;
use crate::args::Common;
use crate::args::net::ReproduceArgs;
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, Table};
use anyhow::bail;
use tersor_nets::evaluate::Comparison;
use tersor_nets::experiments::{
    Measured, PAPER_METHODS, Table1Options, Table1Report, check_table1, table1, table1_svg,
};
use tersor_nets::open_device;
use tersor_nets::task::network;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    if args.trained || args.no_data || !args.sizes.is_empty() || !args.beside.is_empty() {
        bail!("--trained, --no-data, --sizes and --beside are for the experiment frontier");
    }
    let epochs = match args.epochs.as_deref() {
        None => None,
        Some(&[dense, prune, augmented, finetune]) => Some([dense, prune, augmented, finetune]),
        Some(_) => bail!("--epochs takes four numbers: dense, while pruning, augmented, fine-tuning"),
    };
    if args.weights.is_some() && epochs.is_some_and(|[dense, ..]| dense > 0) {
        bail!("the first of --epochs is of the training that --weights stands in for; give 0");
    }
    let network = network(&args.task.net)?;
    let device = open_device(&args.task.device)?;
    let bar = Bar::new(common.quiet);
    if args.check {
        let original = super::given_weights(args, &network)?;
        let (data, original) = (&args.task.data, original.as_ref());
        let checked = check_table1(&network, data, &args.output, &device, original, &bar)?;
        drop(bar);
        return super::say_checked(&checked, args.json);
    }
    super::make_folder(&args.output)?;
    let options = Table1Options {
        network: &network,
        start: super::given_weights(args, &network)?,
        data: &args.task.data,
        seeds: super::seeds(args),
        epochs,
    };
    let report = table1(&options, &args.output, &device, &bar, |line| bar.println(line))?;
    drop(bar);
    let picture = args.output.join(format!("table1-{}.svg", network.name));
    tersor::write_file(&picture, table1_svg(&network.name, &report)?.as_bytes(), true)?;
    if args.json {
        output::json(&report)?;
    } else {
        output::out(&describe(&network.name, &report))?;
    }
    Ok(Status::Done)
}

/// Medians over seeds; changes from the dense network.
fn describe(network: &str, report: &Table1Report) -> String {
    let mut table = Table::new(&[
        ("method", Align::Left),
        ("paper", Align::Right),
        ("ratio", Align::Right),
        ("accuracy %", Align::Right),
        ("loss", Align::Right),
        ("tuned %", Align::Right),
        ("change", Align::Right),
        ("loss", Align::Right),
        ("divergence", Align::Right),
        ("held-out loss", Align::Right),
    ]);
    for method in PAPER_METHODS {
        let rows = || report.rows.iter().filter(|r| r.result.method == method.name());
        let of = |f: &dyn Fn(&Measured) -> f64, after: bool| {
            let pick = |r: &tersor_nets::experiments::Table1Row| {
                f(if after { &r.result.after } else { &r.result.before })
            };
            median(rows().map(pick).collect())
        };
        // Rows that an earlier build made have no comparison until they are gone on with.
        let comparisons: Option<Vec<&Comparison>> = rows().map(|r| r.comparison.as_ref()).collect();
        let change = |f: &dyn Fn(&Comparison) -> f64| {
            let comparisons = comparisons.as_ref()?;
            Some(median(comparisons.iter().map(|c| f(c)).collect()))
        };
        let accuracy = change(&|c| 100.0 * c.accuracy_change);
        let accuracy = accuracy.zip(change(&|c| 100.0 * c.accuracy_change_error));
        let divergence = change(&|c| c.divergence.unwrap_or(f64::NAN));
        let Some(first) = rows().next() else { continue };
        table.row([
            method.to_string(),
            format!("{:.2}x", first.paper_ratio),
            format!("{:.2}x", of(&|m| m.ratio, true)),
            format!("{:.2}", 100.0 * of(&|m| m.accuracy, false)),
            format!("{:.4}", of(&|m| m.loss, false)),
            format!("{:.2}", 100.0 * of(&|m| m.accuracy, true)),
            accuracy.map_or("-".into(), |(change, error)| {
                format!("{change:+.2} +- {error:.2}")
            }),
            format!("{:.4}", of(&|m| m.loss, true)),
            divergence.map_or("-".into(), |d| format!("{d:.4}")),
            format!("{:.4}", median(rows().map(|r| r.held_out_loss).collect())),
        ]);
    }
    let networks = &report.networks;
    let of = |f: &dyn Fn(&tersor_nets::experiments::Table1Network) -> f64| {
        median(networks.iter().map(f).collect())
    };
    format!(
        "{network}, medians of {}: dense {:.2} %, pruned {:.2} % at {:.2}x.\n\n{table}",
        output::count(networks.len(), "seed"),
        100.0 * of(&|n| n.dense_accuracy),
        100.0 * of(&|n| n.pruned_accuracy),
        of(&|n| n.pruned_ratio)
    )
}

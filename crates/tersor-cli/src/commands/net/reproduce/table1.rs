//! `tersor net reproduce table1`.

use crate::Status;
use crate::args::Common;
use crate::args::net::ReproduceArgs;
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, Table};
use anyhow::bail;
use tersor_nets::experiments::{
    Measured, PAPER_METHODS, Table1Options, Table1Report, check_table1, table1, table1_svg,
};
use tersor_nets::open_device;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    if args.task.net != "lenet5" {
        bail!("table1 is there for lenet5, not for {:?}", args.task.net);
    }
    let of_frontier =
        args.weights.is_some() || args.trained || !args.sizes.is_empty() || !args.beside.is_empty();
    if of_frontier {
        bail!(
            "--weights, --trained, --sizes and --beside are for the experiment frontier; table1 trains its networks"
        );
    }
    let epochs = args.epochs.as_deref().unwrap_or(&Table1Options::EPOCHS);
    let &[dense, prune, augmented, finetune] = epochs else {
        bail!("--epochs takes four numbers: dense, while pruning, augmented, fine-tuning");
    };
    let device = open_device(&args.task.device)?;
    let bar = Bar::new(common.quiet);
    if args.check {
        let checked = check_table1(&args.task.data, &args.output, &device, &bar)?;
        drop(bar);
        return super::say_checked(&checked, args.json);
    }
    super::make_folder(&args.output)?;
    let options = Table1Options {
        data: &args.task.data,
        seeds: super::seeds(args),
        epochs: [dense, prune, augmented, finetune],
    };
    let report = table1(&options, &args.output, &device, &bar, |line| bar.println(line))?;
    drop(bar);
    let picture = args.output.join("table1-lenet5.svg");
    tersor::write_file(&picture, table1_svg(&report)?.as_bytes(), true)?;
    if args.json {
        output::json(&report)?;
    } else {
        output::out(&describe(&report))?;
    }
    Ok(Status::Done)
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

/// Medians over seeds.
fn describe(report: &Table1Report) -> String {
    let mut table = Table::new(&[
        ("method", Align::Left),
        ("paper", Align::Right),
        ("ratio", Align::Right),
        ("accuracy %", Align::Right),
        ("loss", Align::Right),
        ("tuned %", Align::Right),
        ("loss", Align::Right),
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
        let Some(first) = rows().next() else { continue };
        table.row([
            method.to_string(),
            format!("{:.2}x", first.paper_ratio),
            format!("{:.2}x", of(&|m| m.ratio, true)),
            format!("{:.2}", 100.0 * of(&|m| m.accuracy, false)),
            format!("{:.4}", of(&|m| m.loss, false)),
            format!("{:.2}", 100.0 * of(&|m| m.accuracy, true)),
            format!("{:.4}", of(&|m| m.loss, true)),
            format!("{:.4}", median(rows().map(|r| r.held_out_loss).collect())),
        ]);
    }
    let networks = &report.networks;
    let of = |f: &dyn Fn(&tersor_nets::experiments::Table1Network) -> f64| {
        median(networks.iter().map(f).collect())
    };
    format!(
        "LeNet-5, medians of {}: dense {:.2} %, pruned {:.2} % at {:.2}x.\n\n{table}",
        output::count(networks.len(), "seed"),
        100.0 * of(&|n| n.dense_accuracy),
        100.0 * of(&|n| n.pruned_accuracy),
        of(&|n| n.pruned_ratio)
    )
}

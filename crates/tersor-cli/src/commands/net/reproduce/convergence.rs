//! `tersor net reproduce convergence`.

use crate::args::Common;
use crate::args::net::{AugmentArg, ReproduceArgs};
use crate::commands::net::Task;
use crate::progress::Bar;
use crate::table::{Align, Table};
use crate::{Status, output};
use anyhow::bail;
use tersor_nets::experiments::{ConvergenceReport, convergence, convergence_svg};

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    super::refuse_settings(args, "convergence")?;
    if args.check {
        bail!("convergence makes no files that --check could decode");
    }
    let task = Task::open(&args.task, AugmentArg::None)?;
    let weights = super::weights(args, &task.network, "convergence")?;
    let bar = Bar::new(common.quiet);
    let work = super::experiment(&task, args, &bar);
    super::make_folder(&args.output)?;
    let report = convergence(&work, &weights, usize::MAX, &mut |line| bar.println(line))?;
    drop(bar);
    let picture = convergence_svg(&task.network.name, &report)?;
    tersor::write_file(&args.output.join("convergence.svg"), picture.as_bytes(), true)?;
    if args.json {
        output::json(&report)?;
    } else {
        output::out(&describe(&report))?;
    }
    Ok(Status::Done)
}

fn describe(report: &ConvergenceReport) -> String {
    let mut ecsq = Table::new(&[
        ("slope", Align::Right),
        ("start", Align::Left),
        ("iterations", Align::Right),
        ("cost", Align::Right),
        ("above the best", Align::Right),
        ("above the bound", Align::Right),
        ("bits", Align::Right),
        ("levels", Align::Right),
        ("seconds", Align::Right),
    ]);
    for run in &report.ecsq {
        let cost = run.trace.last().copied().unwrap_or(f64::NAN);
        let same = report.ecsq.iter().filter(|r| r.slope == run.slope);
        let best = same
            .filter_map(|r| r.trace.last().copied())
            .fold(f64::INFINITY, f64::min);
        ecsq.row([
            format!("{:.2e}", run.slope),
            run.start.clone(),
            run.trace.len().saturating_sub(1).to_string(),
            format!("{cost:.5}"),
            format!("{:.3} %", 100.0 * (cost / best - 1.0)),
            run.bound
                .map_or_else(|| "-".into(), |b| format!("{:.1} %", 100.0 * (cost / b - 1.0))),
            format!("{:.3}", run.bits),
            run.levels.to_string(),
            format!("{:.3}", run.seconds),
        ]);
    }
    let mut kmeans = Table::new(&[
        ("k", Align::Right),
        ("h", Align::Left),
        ("above the optimum", Align::Right),
        ("iterations", Align::Right),
        ("seconds", Align::Right),
        ("of the optimum", Align::Right),
    ]);
    for run in &report.kmeans {
        let [cost, optimum] = run.costs;
        kmeans.row([
            run.k.to_string(),
            if run.is_weighted { "weighted" } else { "all alike" }.to_owned(),
            format!("{:.4} %", 100.0 * (cost / optimum - 1.0)),
            run.iterations.to_string(),
            format!("{:.3}", run.seconds[0]),
            format!("{:.3}", run.seconds[1]),
        ]);
    }
    let mut timings = Table::new(&[
        ("method", Align::Left),
        ("weights", Align::Right),
        ("k", Align::Right),
        ("seconds", Align::Right),
    ]);
    for t in &report.timings {
        timings.row([
            t.method.clone(),
            output::thousands(t.n as u64),
            t.k.to_string(),
            format!("{:.4}", t.seconds),
        ]);
    }
    format!("{ecsq}\n{kmeans}\n{timings}")
}

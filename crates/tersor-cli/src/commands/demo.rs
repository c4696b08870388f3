//! `tersor demo`: a network from nothing to small files.

use crate::Status;
use crate::args::Common;
use crate::args::net::DemoArgs;
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, Table};
use anyhow::Context as _;
use tersor_nets::experiments::{DemoOptions, DemoReport, Measured, demo};
use tersor_nets::open_device;

/// Passes over the training images: dense, while pruning, and of fine-tuning.
const EPOCHS: [usize; 3] = [4, 5, 1];

/// What to do next.
const NEXT: &str = "
ratio: 4 bytes per parameter over all bytes of the file. The first four are the paper's quantizers with one codebook for all
layers, gaps and Huffman codes; grid has a step per tensor and the adaptive coder, at a smaller size. Every accuracy is that of a decoded file.

Next, with a checkpoint of your own:
  tersor compress net.safetensors --bpw 3
  tersor decompress net.tersor -o back.safetensors
  tersor net --help                               train, prune, measure and repair networks
";

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs, common: &Common) -> anyhow::Result<Status> {
    let device = open_device(&args.device)?;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = args.output.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let bar = Bar::new(common.quiet);
    let options = DemoOptions {
        data: &args.data,
        epochs: EPOCHS,
        seed: args.seed,
    };
    let report = demo(&options, folder, &device, &bar, |line| bar.println(line))?;
    drop(bar);
    if args.json {
        output::json(&report)?;
    } else {
        output::out(&describe(&report))?;
    }
    Ok(Status::Done)
}

fn percent(m: &Measured) -> String {
    format!("{:.2}", 100.0 * m.accuracy)
}

fn describe(report: &DemoReport) -> String {
    let mut table = Table::new(&[
        ("method", Align::Left),
        ("bytes", Align::Right),
        ("ratio", Align::Right),
        ("accuracy %", Align::Right),
        ("loss", Align::Right),
        ("tuned: bytes", Align::Right),
        ("accuracy %", Align::Right),
        ("loss", Align::Right),
    ]);
    let cells = |m: &Measured| [output::thousands(m.bytes), percent(m), format!("{:.4}", m.loss)];
    for (name, m) in [("trained, f32", &report.dense), ("pruned, f32", &report.pruned)] {
        let [bytes, accuracy, loss] = cells(m);
        let none = String::new;
        table.row([
            name.into(),
            bytes,
            format!("{:.2}x", m.ratio),
            accuracy,
            loss,
            none(),
            none(),
            none(),
        ]);
    }
    for row in &report.rows {
        let [bytes, accuracy, loss] = cells(&row.before);
        let [tuned_bytes, tuned_accuracy, tuned_loss] = cells(&row.after);
        table.row([
            row.method.clone(),
            bytes,
            format!("{:.2}x", row.before.ratio),
            accuracy,
            loss,
            tuned_bytes,
            tuned_accuracy,
            tuned_loss,
        ]);
    }
    format!(
        "LeNet-5, {} parameters, of which {} survive pruning; {:.0} s.\n\n{table}{NEXT}",
        output::thousands(report.n_parameters as u64),
        output::thousands(report.n_survivors as u64),
        report.seconds
    )
}

//! `tersor demo`: the main job on a checkpoint that the program makes itself.

use crate::Status;
use crate::args::{Common, DemoArgs};
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, Table};
use anyhow::Context as _;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use tersor::checkpoint::{Checkpoint, OutputFormat};
use tersor::codec::{Coder, FileReader, Limits};
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressor, Destination, InputSize, Progress as _, Silent, Temporary, synthetic};

/// Sizes that every method is asked for.
const BPW: [f64; 3] = [2.0, 3.0, 4.0];

/// What to do next.
const NEXT: &str = "
Every file was written, decoded and verified. noise is the squared error over the weights' energy; the predicted loss weighs
each error with the sensitivity of its weight. Less is better in both.

Next, with a checkpoint of your own:
  tersor compress net.safetensors --bpw 3
  tersor decompress net.tersor -o back.safetensors
  tersor verify net.tersor --against net.safetensors
  tersor compress --help                          other targets, sensitivities, single tensors
";

/// One compressed file.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    target_bpw: f64,
    file_bytes: u64,
    ratio: f64,
    bpw: f64,
    predicted_loss: Option<f64>,
    /// Measured on the decoded file.
    noise: f64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    seed: u64,
    n_tensors: usize,
    #[serde(flatten)]
    size: InputSize,
    rows: Vec<Row>,
    seconds: f64,
}

/// Compresses to a file, decodes and verifies it.
fn round_trip(
    compressor: &Compressor<'_>,
    original: &Checkpoint,
    folder: &Path,
    target_bpw: f64,
) -> anyhow::Result<Row> {
    let method = compressor.options().method;
    let compressed = compressor.compress(&Target::Bpw(target_bpw), &Silent)?;
    let path = folder.join(format!("{method}-{target_bpw}.tersor"));
    tersor::write_file(&path, &compressed.bytes, false)?;
    let bytes = std::fs::read(&path)?;
    let reader = FileReader::new(&bytes, Limits::default())?;
    let decoded = path.with_extension("safetensors");
    let destination = Destination::Path {
        path: &decoded,
        format: OutputFormat::Safetensors,
        overwrite: false,
    };
    tersor::decompress(&reader, &destination, &Silent)?;
    tersor::verify::verify(&reader, &Silent)?;
    let comparison = tersor::verify::compare(&reader, original, &Silent)?;
    let report = compressed.report;
    Ok(Row {
        method: method.name(),
        target_bpw,
        file_bytes: report.file_bytes,
        ratio: report.ratio,
        bpw: report.bpw,
        predicted_loss: report.predicted_loss,
        noise: comparison.noise,
    })
}

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs, common: &Common) -> anyhow::Result<Status> {
    let start = Instant::now();
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let _temporary = Temporary::new(folder.path());
    let (weights, sensitivities) = (
        folder.path().join("net.safetensors"),
        folder.path().join("h.safetensors"),
    );
    synthetic::write(&synthetic::checkpoint(args.seed)?, &weights)?;
    synthetic::write(&synthetic::sensitivities(args.seed)?, &sensitivities)?;
    let checkpoint = Checkpoint::open(&weights)?;
    let options = CompressOptions::default().with_sensitivity(sensitivities);
    let mut compressor = Compressor::new(&checkpoint, options)?;
    let size = compressor.input_size();
    let bar = Bar::new(common.quiet);
    bar.start("demo", (Method::ALL.len() * BPW.len()) as u64);
    let mut rows = Vec::new();
    for target_bpw in BPW {
        for method in Method::ALL {
            bar.note(&format!("{method} at {target_bpw} bits per weight"));
            compressor.set_method(method, Scope::Tensor, Some(Coder::Ans));
            rows.push(round_trip(&compressor, &checkpoint, folder.path(), target_bpw)?);
            bar.advance(1);
        }
    }
    drop(bar);
    let outcome = Outcome {
        seed: args.seed,
        n_tensors: checkpoint.tensors().len(),
        size,
        rows,
        seconds: start.elapsed().as_secs_f64(),
    };
    if args.json {
        output::json(&outcome)?;
    } else {
        output::out(&describe(&outcome))?;
    }
    Ok(Status::Done)
}

fn describe(outcome: &Outcome) -> String {
    let mut table = Table::new(&[
        ("asked for", Align::Right),
        ("method", Align::Left),
        ("bytes", Align::Right),
        ("ratio", Align::Right),
        ("bpw", Align::Right),
        ("predicted loss", Align::Right),
        ("noise", Align::Right),
    ]);
    for row in &outcome.rows {
        table.row([
            format!("{} bpw", row.target_bpw),
            row.method.into(),
            output::thousands(row.file_bytes),
            format!("{:.2}x", row.ratio),
            format!("{:.3}", row.bpw),
            output::optional(row.predicted_loss, output::three_digits),
            output::decibels(row.noise),
        ]);
    }
    format!(
        "A made-up checkpoint: {}, {} bytes; {}; with made-up sensitivities.\n\n{table}{NEXT}",
        output::count(outcome.n_tensors, "tensor"),
        output::thousands(outcome.size.bytes),
        output::weights(&outcome.size),
    )
}

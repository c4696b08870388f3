//! `tersor inspect`: what a file holds.

use crate::Status;
use crate::args::{Common, InspectArgs};
use crate::files;
use crate::output;
use crate::table::{Align, TensorTable};
use anyhow::Context as _;
use serde::Serialize;
use std::fmt::Write as _;
use tersor::checkpoint::Checkpoint;
use tersor::codec::{Limits, MAGIC};
use tersor::inspect::{InspectReport, inspect};
use tersor::{InputSize, Sharing};

/// Describes a `.tersor` file or a checkpoint.
pub(crate) fn run(args: &InspectArgs, common: &Common) -> anyhow::Result<Status> {
    let is_stream = files::is_stream(&args.input);
    if !is_stream && !files::is_tersor(&args.input) {
        let opened = Checkpoint::open(&args.input);
        let opened = if files::extension(&args.input) == files::EXTENSION {
            opened.context("it does not begin as a .tersor file does")
        } else {
            opened.map_err(Into::into)
        };
        return checkpoint(args, common, &opened?);
    }
    let bytes = files::read(&args.input)?;
    if is_stream && !bytes.starts_with(&MAGIC) {
        return checkpoint(args, common, &Checkpoint::from_bytes(bytes, "standard input")?);
    }
    // Nothing is decoded, so only the directory has to be within limits.
    let limits = Limits::default().with_max_decoded_bytes(u64::MAX);
    let reader = files::open_tersor(&bytes, &args.input, limits)?;
    let report = inspect(&reader, bytes.len() as u64);
    if args.json {
        output::json(&report)?;
    } else {
        output::out(&describe(args, &report)?)?;
    }
    Ok(Status::Done)
}

fn share(part: u64, whole: u64) -> String {
    format!(
        "{} bytes ({:.1} %)",
        output::thousands(part),
        100.0 * part as f64 / whole.max(1) as f64
    )
}

fn describe(args: &InspectArgs, report: &InspectReport) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let bytes = output::thousands;
    writeln!(
        text,
        "{}: tersor file, version {}",
        files::label(&args.input),
        report.version
    )?;
    writeln!(
        text,
        "size        {} bytes, {} decoded",
        bytes(report.file_bytes),
        bytes(report.size.bytes)
    )?;
    writeln!(
        text,
        "ratio       {}",
        output::ratios(report.ratio, report.bpw, report.ratio_paper)
    )?;
    writeln!(
        text,
        "tensors     {}; {}",
        report.n_tensors,
        output::weights(&report.size)
    )?;
    writeln!(
        text,
        "coders      {}, {}",
        report.coders.join(", "),
        output::count(report.n_groups, "group")
    )?;
    writeln!(
        text,
        "directory   {}",
        share(report.header_bytes, report.file_bytes)
    )?;
    writeln!(
        text,
        "symbols     {}",
        share(report.symbol_bytes, report.file_bytes)
    )?;
    writeln!(
        text,
        "side info   {}, directory included",
        share(report.side_bytes, report.file_bytes)
    )?;
    writeln!(text, "digest      {}", report.digest)?;
    files_line(&mut text, args, report)?;
    writeln!(text)?;
    write!(text, "{}", tensor_table(args, report))?;
    Ok(text)
}

fn tensor_table(args: &InspectArgs, report: &InspectReport) -> TensorTable {
    let (levels, bytes, stored) = (
        ("levels", Align::Right),
        ("bytes", Align::Right),
        ("stored", Align::Left),
    );
    let (group, codebook) = (("group", Align::Right), ("codebook", Align::Left));
    let mut table = if args.verbose {
        TensorTable::new(&[levels, bytes, group, codebook, stored])
    } else {
        TensorTable::new(&[levels, bytes, stored])
    };
    for tensor in &report.tensors {
        let levels = output::optional(tensor.levels, |n| output::thousands(n as u64));
        let bytes = output::optional(tensor.bytes, output::thousands);
        let mut stored = output::printable(&tensor.stored);
        if let Some(n) = tensor.n_scales {
            let _ = write!(stored, ", {n} scales");
        }
        let (name, dtype, shape) = (&tensor.name, tensor.dtype, &tensor.shape);
        if args.verbose {
            let group = output::optional(tensor.group, |group| group.to_string());
            let codebook = output::optional(tensor.codebook.clone(), |codebook| codebook);
            table.row(name, dtype, shape, [levels, bytes, group, codebook, stored]);
        } else {
            table.row(name, dtype, shape, [levels, bytes, stored]);
        }
    }
    table
}

/// The files that a folder is made of: all of them if asked for, else how many.
fn files_line(text: &mut String, args: &InspectArgs, report: &InspectReport) -> std::fmt::Result {
    let shards = report.shards.iter().filter(|name| !name.is_empty());
    if args.verbose {
        for name in shards {
            writeln!(text, "weights     {}", output::printable(name))?;
        }
        for blob in &report.blobs {
            writeln!(
                text,
                "file        {}, {} bytes",
                output::printable(&blob.path),
                output::thousands(blob.bytes)
            )?;
        }
        return Ok(());
    }
    match (shards.count(), report.blobs.len()) {
        (0, 0) => Ok(()),
        (n_shards, n_blobs) => {
            writeln!(
                text,
                "files       {} of weights, {n_blobs} beside them",
                n_shards.max(1)
            )
        }
    }
}

/// One tensor of a checkpoint.
#[derive(Serialize)]
struct CheckpointTensor<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [u64],
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<&'a str>,
}

/// What a checkpoint holds.
#[derive(Serialize)]
struct CheckpointReport<'a> {
    #[serde(flatten)]
    size: InputSize,
    n_tensors: usize,
    tensors: Vec<CheckpointTensor<'a>>,
    shards: Vec<&'a str>,
    blobs: Vec<&'a str>,
    notes: &'a [String],
}

fn checkpoint(args: &InspectArgs, common: &Common, checkpoint: &Checkpoint) -> anyhow::Result<Status> {
    let infos = checkpoint.tensors();
    let sharing = |i| {
        if checkpoint.alias_of(i).is_some() {
            Sharing::Tied
        } else {
            Sharing::Own
        }
    };
    let size = InputSize::of(infos.iter().enumerate().map(|(i, info)| (info, sharing(i))));
    let tensors = infos.iter().enumerate().map(|(i, info)| CheckpointTensor {
        name: &info.name,
        dtype: info.dtype.name(),
        shape: &info.shape,
        bytes: info.size_bytes().unwrap_or(0),
        alias_of: checkpoint
            .alias_of(i)
            .and_then(|target| infos.get(target))
            .map(|target| target.name.as_str()),
    });
    let report = CheckpointReport {
        size,
        n_tensors: infos.len(),
        tensors: tensors.collect(),
        shards: checkpoint
            .shards()
            .iter()
            .map(|shard| shard.file_name.as_str())
            .collect(),
        blobs: checkpoint.blobs().iter().map(|blob| blob.path.as_str()).collect(),
        notes: checkpoint.notes(),
    };
    if args.json {
        output::json(&report)?;
        return Ok(Status::Done);
    }
    let mut table = TensorTable::new(&[("bytes", Align::Right), ("tied to", Align::Left)]);
    for tensor in &report.tensors {
        let tied_to = output::printable(tensor.alias_of.unwrap_or_default());
        let more = [output::thousands(tensor.bytes), tied_to];
        table.row(tensor.name, tensor.dtype, tensor.shape, more);
    }
    let mut text = format!(
        "{}: checkpoint, {}, {} bytes; {}\n",
        files::label(&args.input),
        output::count(report.n_tensors, "tensor"),
        output::thousands(report.size.bytes),
        output::weights(&report.size)
    );
    if args.verbose {
        for name in report.shards.iter().filter(|name| !name.is_empty()) {
            writeln!(text, "weights     {}", output::printable(name))?;
        }
        for path in &report.blobs {
            writeln!(text, "file        {}", output::printable(path))?;
        }
    }
    output::out(&format!("{text}\n{table}"))?;
    if !common.quiet {
        output::warn(report.notes);
    }
    Ok(Status::Done)
}

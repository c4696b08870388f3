//! `tersor decompress`: a file back to a checkpoint.

use crate::Status;
use crate::args::{Common, DecompressArgs, FormatArg};
use crate::destination::{self, Output};
use crate::files::{self, CHECKPOINT_EXTENSIONS, EXTENSION};
use crate::output;
use crate::progress::Bar;
use anyhow::{Context as _, bail};
use std::io::{BufWriter, Write};
use std::path::Path;
use tersor::codec::{FileReader, Limits};
use tersor::{Destination, decompress, decompress_to_stream, inspect, is_single_file};

/// The format that was asked for, which the name of the output must not contradict.
fn format(args: &DecompressArgs) -> anyhow::Result<FormatArg> {
    let output = args.output.as_deref().unwrap_or(Path::new(""));
    let extension = files::extension(output);
    let by_name = match extension.as_str() {
        "safetensors" => Some(FormatArg::Safetensors),
        "npz" => Some(FormatArg::Npz),
        other if other == EXTENSION || CHECKPOINT_EXTENSIONS.contains(&other) => {
            bail!(".{other} files are not written; name a .safetensors or .npz file")
        }
        _ => None,
    };
    match (args.format, by_name) {
        (Some(asked), Some(named)) if asked != named => bail!(
            "--format {} contradicts the name {}; leave one out",
            asked.extension(),
            output.display()
        ),
        (asked, named) => Ok(asked.or(named).unwrap_or(FormatArg::Safetensors)),
    }
}

/// Whether a name is that of a file of tensors.
fn is_file_name(path: &Path) -> bool {
    files::extension(path) == FormatArg::Safetensors.extension()
}

fn to_stream(reader: &FileReader<'_>, stream: impl Write, bar: &Bar) -> anyhow::Result<Vec<String>> {
    let mut stream = BufWriter::new(stream);
    let notes = decompress_to_stream(reader, &mut stream, bar)?;
    stream.flush().context("cannot write the checkpoint")?;
    Ok(notes)
}

/// Decodes a file.
pub(crate) fn run(args: &DecompressArgs, common: &Common) -> anyhow::Result<Status> {
    let format = format(args)?;
    // Known before anything is read: a stream holds one file of safetensors.
    let to_stdout = files::is_stream(args.output.as_ref().unwrap_or(&args.input));
    if to_stdout {
        if format != FormatArg::Safetensors {
            bail!(
                "{} cannot be written to standard output; give -o FILE",
                format.extension()
            );
        }
        destination::check_stdout()?;
    }
    files::check_input(&args.input)?;
    if let Some(path) = args.output.as_ref().filter(|_| !to_stdout) {
        destination::check_folder(path)?;
    }
    let bytes = files::read(&args.input)?;
    let limits = Limits::default().with_max_decoded_bytes(args.limit.max_size);
    let reader = files::open_tersor(&bytes, &args.input, limits)?;
    let is_folder = format == FormatArg::Safetensors && !is_single_file(reader.directory());
    if let Some(path) = args
        .output
        .as_ref()
        .filter(|path| is_folder && is_file_name(path))
    {
        bail!(
            "{} holds several files, which become a folder; name one instead of {}, or take the tensors alone with -o -",
            files::label(&args.input),
            path.display()
        );
    }
    let path = args.output.clone().unwrap_or_else(|| {
        let ending = (!is_folder).then(|| format.extension());
        files::decompressed_name(&args.input, ending)
    });
    let bar = Bar::new(common.quiet);
    let destination = Output::prepare(&path, &args.input, args.force, is_folder)?;
    let notes = if let Some(stream) = destination.stream()? {
        to_stream(&reader, stream, &bar)
    } else {
        let destination = Destination::Path {
            path: &path,
            format: format.into(),
            overwrite: args.force,
        };
        decompress(&reader, &destination, &bar).map_err(Into::into)
    };
    let notes = notes.map_err(|error: anyhow::Error| match error.downcast_ref() {
        Some(tersor::Error::Codec(_)) => error.context(files::label(&args.input)),
        _ => error,
    })?;
    drop(bar);
    if !common.quiet {
        let directory = reader.directory();
        let blobs: u64 = directory.blobs.iter().map(|blob| blob.size_bytes).sum();
        output::say(&format!(
            "{}: {} -> {} bytes, {}, to {}",
            files::label(&args.input),
            output::thousands(bytes.len() as u64),
            output::thousands(inspect::size(directory).bytes + blobs),
            output::count(directory.entries.len(), "tensor"),
            files::label_output(&path),
        ));
        output::warn(notes);
    }
    Ok(Status::Done)
}

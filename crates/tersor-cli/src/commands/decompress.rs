//! `tersor decompress`: a file back to a checkpoint.

use crate::Status;
use crate::args::{Common, DecompressArgs, FormatArg};
use crate::files::{self, Output};
use crate::output;
use crate::progress::Bar;
use anyhow::{Context as _, bail};
use std::io::{BufWriter, Write};
use std::path::Path;
use tersor::codec::{Directory, FileReader, Limits};
use tersor::{Destination, decompress, decompress_to_stream};

/// Endings of formats that are read but not written.
const READ_ONLY_EXTENSIONS: [&str; 6] = ["pt", "pth", "th", "bin", "ckpt", "tersor"];

/// Whether a checkpoint of one file is meant, rather than a folder.
fn is_single(directory: &Directory) -> bool {
    directory.blobs.is_empty() && directory.shards.iter().all(|shard| shard.file_name.is_empty())
}

fn format(args: &DecompressArgs) -> anyhow::Result<FormatArg> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    let extension = args
        .output
        .as_deref()
        .and_then(Path::extension)
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if READ_ONLY_EXTENSIONS.contains(&extension) {
        bail!(
            ".{extension} files are not written; name a .safetensors or .npz file, or give --format to choose one"
        );
    }
    Ok(if extension == "npz" {
        FormatArg::Npz
    } else {
        FormatArg::Safetensors
    })
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
        files::check_stdout()?;
    }
    let bytes = files::read(&args.input)?;
    let limits = Limits::default().with_max_decoded_bytes(args.limit.max_size);
    let reader = files::open_tersor(&bytes, &args.input, limits)?;
    let is_folder = format == FormatArg::Safetensors && !is_single(reader.directory());
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
        let decoded: u64 = directory
            .groups
            .iter()
            .map(|group| directory.decoded_bytes(group))
            .sum();
        output::say(&format!(
            "{}: {} -> {} bytes, {}, to {}",
            files::label(&args.input),
            output::thousands(bytes.len() as u64),
            output::thousands(decoded),
            output::count(directory.entries.len(), "tensor"),
            files::label_output(&path),
        ));
        output::warn(notes);
    }
    Ok(Status::Done)
}

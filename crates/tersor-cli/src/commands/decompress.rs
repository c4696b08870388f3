//! `tersor decompress`: a file back to a checkpoint.

use crate::Status;
use crate::args::{Common, DecompressArgs, FormatArg};
use crate::files;
use crate::output;
use crate::progress::Bar;
use anyhow::{Context as _, bail};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use tersor::codec::{Directory, Limits};
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
    let extension = args.output.as_deref().and_then(Path::extension).and_then(|e| e.to_str()).unwrap_or_default();
    if READ_ONLY_EXTENSIONS.contains(&extension) {
        bail!(".{extension} files are not written; name a .safetensors or .npz file, or give --format to choose one");
    }
    Ok(if extension == "npz" { FormatArg::Npz } else { FormatArg::Safetensors })
}

/// Decodes a file.
pub(crate) fn run(args: &DecompressArgs, common: &Common) -> anyhow::Result<Status> {
    let format = format(args)?;
    let to_stream = match &args.output {
        Some(path) => files::is_stream(path),
        None => files::is_stream(&args.input),
    };
    if to_stream {
        if format != FormatArg::Safetensors {
            bail!("{} cannot be written to standard output; give -o FILE", format.extension());
        }
        files::check_stdout()?;
    }
    let bytes = files::read(&args.input)?;
    let limits = Limits::default().with_max_decoded_bytes(args.limit.max_size);
    let reader = files::open_tersor(&bytes, &args.input, limits)?;
    let bar = Bar::new(common.quiet);
    let label = || files::label(&args.input);
    let (notes, place) = if to_stream {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let notes = decompress_to_stream(&reader, &mut stdout, &bar).with_context(label)?;
        stdout.flush().context("cannot write to standard output")?;
        (notes, "standard output".to_owned())
    } else {
        let ending = (format == FormatArg::Npz || is_single(reader.directory())).then(|| format.extension());
        let path = args.output.clone().unwrap_or_else(|| files::decompressed_name(&args.input, ending));
        files::check_folder(&path)?;
        files::check_not_input(&path, &args.input)?;
        let destination = Destination::Path { path: &path, format: format.into(), overwrite: args.force };
        let notes = decompress(&reader, &destination, &bar).with_context(label)?;
        (notes, path.display().to_string())
    };
    drop(bar);
    if !common.quiet {
        let directory = reader.directory();
        let decoded: u64 = directory.groups.iter().map(|group| directory.decoded_bytes(group)).sum();
        output::say(&format!(
            "{}: {} -> {} bytes, {} tensors, to {place}",
            files::label(&args.input),
            output::thousands(bytes.len() as u64),
            output::thousands(decoded),
            directory.entries.len(),
        ));
        output::warn(notes);
    }
    Ok(Status::Done)
}

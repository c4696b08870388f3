//! From a `.tersor` file back to a checkpoint.

use crate::Result;
use crate::checkpoint::{CheckpointWriter, OutputFormat};
use crate::progress::Progress;
use rayon::prelude::*;
use std::io::Write;
use std::path::Path;
use tersor_codec::{Blob, Directory, FileReader, Storage, TensorInfo};

/// Bytes that are decoded ahead of the writer: what bounds memory.
const AHEAD_BYTES: u64 = 64 << 20;

/// Where a checkpoint goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Destination<'a> {
    /// A file, or a folder if there are several shards or files beside the weights.
    Path {
        /// Where.
        path: &'a Path,
        /// Format of the weights.
        format: OutputFormat,
        /// Whether something there may be replaced.
        overwrite: bool,
    },
}

/// Bytes that all groups decode to.
pub(crate) fn total_bytes(directory: &Directory) -> u64 {
    directory.groups.iter().map(|g| directory.decoded_bytes(g)).sum()
}

/// Decodes one group, and its digest.
fn decode(reader: &FileReader<'_>, index: usize) -> Result<(Vec<u8>, u64)> {
    let directory = reader.directory();
    let size = directory
        .groups
        .get(index)
        .map_or(0, |g| directory.decoded_bytes(g));
    let mut out = vec![0; size as usize];
    let digest = reader.decode_group(index, &mut out)?;
    Ok((out, digest))
}

/// Decodes all groups and returns their digests, in order; no more than a group per thread is in memory.
pub(crate) fn digests(reader: &FileReader<'_>, progress: &dyn Progress) -> Result<Vec<u64>> {
    let groups = 0..reader.directory().groups.len();
    let digest = |index| {
        let (bytes, digest) = decode(reader, index)?;
        progress.advance(bytes.len() as u64);
        Ok(digest)
    };
    groups.into_par_iter().map(digest).collect()
}

/// Decodes groups side by side and hands them on in order: index, bytes, digest.
fn for_each_group(
    reader: &FileReader<'_>,
    mut each: impl FnMut(usize, Vec<u8>, u64) -> Result<()>,
) -> Result<()> {
    let directory = reader.directory();
    let mut start = 0;
    while start < directory.groups.len() {
        let (mut end, mut n_bytes) = (start, 0);
        while let Some(group) = directory.groups.get(end) {
            n_bytes += directory.decoded_bytes(group);
            if end > start && n_bytes > AHEAD_BYTES {
                break;
            }
            end += 1;
        }
        let decoded: Result<Vec<(Vec<u8>, u64)>> = (start..end)
            .into_par_iter()
            .map(|index| decode(reader, index))
            .collect();
        for (index, (bytes, digest)) in (start..end).zip(decoded?) {
            each(index, bytes, digest)?;
        }
        start = end;
    }
    Ok(())
}

/// The files beside the weights.
pub(crate) fn read_blobs(reader: &FileReader<'_>) -> Result<Vec<Blob>> {
    let directory = reader.directory();
    let n_tensors = directory.entries.len();
    let blob = |(i, entry): (usize, &tersor_codec::BlobEntry)| {
        Ok(Blob {
            path: entry.path.clone(),
            bytes: reader.read_item(n_tensors + i)?,
        })
    };
    directory.blobs.iter().enumerate().map(blob).collect()
}

/// Decompresses a file to a checkpoint on disk. Nothing appears under the final name unless all of it is right.
///
/// # Errors
/// If the file is damaged, asks for more than `limits` of the reader, or the destination cannot be written.
pub fn decompress(
    reader: &FileReader<'_>,
    destination: &Destination<'_>,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let Destination::Path {
        path,
        format,
        overwrite,
    } = destination;
    let infos = infos(reader.directory());
    let blobs = read_blobs(reader)?;
    let mut writer = CheckpointWriter::create(
        path,
        *format,
        &infos,
        &reader.directory().shards,
        &blobs,
        *overwrite,
    )?;
    write(reader, &mut writer, progress)?;
    let notes = writer.notes().to_vec();
    writer.finish()?;
    Ok(notes)
}

/// Decompresses a file to one safetensors stream. What it cannot hold, such as files beside the weights, is left out:
/// the sentences returned say what.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_to_stream(
    reader: &FileReader<'_>,
    stream: impl Write,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let infos = infos(reader.directory());
    let blobs: Vec<Blob> = reader
        .directory()
        .blobs
        .iter()
        .map(|b| Blob {
            path: b.path.clone(),
            bytes: Vec::new(),
        })
        .collect();
    let mut writer = CheckpointWriter::to_stream(stream, &infos, &reader.directory().shards, &blobs)?;
    write(reader, &mut writer, progress)?;
    let notes = writer.notes().to_vec();
    writer.finish()?;
    Ok(notes)
}

fn infos(directory: &Directory) -> Vec<TensorInfo> {
    directory.entries.iter().map(|e| e.info.clone()).collect()
}

/// Writes all tensors in order, those of aliases decoded once more where they stand.
fn write(reader: &FileReader<'_>, writer: &mut CheckpointWriter<'_>, progress: &dyn Progress) -> Result<()> {
    let directory = reader.directory();
    progress.start("decompress", total_bytes(directory));
    // Index of the next tensor to be written.
    let mut next = 0;
    let mut aliases = |writer: &mut CheckpointWriter<'_>, until: usize| -> Result<()> {
        while next < until {
            if let Some(Storage::Alias(target)) = directory.entries.get(next).map(|e| &e.storage) {
                writer.write_tensor(&reader.read_item(*target)?)?;
            }
            next += 1;
        }
        Ok(())
    };
    let mut digests = Vec::with_capacity(directory.groups.len());
    for_each_group(reader, |index, bytes, digest| {
        digests.push(digest);
        progress.advance(bytes.len() as u64);
        let mut rest = bytes.as_slice();
        for segment in directory.groups.get(index).map_or(&[][..], |g| &g.segments) {
            let (part, tail) = rest.split_at(segment.len as usize * directory.item_bytes(segment.item));
            rest = tail;
            if segment.item < directory.entries.len() {
                aliases(writer, segment.item)?;
                writer.write_part(part)?;
            }
        }
        Ok(())
    })?;
    aliases(writer, directory.entries.len())?;
    reader.check_digest(digests)?;
    progress.finish();
    Ok(())
}

//! From a `.tersor` file back to a checkpoint.

use crate::Result;
use crate::checkpoint::{CheckpointWriter, OutputFormat};
use crate::progress::Progress;
use rayon::prelude::*;
use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use tersor_codec::{Blob, Directory, FileReader, Storage, TensorInfo};

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

/// Whether a file decodes to a checkpoint of one file, rather than to a folder.
pub fn is_single_file(directory: &Directory) -> bool {
    directory.blobs.is_empty() && directory.shards.iter().all(|shard| shard.file_name.is_empty())
}

/// Bytes that all groups decode to.
pub(crate) fn total_bytes(directory: &Directory) -> u64 {
    directory.groups.iter().map(|g| directory.decoded_bytes(g)).sum()
}

/// Decodes one group into a buffer, which takes its length, and gives its digest.
///
/// Buffers are used again and again: memory that is new costs more time than decoding into it.
fn decode(reader: &FileReader<'_>, index: usize, out: &mut Vec<u8>) -> Result<u64> {
    let directory = reader.directory();
    let group = directory.groups.get(index);
    out.resize(group.map_or(0, |g| directory.decoded_bytes(g)) as usize, 0);
    Ok(reader.decode_group(index, out)?)
}

/// Decodes all groups and returns their digests, in order; no more than a group per thread is in memory.
pub(crate) fn digests(reader: &FileReader<'_>, progress: &dyn Progress) -> Result<Vec<u64>> {
    let groups = 0..reader.directory().groups.len();
    let digest = |buffer: &mut Vec<u8>, index| {
        let digest = decode(reader, index, buffer)?;
        progress.advance(buffer.len() as u64);
        Ok(digest)
    };
    groups.into_par_iter().map_init(Vec::new, digest).collect()
}

/// Groups that were decoded side by side: bytes and digest of each, in order.
type Batch = Vec<(Vec<u8>, u64)>;

/// Decodes `n` groups side by side, into the buffers of a batch that has been used up.
fn decode_batch(reader: &FileReader<'_>, first: usize, n: usize, mut used: Batch) -> Result<Batch> {
    used.resize_with(n, Default::default);
    let decoded = used.into_par_iter().enumerate().map(|(i, (mut bytes, _))| {
        let digest = decode(reader, first + i, &mut bytes)?;
        Ok((bytes, digest))
    });
    decoded.collect()
}

/// Decodes groups and hands them on in order: index, bytes, digest. With several threads, a batch is decoded while the one
/// before is handed on.
fn for_each_group(
    reader: &FileReader<'_>,
    mut each: impl FnMut(usize, &[u8], u64) -> Result<()>,
) -> Result<()> {
    let n_groups = reader.directory().groups.len();
    let n_threads = rayon::current_num_threads();
    let batch_of = |first: usize, used| decode_batch(reader, first, n_threads.min(n_groups - first), used);
    let mut hand_on = |first: usize, batch: &Batch| {
        let mut groups = (first..).zip(batch);
        groups.try_for_each(|(index, (bytes, digest))| each(index, bytes, *digest))
    };
    let (mut first, mut used) = (0, Batch::new());
    let mut batch = batch_of(0, Batch::new())?;
    while !batch.is_empty() {
        let following = first + batch.len();
        if n_threads == 1 {
            hand_on(first, &batch)?;
            batch = batch_of(following, batch)?;
        } else {
            let mut next = Ok(Batch::new());
            rayon::in_place_scope(|scope| {
                scope.spawn(|_| next = batch_of(following, std::mem::take(&mut used)));
                hand_on(first, &batch)
            })?;
            used = std::mem::replace(&mut batch, next?);
        }
        first = following;
    }
    Ok(())
}

/// A decoded group: its index, its bytes, and where in them its items are.
struct OpenGroup {
    index: usize,
    bytes: Vec<u8>,
    ranges: HashMap<usize, Range<usize>>,
}

/// Reads items one by one and keeps the group it is at, so that neighbours are decoded once.
pub(crate) struct Items<'r, 'f> {
    reader: &'r FileReader<'f>,
    /// First group of each item.
    first_group: HashMap<usize, usize>,
    group: Option<OpenGroup>,
}

impl<'r, 'f> Items<'r, 'f> {
    pub(crate) fn new(reader: &'r FileReader<'f>) -> Self {
        let mut first_group = HashMap::new();
        for (index, group) in reader.directory().groups.iter().enumerate() {
            for segment in &group.segments {
                first_group.entry(segment.item).or_insert(index);
            }
        }
        Self {
            reader,
            first_group,
            group: None,
        }
    }

    /// Bytes of an item: a tensor that is no alias, or a blob.
    pub(crate) fn read(&mut self, item: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut next = self.first_group.get(&item).copied();
        while let Some(index) = next {
            let group = self.open(index)?;
            let Some(range) = group.ranges.get(&item) else {
                break;
            };
            all.extend_from_slice(group.bytes.get(range.clone()).unwrap_or_default());
            next = Some(index + 1).filter(|&i| i < self.reader.directory().groups.len());
        }
        Ok(all)
    }

    fn open(&mut self, index: usize) -> Result<&OpenGroup> {
        let group = match self.group.take().filter(|g| g.index == index) {
            Some(group) => group,
            None => self.decode(index)?,
        };
        Ok(self.group.insert(group))
    }

    fn decode(&self, index: usize) -> Result<OpenGroup> {
        let directory = self.reader.directory();
        let mut bytes = Vec::new();
        decode(self.reader, index, &mut bytes)?;
        let (mut ranges, mut start) = (HashMap::new(), 0);
        for segment in directory.groups.get(index).map_or(&[][..], |g| &g.segments) {
            let end = start + segment.len as usize * directory.item_bytes(segment.item);
            ranges.insert(segment.item, start..end);
            start = end;
        }
        Ok(OpenGroup { index, bytes, ranges })
    }
}

/// The files beside the weights.
pub(crate) fn read_blobs(reader: &FileReader<'_>) -> Result<Vec<Blob>> {
    let directory = reader.directory();
    let n_tensors = directory.entries.len();
    let mut items = Items::new(reader);
    let blob = |(i, entry): (usize, &tersor_codec::BlobEntry)| {
        Ok(Blob {
            path: entry.path.clone(),
            bytes: items.read(n_tensors + i)?,
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
    let mut items = Items::new(reader);
    let mut aliases = |writer: &mut CheckpointWriter<'_>, until: usize| -> Result<()> {
        while next < until {
            if let Some(Storage::Alias { target, .. }) = directory.entries.get(next).map(|e| &e.storage) {
                writer.write_tensor(&items.read(*target)?)?;
            }
            next += 1;
        }
        Ok(())
    };
    let mut digests = Vec::with_capacity(directory.groups.len());
    for_each_group(reader, |index, bytes, digest| {
        digests.push(digest);
        progress.advance(bytes.len() as u64);
        let mut rest = bytes;
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

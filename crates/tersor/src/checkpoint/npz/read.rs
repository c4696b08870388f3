//! Reading `.npz`.

use super::{
    MAX_HEADER_BYTES, SUFFIX,
    header::{self, Flaw, Header},
};
use crate::checkpoint::{
    Checkpoint, CheckpointError, ReadLimits, Storage, View,
    archive::{Archive, Entry},
    source::{Member, row_major_strides},
};
use std::sync::{Arc, OnceLock};
use tersor_codec::{Shard, TensorInfo};

/// Whether a member of an archive is an array.
pub(crate) fn is_array_name(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Reads an archive of arrays; a tensor's name is its member's without `.npy`.
pub(crate) fn read(
    archive: &Archive,
    entries: Vec<Entry>,
    file: &str,
    limits: &ReadLimits,
) -> Result<Checkpoint, CheckpointError> {
    let label: Arc<str> = file.into();
    let mut budget = limits.budget(archive.file_bytes().len());
    let mut checkpoint = Checkpoint {
        shards: vec![Shard::default()],
        ..Checkpoint::default()
    };
    for entry in entries {
        let Some(name) = entry.name.strip_suffix(SUFFIX) else {
            checkpoint
                .notes
                .push(format!("left out {:?}, which is not an array", entry.name));
            continue;
        };
        let header = read_header(archive, &entry, file).and_then(|found| {
            found.map_err(|flaw| match flaw {
                Flaw::Corrupt(what) => CheckpointError::corrupt(file, format!("array {name:?}: {what}")),
                Flaw::Unsupported(what) => {
                    CheckpointError::unsupported(file, format!("array {name:?}: {what}"))
                }
            })
        })?;
        let Header {
            dtype,
            swap_bytes,
            fortran_order,
            shape,
            size_bytes: skip,
        } = header;
        let info = TensorInfo {
            name: name.to_owned(),
            dtype,
            shape,
            shard: 0,
        };
        let (size, shape) = (info.size_bytes(), &info.shape);
        if size.is_none() || size != entry.size.checked_sub(skip as u64) {
            let needs = size.map_or("more bytes than 64 bits can count".to_owned(), |n| {
                format!("{n} bytes")
            });
            let what = format!(
                "array {name:?}: {dtype} of shape {shape:?} needs {needs} after its header of {skip}"
            );
            return Err(CheckpointError::corrupt(
                file,
                format!("{what}, but the member has {}", entry.size),
            ));
        }
        budget.take(entry.size, file, || format!("array {name:?}"))?;
        let strides = (fortran_order && shape.len() > 1).then(|| {
            let reversed: Vec<u64> = shape.iter().rev().copied().collect();
            row_major_strides(&reversed).into_iter().rev().collect()
        });
        let storage = checkpoint.add_storage(Storage::Member(Box::new(Member {
            file: label.clone(),
            archive: archive.clone(),
            index: entry.index,
            skip,
            stored: entry.stored.map(|range| range.start + skip..range.end),
            verified: OnceLock::new(),
        })));
        checkpoint.push(
            info,
            View {
                storage,
                offset_bytes: 0,
                strides,
                swap_bytes,
            },
        );
    }
    Ok(checkpoint)
}

/// Most arrays have their header within so many bytes.
const USUAL_BYTES: u64 = 256;

/// Reads a member's header, and of a deflated member no more than that.
fn read_header(
    archive: &Archive,
    entry: &Entry,
    file: &str,
) -> Result<Result<Header, Flaw>, CheckpointError> {
    if let Some(range) = &entry.stored {
        return Ok(header::parse(
            archive.file_bytes().get(range.clone()).unwrap_or_default(),
        ));
    }
    let start = archive.prefix(entry.index, USUAL_BYTES, file)?;
    match header::prefix_bytes(&start) {
        Ok(length) if length > start.len() => {
            let length = length.min(MAX_HEADER_BYTES + start.len());
            Ok(header::parse(&archive.prefix(
                entry.index,
                length as u64,
                file,
            )?))
        }
        _ => Ok(header::parse(&start)),
    }
}

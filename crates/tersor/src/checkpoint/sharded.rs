//! Safetensors in several files under an index.

use super::{
    Checkpoint, CheckpointError, ReadLimits, convert, mapped::FileBytes, open, paths, safetensors::StringMap,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};
use tersor_codec::{Blob, Shard};

/// Longest index file.
const MAX_INDEX_BYTES: usize = 1 << 30;

/// The part of an index that matters: tensor name to file name.
#[derive(Deserialize)]
struct Index {
    weight_map: StringMap,
}

/// Opens the shards that an index names. The index itself travels as a blob.
pub(super) fn open_index(path: &Path, limits: &ReadLimits) -> Result<Checkpoint, CheckpointError> {
    let label = path.to_string_lossy();
    let bytes = FileBytes::open(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut checkpoint = open_shards(folder, bytes.as_ref(), &label, limits)?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if convert::is_pytorch_name(&name) {
        convert::to_safetensors(&mut checkpoint, Some(&name));
    } else {
        checkpoint.blobs.push(Blob {
            path: name,
            bytes: bytes.as_ref().to_vec(),
        });
    }
    Ok(checkpoint)
}

/// Opens the shards that an index names, in the order of their file names.
pub(super) fn open_shards(
    folder: &Path,
    index: &[u8],
    file: &str,
    limits: &ReadLimits,
) -> Result<Checkpoint, CheckpointError> {
    let corrupt = |what: String| CheckpointError::corrupt(file, what);
    if index.len() > MAX_INDEX_BYTES {
        return Err(corrupt(format!(
            "an index of {} bytes is too long; {MAX_INDEX_BYTES} are allowed",
            index.len()
        )));
    }
    let index: Index =
        serde_json::from_slice(index).map_err(|e| corrupt(format!("as an index of shards: {e}")))?;
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in index.weight_map.0 {
        listed.entry(shard).or_default().push(tensor);
    }
    let mut checkpoint = Checkpoint::default();
    for (number, (shard, tensors)) in listed.into_iter().enumerate() {
        if let Some(why) = paths::flaw(&shard) {
            return Err(corrupt(format!(
                "the shard {shard:?} is no file beside the index: {why}"
            )));
        }
        let path = paths::join(folder, &shard);
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if !path.is_file() {
            return Err(corrupt(format!(
                "the shard {shard:?} that it names is missing; put it beside the index"
            )));
        }
        let bytes = FileBytes::open(&path)?;
        let part = open::from_file_bytes(bytes, &path.to_string_lossy(), extension.as_deref(), limits)?;
        let metadata = part
            .shards
            .first()
            .map(|s| s.metadata.clone())
            .unwrap_or_default();
        compare(&part, &tensors, &shard, file, &mut checkpoint.notes)?;
        checkpoint.shards.push(Shard {
            file_name: shard,
            metadata,
        });
        checkpoint.absorb(part, number as u32);
    }
    check_unique(&checkpoint, file)?;
    if checkpoint.shards.is_empty() {
        return Err(corrupt("its weight_map names no tensors".into()));
    }
    Ok(checkpoint)
}

/// Every listed tensor must be there; one more than listed is taken along.
fn compare(
    part: &Checkpoint,
    listed: &[String],
    shard: &str,
    file: &str,
    notes: &mut Vec<String>,
) -> Result<(), CheckpointError> {
    let mut found: HashMap<&str, bool> = part
        .tensors
        .iter()
        .map(|info| (info.name.as_str(), false))
        .collect();
    for tensor in listed {
        let Some(is_listed) = found.get_mut(tensor.as_str()) else {
            let what = format!("tensor {tensor:?} is listed in {shard:?}, which does not hold it");
            return Err(CheckpointError::corrupt(file, what));
        };
        *is_listed = true;
    }
    let extra = part
        .tensors
        .iter()
        .filter(|info| found.get(info.name.as_str()) == Some(&false));
    notes.extend(extra.map(|info| {
        format!(
            "took tensor {:?}, which {shard:?} holds but the index does not list",
            info.name
        )
    }));
    Ok(())
}

fn check_unique(checkpoint: &Checkpoint, file: &str) -> Result<(), CheckpointError> {
    let mut first: HashMap<&str, u32> = HashMap::new();
    for info in &checkpoint.tensors {
        if let Some(earlier) = first.insert(&info.name, info.shard) {
            let shard = |number: u32| {
                checkpoint
                    .shards
                    .get(number as usize)
                    .map_or("", |s| s.file_name.as_str())
            };
            let (name, one, other) = (&info.name, shard(earlier), shard(info.shard));
            let what = format!("tensor {name:?} is in both {one:?} and {other:?}");
            return Err(CheckpointError::corrupt(file, what));
        }
    }
    Ok(())
}

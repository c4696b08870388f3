//! The format of PyTorch before 1.6: five pickles, then the storages.

use super::{
    assemble::{FindStorage, Origin},
    pickle::{self, Pickle},
    tensor::StorageRef,
    value::Value,
};
use crate::checkpoint::{CheckpointError, ReadLimits, Storage, mapped::FileBytes};
use std::{collections::HashMap, ops::Range};

/// 0x1950a86a20f9469cfc6c, as a pickle holds it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The first pickle holds the magic number within so many bytes, whatever its protocol.
const MAGIC_WITHIN: usize = 32;
/// The only version of the format.
const VERSION: i64 = 1001;

/// Whether a file begins with the magic number.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    let start = bytes.get(..bytes.len().min(MAGIC_WITHIN)).unwrap_or_default();
    start.first() == Some(&super::opcode::PROTO) && start.windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// Takes the next pickle off the front of `rest`.
fn next<'a>(rest: &mut &'a [u8], file: &str) -> Result<Pickle<'a>, CheckpointError> {
    let pickle = pickle::load(rest).map_err(|flaw| flaw.in_file(file))?;
    *rest = rest.get(pickle.size_bytes..).unwrap_or_default();
    Ok(pickle)
}

/// Reads a file of the old format, and gives what `take` makes of its object. The storages stay where they are.
pub(super) fn read_legacy<T>(
    bytes: &FileBytes,
    file: &str,
    limits: &ReadLimits,
    take: impl FnOnce(&Pickle<'_>, &Origin<'_>, &mut FindStorage<'_>) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let all = bytes.as_ref();
    let mut rest = all;
    if !is_legacy(all) {
        let what = "it was not written by `torch.save`; load it and save it with that, or as safetensors";
        return Err(CheckpointError::unsupported(file, what));
    }
    let corrupt = |what: String| CheckpointError::corrupt(file, what);
    let magic = next(&mut rest, file)?;
    if !matches!(magic.arena.get(magic.root), Value::BigInt(n) if **n == MAGIC) {
        return Err(corrupt("its first pickle is not the magic number".into()));
    }
    let version = next(&mut rest, file)?;
    let version = version.arena.int(version.root);
    if version != Some(VERSION) {
        let version = version.map_or("no number".to_owned(), |n| n.to_string());
        return Err(corrupt(format!(
            "its version is {version}; {VERSION} is the only one"
        )));
    }
    let system = next(&mut rest, file)?;
    let little = system.arena.entry(system.root, "little_endian");
    if little.is_some_and(|id| matches!(system.arena.get(id), Value::Bool(false))) {
        return Err(CheckpointError::unsupported(
            file,
            "its byte order is big; save it on a little-endian machine",
        ));
    }
    let object = next(&mut rest, file)?;
    let storages = storages(&object, rest, all.len(), file)?;
    let mut find = |stored: &StorageRef<'_>| {
        let Some(range) = storages.get(&*stored.key) else {
            return Err(corrupt(format!("the storage {:?} is missing", stored.key)));
        };
        Ok((
            Storage::Part {
                bytes: bytes.clone(),
                range: range.clone(),
            },
            range.len() as u64,
        ))
    };
    let origin = Origin {
        file,
        file_bytes: all.len(),
        limits,
    };
    take(&object, &origin, &mut find)
}

/// Where each storage lies in the file: `rest` begins with the pickle of their keys.
fn storages(
    object: &Pickle<'_>,
    mut rest: &[u8],
    file_bytes: usize,
    file: &str,
) -> Result<HashMap<String, Range<usize>>, CheckpointError> {
    let corrupt = |what: String| CheckpointError::corrupt(file, what);
    let mut unit_bytes: HashMap<&str, u64> = HashMap::new();
    for value in object.arena.values() {
        if let Value::Storage(stored) = value
            && let Some(size) = stored.element.size_bytes()
            && *unit_bytes.entry(&stored.key).or_insert(size) != size
        {
            return Err(corrupt(format!("the storage {:?} has two types", stored.key)));
        }
    }
    let keys = next(&mut rest, file)?;
    let Some(items) = keys.arena.items(keys.root) else {
        return Err(corrupt("the keys of its storages are no list".into()));
    };
    let mut ranges = HashMap::new();
    for &id in items {
        let Some(key) = keys.arena.str(id) else {
            return Err(corrupt("the key of a storage is no text".into()));
        };
        let Some(unit) = unit_bytes.get(key) else {
            return Err(corrupt(format!(
                "the storage {key:?} has no known type, so its size is not known"
            )));
        };
        let Some((count, data)) = rest.split_first_chunk::<8>() else {
            return Err(corrupt(format!("it ends before the storage {key:?}")));
        };
        let count = i64::from_le_bytes(*count);
        let size = u64::try_from(count)
            .ok()
            .and_then(|n| usize::try_from(n.checked_mul(*unit)?).ok());
        let Some((_, after)) = size.and_then(|size| data.split_at_checked(size)) else {
            let left = data.len();
            return Err(corrupt(format!(
                "the storage {key:?} claims {count} elements of {unit} bytes, {left} bytes are left"
            )));
        };
        let range = file_bytes - data.len()..file_bytes - after.len();
        if ranges.insert(key.to_owned(), range).is_some() {
            return Err(corrupt(format!("the storage {key:?} occurs twice")));
        }
        rest = after;
    }
    Ok(ranges)
}

//! The header of a safetensors file to be written.

use super::{HEADER_ALIGNMENT, LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY};
use crate::checkpoint::CheckpointError;
use serde_json::{Map, Value, json};
use tersor_codec::TensorInfo;

/// What a header says: the tensors' bytes follow it in this order.
pub(crate) struct Layout<'a> {
    pub(crate) tensors: Vec<&'a TensorInfo>,
    pub(crate) metadata: &'a [(String, String)],
}

/// The bytes before the first tensor: length, header, and spaces up to a multiple of 8, as the reference writer does.
pub(crate) fn header_bytes(layout: &Layout<'_>) -> Result<Vec<u8>, CheckpointError> {
    let mut header = Map::new(); // keeps its order
    if !layout.metadata.is_empty() {
        let mut metadata = Map::new();
        for (key, value) in layout.metadata {
            if metadata
                .insert(key.clone(), Value::String(value.clone()))
                .is_some()
            {
                return Err(CheckpointError::Misuse(format!(
                    "the metadata key {key:?} occurs twice"
                )));
            }
        }
        header.insert(METADATA_KEY.to_owned(), Value::Object(metadata));
    }
    let mut start = 0u64;
    for info in &layout.tensors {
        let name = &info.name;
        if name == METADATA_KEY {
            return Err(unwritable(
                info,
                format!("the format keeps the name {METADATA_KEY:?} for itself; rename it"),
            ));
        }
        let end = info.size_bytes().and_then(|size| start.checked_add(size));
        let end = end.ok_or_else(|| unwritable(info, "the file would exceed 64 bits".to_owned()))?;
        let entry = json!({ "dtype": info.dtype.name(), "shape": info.shape, "data_offsets": [start, end] });
        if header.insert(name.clone(), entry).is_some() {
            return Err(CheckpointError::Misuse(format!(
                "the tensor name {name:?} occurs twice"
            )));
        }
        start = end;
    }
    let header = Value::Object(header).to_string();
    let length = header.len().next_multiple_of(HEADER_ALIGNMENT);
    if length > MAX_HEADER_BYTES {
        let what =
            format!("the header would take {length} bytes, {MAX_HEADER_BYTES} are allowed: use more shards");
        return Err(CheckpointError::Misuse(what));
    }
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + length);
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(LENGTH_BYTES + length, b' ');
    Ok(bytes)
}

fn unwritable(info: &TensorInfo, why: String) -> CheckpointError {
    CheckpointError::Unwritable {
        tensor: info.name.clone(),
        format: "safetensors",
        why,
    }
}

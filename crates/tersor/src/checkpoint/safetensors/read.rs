//! Reading safetensors: every rule of the format is checked before a tensor is shown.

use super::{
    LENGTH_BYTES, MAX_HEADER_BYTES,
    header::{Entry, Header},
};
use crate::checkpoint::{Checkpoint, CheckpointError, Storage, View, mapped::FileBytes};
use tersor_codec::{Dtype, Shard, TensorInfo};

/// Reads a file of safetensors; the tensors come in the order of their bytes.
pub(crate) fn read(bytes: &FileBytes, file: &str) -> Result<Checkpoint, CheckpointError> {
    let corrupt = |what: String| CheckpointError::corrupt(file, what);
    let all = bytes.as_ref();
    let n = all.len();
    let Some((length, rest)) = all.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(corrupt(format!(
            "{n} bytes are too few for a safetensors file, which has 10 at least"
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES as u64 {
        return Err(corrupt(format!(
            "the header claims {length} bytes, {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let length = length as usize;
    let Some((header, data)) = rest.split_at_checked(length) else {
        return Err(corrupt(format!(
            "the header claims {length} bytes, but the file ends after {}",
            rest.len()
        )));
    };
    if header.first() != Some(&b'{') {
        return Err(corrupt("the header does not begin with '{'".into()));
    }
    let header: Header = serde_json::from_slice(header)
        .map_err(|e| corrupt(format!("the header is not as it should be: {e}")))?;
    let Header {
        metadata,
        tensors: mut entries,
    } = header;

    let mut checkpoint = Checkpoint {
        shards: vec![Shard {
            file_name: String::new(),
            metadata,
        }],
        storages: vec![Storage::Part {
            bytes: bytes.clone(),
            range: LENGTH_BYTES + length..n,
        }],
        ..Checkpoint::default()
    };
    entries.sort_by_key(|(_, entry)| entry.data_offsets); // stable: empty tensors stay in the header's order
    let mut end_before = 0u64;
    for (name, entry) in entries {
        let info = tensor_info(name, &entry, file)?;
        let (start, end) = entry.data_offsets;
        if start != end_before {
            let what = if start < end_before {
                "overlaps the tensor before it"
            } else {
                "leaves a hole before it"
            };
            let name = &info.name;
            return Err(corrupt(format!(
                "tensor {name:?} {what}: it begins at {start}, expected {end_before}"
            )));
        }
        if end > data.len() as u64 {
            let (name, have) = (&info.name, data.len());
            return Err(corrupt(format!(
                "tensor {name:?} ends at {end}, but the file holds {have} bytes of data"
            )));
        }
        end_before = end;
        checkpoint.push(
            info,
            View {
                storage: 0,
                offset_bytes: start as usize,
                strides: None,
                swap_bytes: 0,
            },
        );
    }
    if end_before != data.len() as u64 {
        let have = data.len();
        return Err(corrupt(format!(
            "the tensors end at {end_before}, but the file holds {have} bytes of data"
        )));
    }
    Ok(checkpoint)
}

/// Checks what the header says of one tensor by itself.
fn tensor_info(name: String, entry: &Entry, file: &str) -> Result<TensorInfo, CheckpointError> {
    let Some(dtype) = Dtype::from_name(&entry.dtype) else {
        let known: Vec<_> = Dtype::ALL.iter().map(|d| d.name()).collect();
        let (dtype, known) = (&entry.dtype, known.join(", "));
        let what = format!("tensor {name:?} has the type {dtype:?}; the types that are read are {known}");
        return Err(CheckpointError::unsupported(file, what));
    };
    let (start, end) = entry.data_offsets;
    let info = TensorInfo {
        name,
        dtype,
        shape: entry.shape.clone(),
        shard: 0,
    };
    let (name, shape) = (&info.name, &info.shape);
    let Some(size) = info.size_bytes() else {
        return Err(CheckpointError::corrupt(
            file,
            format!("tensor {name:?}: the shape {shape:?} has more elements than 64 bits can count"),
        ));
    };
    if end.checked_sub(start) != Some(size) {
        let what =
            format!("tensor {name:?}: {dtype} of shape {shape:?} needs {size} bytes, not {start}..{end}");
        return Err(CheckpointError::corrupt(file, what));
    }
    Ok(info)
}

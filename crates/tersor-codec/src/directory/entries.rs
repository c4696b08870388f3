//! Files of weights and tensors, as a directory tells of them.

use super::codebooks::code_codebook;
use super::fields::Fields;
use super::{Directory, Entry, MAX_AXES, Storage};
use crate::codebook::Scales;
use crate::range::BitCoder;
use crate::{Dtype, Error, Result, Shard, TensorInfo};

const STORAGE_QUANTIZED: u32 = 0;
const STORAGE_RAW: u32 = 1;
const STORAGE_ALIAS: u32 = 2;

pub(super) fn code_shard(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    given: Option<&Shard>,
) -> Result<Shard> {
    let file_name = fields.string(coder, given.map_or("", |s| &s.file_name))?;
    let n = fields
        .count
        .code(coder, given.map_or(0, |s| s.metadata.len() as u64))?;
    let mut metadata = Vec::new();
    for i in 0..n {
        let pair = given.and_then(|s| s.metadata.get(i as usize));
        let key = fields.string(coder, pair.map_or("", |p| &p.0))?;
        metadata.push((key, fields.string(coder, pair.map_or("", |p| &p.1))?));
    }
    Ok(Shard { file_name, metadata })
}

pub(super) fn code_entry(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
    index: usize,
) -> Result<Entry> {
    let entry = given.entries.get(index);
    let info = entry.map(|e| &e.info);
    let before = directory.entries.last().map(|e| &e.info);
    let name = fields.string(coder, info.map_or("", |i| &i.name))?;
    let dtype = fields.dtype.code(coder, info.map_or(0, |i| i.dtype as u32))?;
    let dtype = Dtype::from_code(u64::from(dtype)).ok_or_else(|| {
        Error::corrupt(
            "directory",
            format!("tensor {name:?} of the unknown element type {dtype}"),
        )
    })?;
    let n_axes = fields
        .n_axes
        .code(coder, info.map_or(0, |i| i.shape.len() as u64))?;
    if n_axes > MAX_AXES {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {name:?} of {n_axes} axes; at most {MAX_AXES} are allowed"),
        ));
    }
    let mut shape = Vec::new();
    for axis in 0..n_axes as usize {
        let extent = info.and_then(|i| i.shape.get(axis)).copied().unwrap_or(0);
        let same = before
            .filter(|b| b.shape.len() as u64 == n_axes)
            .and_then(|b| b.shape.get(axis))
            .copied();
        match same {
            Some(same) if coder.bit(&mut fields.same_extent, extent == same)? => shape.push(same),
            _ => shape.push(fields.extent.code(coder, extent)?),
        }
    }
    fields.spend(8 * n_axes)?;
    let shard = fields.shard.code(coder, info.map_or(0, |i| u64::from(i.shard)))?;
    if shard >= directory.shards.len() as u64 {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {name:?} in shard {shard} of {}", directory.shards.len()),
        ));
    }
    let kind = match entry.map(|e| &e.storage) {
        Some(Storage::Quantized { .. }) => STORAGE_QUANTIZED,
        Some(Storage::Raw) | None => STORAGE_RAW,
        Some(Storage::Alias { .. }) => STORAGE_ALIAS,
    };
    let info = TensorInfo {
        name,
        dtype,
        shape,
        shard: shard as u32,
    };
    let storage = match fields.storage.code(coder, kind)? {
        STORAGE_QUANTIZED => {
            code_quantized(coder, fields, directory, given, &info, entry.map(|e| &e.storage))?
        }
        STORAGE_RAW => Storage::Raw,
        STORAGE_ALIAS => {
            let (target, tied) = match entry.map(|e| &e.storage) {
                Some(Storage::Alias { target, tied }) => (*target, *tied),
                _ => (0, false),
            };
            let target = fields.alias.code(coder, target as u64)?;
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            match directory.entries.get(target) {
                Some(t)
                    if t.info.dtype == info.dtype
                        && t.info.shape == info.shape
                        && !matches!(t.storage, Storage::Alias { .. }) => {}
                _ => {
                    return Err(Error::corrupt(
                        "directory",
                        format!("tensor {:?} an alias of tensor {target}", info.name),
                    ));
                }
            }
            let tied = coder.bit(&mut fields.tied, tied)?;
            Storage::Alias { target, tied }
        }
        other => {
            return Err(Error::corrupt(
                "directory",
                format!("tensor {:?} stored in way {other}", info.name),
            ));
        }
    };
    Ok(Entry { info, storage })
}

fn code_quantized(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
    info: &TensorInfo,
    storage: Option<&Storage>,
) -> Result<Storage> {
    let (index, scales) = match storage {
        Some(Storage::Quantized { codebook, scales }) => (*codebook, scales.as_ref()),
        _ => (0, None),
    };
    if !info.dtype.is_float() {
        return Err(Error::corrupt(
            "directory",
            format!("tensor {:?} of type {} quantized", info.name, info.dtype),
        ));
    }
    // 0: a new codebook; n: the n-th from the end of those so far.
    let n_known = directory.codebooks.len();
    let back = fields
        .codebook
        .code(coder, n_known.saturating_sub(index) as u64)?;
    let codebook = if back == 0 {
        let codebook = code_codebook(coder, fields, given.codebooks.get(index))?;
        codebook
            .check()
            .map_err(|e| Error::corrupt("directory", e.to_string()))?;
        directory.codebooks.push(codebook);
        n_known
    } else {
        let index = usize::try_from(back).ok().and_then(|b| n_known.checked_sub(b));
        index.ok_or_else(|| Error::corrupt("directory", format!("codebook {back} before the first one")))?
    };
    let scales = if coder.bit(&mut fields.has_scales, scales.is_some())? {
        let axis = fields.axis.code(coder, scales.map_or(0, |s| u64::from(s.axis)))?;
        let n = usize::try_from(axis)
            .ok()
            .and_then(|a| info.shape.get(a))
            .copied()
            .unwrap_or(0);
        let mut values = Vec::new();
        for i in 0..n {
            fields.spend(4)?;
            let value = scales
                .and_then(|s| s.values.get(i as usize))
                .copied()
                .unwrap_or(1.0);
            values.push(fields.float.code(coder, value)?);
        }
        let scales = Scales {
            axis: axis.min(MAX_AXES) as u32,
            values,
        };
        scales
            .check(&info.shape)
            .map_err(|e| Error::corrupt("directory", e.to_string()))?;
        Some(scales)
    } else {
        None
    };
    Ok(Storage::Quantized { codebook, scales })
}

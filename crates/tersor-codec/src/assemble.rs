//! From groups to a file: what they hold, their bytes, and how they are put together.

use crate::codebook::{Codebook, Dequantizer};
use crate::directory::{Directory, GroupEntry, Segment};
use crate::file::{encode_header, file_digest, group_crc, group_digest};
use crate::group::{MAX_GROUP_ELEMENTS, SegmentInput, encode_group};
use crate::{Coder, Result};

/// Cuts items, given as `(item, elements, kind)`, into groups of about `group_elements`: small neighbours of one kind
/// share a group, a large item is cut into chunks.
pub fn plan_groups<K: PartialEq + Copy>(
    items: impl IntoIterator<Item = (usize, u64, K)>,
    group_elements: u64,
) -> Vec<(K, Vec<Segment>)> {
    let target = group_elements.clamp(1, MAX_GROUP_ELEMENTS);
    let mut groups: Vec<(K, Vec<Segment>)> = Vec::new();
    // Elements of the last group, if more may join it.
    let mut open: Option<u64> = None;
    for (item, n, kind) in items {
        if n > target {
            let mut start = 0;
            while start < n {
                let len = target.min(n - start);
                groups.push((kind, vec![Segment { item, start, len }]));
                start += len;
            }
            open = None;
            continue;
        }
        let segment = Segment {
            item,
            start: 0,
            len: n,
        };
        match (open, groups.last_mut()) {
            (Some(n_open), Some((k, segments))) if *k == kind && n_open + n <= target => {
                segments.push(segment);
                open = Some(n_open + n);
            }
            _ => {
                groups.push((kind, vec![segment]));
                open = Some(n);
            }
        }
    }
    groups
}

/// An encoded group with what the directory and the digest need.
#[derive(Clone, Debug)]
pub struct EncodedGroup {
    /// Its line in the directory.
    pub entry: GroupEntry,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// XXH64 of what it decodes to.
    pub digest: u64,
}

impl EncodedGroup {
    /// Encodes a group of bytes stored losslessly, with `coder` or DEFLATE, whichever is smaller.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid).
    pub fn raw(segments: Vec<Segment>, parts: &[(&[u8], usize)], coder: Coder) -> Result<Self> {
        let inputs: Vec<SegmentInput<'_>> = parts
            .iter()
            .map(|&(bytes, item_bytes)| SegmentInput::Raw { bytes, item_bytes })
            .collect();
        let mut best = (encode_group(&inputs, coder)?, coder);
        let deflated = encode_group(&inputs, Coder::Deflate)?;
        if deflated.len() < best.0.len() {
            best = (deflated, Coder::Deflate);
        }
        let all: Vec<u8> = parts
            .iter()
            .flat_map(|(bytes, _)| bytes.iter().copied())
            .collect();
        Ok(Self::new(best.0, best.1, segments, group_digest(&all)))
    }

    /// Puts a group's bytes together with what is said about them.
    pub fn new(bytes: Vec<u8>, coder: Coder, segments: Vec<Segment>, digest: u64) -> Self {
        let entry = GroupEntry {
            coder,
            size_bytes: bytes.len() as u64,
            crc: group_crc(&bytes),
            segments,
        };
        Self { entry, bytes, digest }
    }

    /// Encodes a group of quantized tensors. `parts`: symbols, codebook and dequantizer of each segment.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if a symbol is outside its codebook.
    pub fn symbols(
        segments: Vec<Segment>,
        parts: &[(&[u16], &Codebook, &Dequantizer<'_>)],
        coder: Coder,
    ) -> Result<Self> {
        let inputs: Vec<SegmentInput<'_>> = segments
            .iter()
            .zip(parts)
            .map(
                |(segment, (symbols, codebook, dequantizer))| SegmentInput::Symbols {
                    symbols,
                    n_levels: codebook.n_levels(),
                    zero: codebook.zero_symbol(),
                    shape: dequantizer.shape(),
                    first: segment.start,
                },
            )
            .collect();
        let bytes = encode_group(&inputs, coder)?;
        let mut decoded = Vec::new();
        for (segment, (symbols, _, dequantizer)) in segments.iter().zip(parts) {
            let start = decoded.len();
            decoded.resize(start + symbols.len() * dequantizer.size_bytes(), 0);
            dequantizer.write(
                segment.start,
                symbols,
                decoded.get_mut(start..).unwrap_or_default(),
            );
        }
        Ok(Self::new(bytes, coder, segments, group_digest(&decoded)))
    }
}

/// Puts directory and groups together to a file. The directory's own list of groups is replaced.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) if the groups do not hold the directory's items in order.
pub fn assemble(mut directory: Directory, groups: &[EncodedGroup]) -> Result<Vec<u8>> {
    directory.groups = groups.iter().map(|g| g.entry.clone()).collect();
    let mut file = encode_header(&directory, file_digest(groups.iter().map(|g| g.digest)))?;
    file.reserve(groups.iter().map(|g| g.bytes.len()).sum());
    for group in groups {
        file.extend_from_slice(&group.bytes);
    }
    Ok(file)
}

//! Where a tensor's bytes lie, and how they become contiguous, row-major and little endian.

use super::{CheckpointError, archive::Archive, mapped::FileBytes};
use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// A run of bytes that one or more tensors view.
pub(super) enum Storage {
    /// Part of a file that holds it as it is.
    Part { bytes: FileBytes, range: Range<usize> },
    /// A member of a zip archive that is inflated, or at least checked against its checksum, when asked for.
    Member(Box<Member>),
    /// In memory.
    Owned(Vec<u8>),
}

/// A zip member; the tensor's bytes start `skip` bytes into it.
pub(super) struct Member {
    pub(super) file: Arc<str>,
    pub(super) archive: Archive,
    pub(super) index: usize,
    pub(super) skip: usize,
    /// Where the bytes lie in the file if the member is stored, not deflated.
    pub(super) stored: Option<Range<usize>>,
    /// Set once the checksum has been found right.
    pub(super) verified: OnceLock<()>,
}

impl Member {
    fn bytes(&self) -> Result<Cow<'_, [u8]>, CheckpointError> {
        let Some(range) = &self.stored else {
            let mut bytes = self.archive.inflate(self.index, &self.file)?;
            bytes.drain(..self.skip.min(bytes.len()));
            return Ok(Cow::Owned(bytes));
        };
        if self.verified.get().is_none() {
            self.archive.verify(self.index, &self.file)?;
            let _ = self.verified.set(());
        }
        Ok(Cow::Borrowed(
            self.archive.file_bytes().get(range.clone()).unwrap_or_default(),
        ))
    }
}

impl Storage {
    fn bytes(&self) -> Result<Cow<'_, [u8]>, CheckpointError> {
        Ok(match self {
            Self::Part { bytes, range } => {
                Cow::Borrowed(bytes.as_ref().get(range.clone()).unwrap_or_default())
            }
            Self::Member(member) => return member.bytes(),
            Self::Owned(bytes) => Cow::Borrowed(bytes),
        })
    }
}

/// One tensor's view of a storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// Index of the storage.
    pub(super) storage: usize,
    /// First byte of the tensor's first element.
    pub(super) offset_bytes: usize,
    /// Steps from element to element along each dimension, in elements; `None` if row-major and without gaps.
    pub(super) strides: Option<Vec<u64>>,
    /// Bytes to reverse as a unit because the file is big endian; 1 or less means none.
    pub(super) swap_bytes: usize,
}

impl View {
    /// The tensor's bytes: borrowed if they lie as they should, else a copy. `len` is the tensor's size in bytes.
    pub(super) fn read<'a>(
        &self,
        storage: &'a Storage,
        shape: &[u64],
        element_bytes: usize,
        len: usize,
    ) -> Result<Cow<'a, [u8]>, CheckpointError> {
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let short = || CheckpointError::Misuse("a tensor's view ends beyond its storage".into());
        let bytes = storage.bytes()?;
        let mut out = if let Some(strides) = &self.strides {
            let from = bytes.get(self.offset_bytes..).ok_or_else(short)?;
            Cow::Owned(gather(from, shape, strides, element_bytes, len).ok_or_else(short)?)
        } else {
            let end = self.offset_bytes.checked_add(len).ok_or_else(short)?;
            slice(bytes, self.offset_bytes..end).ok_or_else(short)?
        };
        if self.swap_bytes > 1 {
            for unit in out.to_mut().chunks_exact_mut(self.swap_bytes) {
                unit.reverse();
            }
        }
        Ok(out)
    }
}

fn slice(bytes: Cow<'_, [u8]>, range: Range<usize>) -> Option<Cow<'_, [u8]>> {
    match bytes {
        Cow::Borrowed(bytes) => bytes.get(range).map(Cow::Borrowed),
        Cow::Owned(mut bytes) => {
            bytes.get(range.clone())?;
            bytes.truncate(range.end);
            bytes.drain(..range.start);
            Some(Cow::Owned(bytes))
        }
    }
}

/// The strides of a row-major tensor without gaps, innermost 1. Saturating: the shape has been checked before.
pub(super) fn row_major_strides(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1u64; shape.len()];
    let mut step = 1u64;
    for (stride, &extent) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(extent);
    }
    strides
}

/// Whether elements at these strides lie as in a row-major tensor. Dimensions of extent 1 may have any stride.
pub(super) fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    shape.contains(&0)
        || row_major_strides(shape)
            .iter()
            .zip(strides)
            .zip(shape)
            .all(|((want, have), &n)| n == 1 || want == have)
}

/// Copies a strided tensor in row-major order. `None` if an element lies outside `from`.
fn gather(from: &[u8], shape: &[u64], strides: &[u64], element_bytes: usize, len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    let (&inner_extent, outer_shape) = shape.split_last()?;
    let (&inner_stride, outer_strides) = strides.split_last()?;
    let size = element_bytes as u64;
    let inner_step = inner_stride.checked_mul(size)?;
    let mut index = vec![0u64; outer_shape.len()];
    let mut start = 0u64;
    while out.len() < len {
        if inner_stride == 1 {
            let end = start.checked_add(inner_extent.checked_mul(size)?)?;
            out.extend_from_slice(from.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?);
        } else {
            let mut at = usize::try_from(start).ok()?;
            for _ in 0..inner_extent {
                out.extend_from_slice(from.get(at..at.checked_add(element_bytes)?)?);
                at = at.checked_add(usize::try_from(inner_step).ok()?)?;
            }
        }
        // The next row: count up like an odometer, the last outer dimension fastest.
        for ((i, &extent), &stride) in index.iter_mut().zip(outer_shape).zip(outer_strides).rev() {
            let step = stride.checked_mul(size)?;
            *i += 1;
            if *i < extent {
                start = start.checked_add(step)?;
                break;
            }
            start = start.checked_sub(step.checked_mul(extent - 1)?)?;
            *i = 0;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_written_out_in_row_major_order() {
        // Storage 0..6 seen as the transpose of a 2 x 3 matrix.
        assert_eq!(
            gather(&[0, 1, 2, 3, 4, 5], &[3, 2], &[1, 3], 1, 6),
            Some(vec![0, 3, 1, 4, 2, 5])
        );
    }

    #[test]
    fn a_stride_of_zero_repeats() {
        assert_eq!(
            gather(&[7, 8], &[3, 2], &[0, 1], 1, 6),
            Some(vec![7, 8, 7, 8, 7, 8])
        );
        assert_eq!(gather(&[7, 8], &[2, 2], &[1, 0], 1, 4), Some(vec![7, 7, 8, 8]));
    }

    #[test]
    fn a_view_beyond_its_storage_is_refused() {
        assert_eq!(gather(&[0; 5], &[3, 2], &[1, 3], 1, 6), None);
    }

    #[test]
    fn strides_of_single_extents_do_not_matter() {
        assert!(is_row_major(&[2, 1, 3], &[3, 99, 1]));
        assert!(!is_row_major(&[2, 2, 3], &[3, 99, 1]));
        assert!(is_row_major(&[0, 5], &[7, 7]));
        assert!(is_row_major(&[], &[]));
    }
}

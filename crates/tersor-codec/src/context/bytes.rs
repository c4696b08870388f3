//! Bytes of tensors that are stored losslessly.

use crate::Result;
use crate::range::{BitCoder, TreeModel};

/// Bytes of the largest element.
const MAX_ITEM_BYTES: usize = 8;

/// A model for each byte of an element.
#[derive(Clone, Debug)]
pub(super) struct ByteModel {
    places: Vec<TreeModel>,
}

impl ByteModel {
    pub(super) fn new() -> Self {
        Self {
            places: vec![TreeModel::new(8); MAX_ITEM_BYTES],
        }
    }

    /// Codes all elements of a segment.
    pub(super) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        item_bytes: usize,
        bytes: &mut [u8],
    ) -> Result<()> {
        for item in bytes.chunks_mut(item_bytes.max(1)) {
            for (byte, model) in item.iter_mut().zip(&mut self.places) {
                *byte = model.code(coder, u32::from(*byte))? as u8;
            }
        }
        Ok(())
    }
}

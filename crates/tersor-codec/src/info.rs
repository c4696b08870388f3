//! What a checkpoint says about its tensors and files, beside the numbers.

use crate::Dtype;

/// Name, type and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint: any UTF-8, unique.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first; empty for a scalar. Elements are in row-major order.
    pub shape: Vec<u64>,
    /// Index of the [`Shard`] that holds the tensor.
    pub shard: u32,
}

impl TensorInfo {
    /// Number of elements, or `None` if it exceeds 64 bits.
    pub fn n_elements(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1u64, |n, &extent| n.checked_mul(extent))
    }

    /// Bytes of all elements, or `None` if it exceeds 64 bits.
    pub fn size_bytes(&self) -> Option<u64> {
        self.n_elements()?.checked_mul(self.dtype.size_bytes() as u64)
    }
}

/// One file of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Path relative to the checkpoint's folder; empty if the checkpoint is a single file.
    pub file_name: String,
    /// The file's own metadata (`__metadata__` of safetensors), in its order.
    pub metadata: Vec<(String, String)>,
}

/// A file that travels beside the weights, such as a configuration or a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Path relative to the checkpoint's folder, with `/` between its parts.
    pub path: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

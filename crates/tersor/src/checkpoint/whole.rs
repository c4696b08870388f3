//! Whole tensors as numbers, whole checkpoints as files: for those to whom memory does not matter.

use super::{Checkpoint, CheckpointError, CheckpointWriter, OutputFormat};
use crate::weights;
use std::borrow::Cow;
use std::path::Path;
use tersor_codec::{Dtype, TensorInfo};

/// An f32 tensor of a checkpoint in memory: values are row-major.
pub fn f32_tensor(name: String, shape: Vec<u64>, values: &[f32]) -> (TensorInfo, Vec<u8>) {
    let info = TensorInfo {
        name,
        dtype: Dtype::F32,
        shape,
        shard: 0,
    };
    (info, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

impl Checkpoint {
    /// Elements of a float tensor as f32, row-major; f64 is rounded to nearest. Free where the file holds them so.
    ///
    /// # Errors
    /// [`CheckpointError::Misuse`] if there is no tensor `index` or it is no float, and as [`bytes`](Self::bytes).
    pub fn to_f32(&self, index: usize) -> Result<Cow<'_, [f32]>, CheckpointError> {
        let bytes = self.bytes(index)?;
        match self.tensors().get(index) {
            Some(info) if info.dtype.is_float() => Ok(weights::to_f32(&bytes, info.dtype)),
            Some(info) => Err(CheckpointError::Misuse(format!(
                "tensor {:?} is of type {}, which is no float",
                info.name, info.dtype
            ))),
            None => Err(CheckpointError::Misuse(format!("there is no tensor {index}"))),
        }
    }

    /// Writes the checkpoint; see [`CheckpointWriter::create`].
    ///
    /// # Errors
    /// As [`CheckpointWriter`].
    pub fn save(&self, dest: &Path, format: OutputFormat, overwrite: bool) -> Result<(), CheckpointError> {
        let mut writer = CheckpointWriter::create(
            dest,
            format,
            self.tensors(),
            self.shards(),
            self.blobs(),
            overwrite,
        )?;
        for index in 0..self.tensors().len() {
            writer.write_tensor(&self.bytes(index)?)?;
        }
        writer.finish()
    }
}

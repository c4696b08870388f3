//! Writing `.npz`: stored members with version 1 headers, which NumPy can map.

use super::{SUFFIX, header};
use crate::checkpoint::CheckpointError;
use std::io::{Seek, Write};
use tersor_codec::TensorInfo;
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

/// Members from this size on get 64-bit sizes.
const LARGE_BYTES: u64 = 0xffff_0000;

/// An `.npz` file that is being written, tensor by tensor.
pub(crate) struct NpzWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
}

fn io_error(error: ZipError) -> CheckpointError {
    CheckpointError::Stream(std::io::Error::other(error))
}

/// NumPy's type and the array header, or why there is none.
fn array_header(info: &TensorInfo) -> Result<Vec<u8>, CheckpointError> {
    let refuse = |why: String| {
        Err(CheckpointError::Unwritable {
            tensor: info.name.clone(),
            format: "npz",
            why,
        })
    };
    let (name, dtype) = (&info.name, info.dtype);
    let Some(descr) = header::descr(dtype) else {
        return refuse(format!(
            "NumPy has no type for {dtype}; write safetensors instead"
        ));
    };
    if name.contains("..") || name.starts_with('/') || name.contains('\\') || name.contains('\0') {
        return refuse("names with '..', a backslash, NUL or '/' in front could lead outside when unpacked; write safetensors instead".into());
    }
    match header::write(descr, &info.shape) {
        Some(bytes) => Ok(bytes),
        None => refuse(format!(
            "its {} dimensions do not fit the header",
            info.shape.len()
        )),
    }
}

impl<W: Write + Seek> NpzWriter<W> {
    /// Checks every tensor, so that nothing is written in vain.
    pub(crate) fn new(inner: W, tensors: &[TensorInfo]) -> Result<Self, CheckpointError> {
        for info in tensors {
            array_header(info)?;
        }
        Ok(Self {
            zip: ZipWriter::new(inner),
        })
    }

    /// Begins the next tensor.
    pub(crate) fn start(&mut self, info: &TensorInfo) -> Result<(), CheckpointError> {
        let header = array_header(info)?;
        let large = info.size_bytes().is_none_or(|size| size >= LARGE_BYTES);
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(large);
        self.zip
            .start_file(format!("{}{SUFFIX}", info.name), options)
            .map_err(io_error)?;
        self.zip.write_all(&header).map_err(CheckpointError::Stream)
    }

    /// Adds to the tensor that was begun last.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.zip.write_all(bytes).map_err(CheckpointError::Stream)
    }

    /// Writes the directory.
    pub(crate) fn finish(self) -> Result<W, CheckpointError> {
        self.zip.finish().map_err(io_error)
    }
}

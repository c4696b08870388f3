//! Why a checkpoint could not be compressed, read back or compared.

use crate::checkpoint::CheckpointError;
use std::path::PathBuf;

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A `.tersor` file could not be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] tersor_codec::Error),
    /// A tensor could not be quantized as asked.
    #[error("tensor {tensor:?}")]
    Quantize {
        /// The tensor, or the first of those quantized together.
        tensor: String,
        /// Why.
        source: tersor_quant::Error,
    },
    /// The sensitivity file does not fit the checkpoint.
    #[error("sensitivity file: {0}")]
    Sensitivity(String),
    /// The state of an optimizer has no sensitivities, or it is not certain of what.
    #[error("optimizer state: {0}")]
    Optimizer(String),
    /// Options that contradict each other or the input.
    #[error("{0}")]
    Options(String),
    /// A target that no setting of the method meets.
    #[error("{0}")]
    Target(String),
    /// The command that measures quality failed.
    #[error("evaluation: {0}")]
    Evaluate(String),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file exists that would be overwritten.
    #[error("{} exists; allow overwriting (-f) or choose another name", .0.display())]
    Exists(PathBuf),
    /// A file decoded to something else than was encoded: a bug in tersor; nothing was written.
    #[error(
        "internal error: the encoded file does not decode to what was encoded; nothing was written, please report this"
    )]
    SelfCheck,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn quantize(tensor: &str) -> impl FnOnce(tersor_quant::Error) -> Self {
        let tensor = tensor.to_owned();
        move |source| Self::Quantize { tensor, source }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

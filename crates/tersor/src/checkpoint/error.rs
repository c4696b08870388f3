//! Why a checkpoint could not be read or written.

use std::{io, path::PathBuf};

/// Why a checkpoint could not be read or written.
///
/// File and tensor names come from outside, so messages show them quoted and escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was attempted, as in "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output stream refused.
    #[error("cannot write the checkpoint")]
    Stream(#[source] io::Error),
    /// The file breaks the rules of its format: get a sound copy.
    #[error("{file:?} is damaged: {what}")]
    Corrupt {
        /// The file as the user named it.
        file: String,
        /// What is wrong, with the value and the allowed range.
        what: String,
    },
    /// The file is sound but holds what tersor does not read: convert it as the message says.
    #[error("{file:?} cannot be used: {what}")]
    Unsupported {
        /// The file as the user named it.
        file: String,
        /// What is not read, and what to do.
        what: String,
    },
    /// Reading would need more memory than [`ReadLimits`](super::ReadLimits) allows.
    #[error(
        "{file:?}: {what} needs {needed} bytes, beyond the limit of {limit}; if the file is trusted, raise the limit"
    )]
    LimitExceeded {
        /// The file as the user named it.
        file: String,
        /// What would have been allocated.
        what: String,
        /// Bytes needed, as the file claims.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The output format cannot hold this tensor.
    #[error("tensor {tensor:?} cannot be written to {format}: {why}")]
    Unwritable {
        /// Name of the tensor.
        tensor: String,
        /// Name of the format.
        format: &'static str,
        /// The reason, and what to do.
        why: String,
    },
    /// A path inside the checkpoint is not a plain relative path, or two files would share one.
    #[error("the checkpoint's file {path:?} cannot be written: {why}")]
    BadPath {
        /// The path as the checkpoint has it.
        path: String,
        /// The rule that it breaks.
        why: String,
    },
    /// The destination exists and may not be replaced.
    #[error("{path:?} {why}")]
    Exists {
        /// The destination.
        path: PathBuf,
        /// What stands there, and what to do.
        why: String,
    },
    /// The caller gave tensors, bytes or an order that do not fit together.
    #[error("{0}")]
    Misuse(String),
}

impl CheckpointError {
    pub(super) fn corrupt(file: &str, what: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    pub(super) fn unsupported(file: &str, what: impl Into<String>) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

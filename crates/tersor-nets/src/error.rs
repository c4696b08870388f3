//! What can go wrong.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint's tensors are not those of the network.
    #[error("the checkpoint does not fit the network {network}:{}", list(.missing, .unexpected, .misshapen))]
    Mismatch {
        /// The network.
        network: String,
        /// Parameters that the checkpoint lacks.
        missing: Vec<String>,
        /// Tensors that the network does not have.
        unexpected: Vec<String>,
        /// Tensors of another shape, each with both shapes.
        misshapen: Vec<String>,
    },
    /// A batch, option or network that an operation cannot work on.
    #[error("{0}")]
    Input(String),
    /// No file of the size that was asked for.
    #[error("{0}")]
    Size(String),
    /// A layer for which a method has no rule.
    #[error("{method} has no rule for {kind} layers, such as {layer:?}; use {remedy}")]
    Unsupported {
        /// The method.
        method: &'static str,
        /// The kind of layer.
        kind: &'static str,
        /// Its name.
        layer: String,
        /// What works instead.
        remedy: &'static str,
    },
    /// Training went astray.
    #[error("{0}")]
    Diverged(String),
    /// A file of this crate cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// From the library of checkpoints and files.
    #[error(transparent)]
    Tersor(#[from] tersor::Error),
    /// From reading or writing a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] tersor::checkpoint::CheckpointError),
    /// From the codec.
    #[error(transparent)]
    Codec(#[from] tersor_codec::Error),
    /// From a quantizer.
    #[error(transparent)]
    Quant(#[from] tersor_quant::Error),
    /// From a data set.
    #[error(transparent)]
    Data(#[from] tersor_data::DataError),
    /// A defect of this crate.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl Error {
    /// What reading or writing a file came to.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Up to this many names of each kind are listed.
const LISTED: usize = 8;

fn list(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let parts = [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misshapen),
    ];
    let lines = parts
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| {
            let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>();
            let more = match names.len().saturating_sub(LISTED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("\n  {what}: {}{more}", shown.join(", "))
        });
    lines.collect()
}

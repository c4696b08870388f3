//! Why a data set could not be read.

use crate::official::Official;
use std::path::{Path, PathBuf};

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Files of a well-known data set are not there.
    #[error("no {official} in {}: {} not found\n{}", folder.display(), files.join(", "), official.remedy(files))]
    Missing {
        /// Where they were looked for.
        folder: PathBuf,
        /// The names looked for, without `.gz`.
        files: Vec<String>,
        /// Where to get them.
        official: Official,
    },
    /// A folder has no images in one of the layouts understood.
    #[error("{}: {what}", folder.display())]
    Layout {
        /// The folder.
        folder: PathBuf,
        /// What is there or is not, and what is expected.
        what: String,
    },
    /// A file is not what its format asks for.
    #[error("{}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong: the value found and those allowed.
        what: String,
    },
    /// An image could not be decoded.
    #[error("{}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// A table of labels could not be read.
    #[error("{}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A file or folder could not be read.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Settings that contradict each other or the data.
    #[error("{0}")]
    Options(String),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, DataError>;

impl DataError {
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

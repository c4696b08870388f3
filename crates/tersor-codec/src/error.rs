//! Why bytes could not be decoded, or values not be encoded.

/// What went wrong in encoding or decoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start as a tersor file does.
    #[error("not a .tersor file: it starts with {found:02x?}, a .tersor file with 8f 54 45 52 53 4f 52")]
    NotTersor {
        /// The first bytes found, at most seven.
        found: Vec<u8>,
    },
    /// A version that this decoder does not know.
    #[error("format version {found} is not supported; this build reads version {supported}")]
    UnsupportedVersion {
        /// Version of the file.
        found: u8,
        /// Version that this build reads.
        supported: u8,
    },
    /// A coder that this decoder does not know.
    #[error(
        "coder number {code} is not supported by this version of tersor; decode the file with a newer one"
    )]
    UnknownCoder {
        /// Number of the coder in the file.
        code: u64,
    },
    /// The input is shorter than it says.
    #[error("truncated: the file ends inside {part}")]
    Truncated {
        /// What was being read.
        part: &'static str,
    },
    /// A checksum does not match: the bytes were changed after they were written.
    #[error("checksum mismatch in {part}: the bytes are damaged; fetch the file again")]
    Checksum {
        /// What the checksum covers.
        part: String,
    },
    /// The bytes contradict the format.
    #[error("corrupt {part}: {what}")]
    Corrupt {
        /// What was being read.
        part: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Decoding would need more than the caller allows.
    #[error("{what} is {needed}, above the limit of {limit}; raise the limit if you trust the file")]
    LimitExceeded {
        /// What would be too large.
        what: &'static str,
        /// How much the file asks for.
        needed: u64,
        /// How much the caller allows.
        limit: u64,
    },
    /// The file has no tensor of that name.
    #[error("the file has no tensor {name:?}")]
    NoSuchTensor {
        /// The name asked for.
        name: String,
    },
    /// The caller handed over something that no file can hold.
    #[error("cannot encode {what}")]
    Invalid {
        /// What, and which rule it breaks.
        what: String,
    },
}

/// The result of encoding or decoding.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn corrupt(part: &'static str, what: impl Into<String>) -> Self {
        Self::Corrupt {
            part,
            what: what.into(),
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}

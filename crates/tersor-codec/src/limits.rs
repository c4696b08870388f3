//! What a decoder may spend on a file it does not trust.

/// Bounds on what a file may ask of a decoder; exceeding one is [`Error::LimitExceeded`](crate::Error::LimitExceeded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all decoded tensors and blobs together. Default: 16 GiB.
    pub max_decoded_bytes: u64,
    /// Number of tensors and blobs. Default: 2^20.
    pub max_tensors: u64,
    /// Bytes of all names, shapes, codebooks and metadata in memory. Default: 256 MiB.
    pub max_directory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_decoded_bytes: 16 << 30,
            max_tensors: 1 << 20,
            max_directory_bytes: 256 << 20,
        }
    }
}

impl Limits {
    /// No bound but those of the format itself: for files that you made.
    pub const NONE: Self = Self {
        max_decoded_bytes: u64::MAX,
        max_tensors: u64::MAX,
        max_directory_bytes: u64::MAX,
    };

    /// Sets [`max_decoded_bytes`](Self::max_decoded_bytes).
    #[must_use]
    pub fn with_max_decoded_bytes(mut self, bytes: u64) -> Self {
        self.max_decoded_bytes = bytes;
        self
    }
}

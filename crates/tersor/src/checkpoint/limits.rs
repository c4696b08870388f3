//! How much memory a checkpoint may ask for.

use super::CheckpointError;

/// Bytes that any file may expand to by default, however small it is.
const BASE_EXPANDED_BYTES: u64 = 1 << 30;
/// Factor by which a file may expand beyond that by default. Deflate reaches 1032 on zeros; real weights stay below 2
/// and pruned ones below 30.
const EXPANSION_FACTOR: u64 = 64;

/// How much memory reading a checkpoint may take beyond the file itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Most bytes that the tensors of one file may come to when its members are inflated or its views written out
    /// (a view with stride 0 repeats its storage). Default: 1 GiB + 64 x the file's size.
    pub max_expanded_bytes: Option<u64>,
    /// Largest file beside the weights that is carried along. Larger ones are left out with a note. Default: 64 MiB.
    pub max_blob_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_expanded_bytes: None,
            max_blob_bytes: 64 << 20,
        }
    }
}

impl ReadLimits {
    /// Sets [`max_expanded_bytes`](Self::max_expanded_bytes).
    #[must_use]
    pub fn with_max_expanded_bytes(mut self, bytes: u64) -> Self {
        self.max_expanded_bytes = Some(bytes);
        self
    }

    /// Sets [`max_blob_bytes`](Self::max_blob_bytes).
    #[must_use]
    pub fn with_max_blob_bytes(mut self, bytes: u64) -> Self {
        self.max_blob_bytes = bytes;
        self
    }

    pub(super) fn budget(&self, file_bytes: usize) -> Budget {
        let default =
            BASE_EXPANDED_BYTES.saturating_add((file_bytes as u64).saturating_mul(EXPANSION_FACTOR));
        let limit = self.max_expanded_bytes.unwrap_or(default);
        Budget { limit, spent: 0 }
    }
}

/// What is left of a file's allowance.
pub(super) struct Budget {
    limit: u64,
    spent: u64,
}

impl Budget {
    /// Takes `bytes` for `what`, before anything is allocated.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        file: &str,
        what: impl FnOnce() -> String,
    ) -> Result<(), CheckpointError> {
        let needed = self.spent.saturating_add(bytes);
        if needed > self.limit {
            let (file, what) = (file.to_owned(), what());
            return Err(CheckpointError::LimitExceeded {
                file,
                what,
                needed,
                limit: self.limit,
            });
        }
        self.spent = needed;
        Ok(())
    }
}

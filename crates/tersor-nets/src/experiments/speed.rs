//! How long files take.

use crate::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tersor_codec::{FileReader, Limits};

/// How long a file took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Seconds that it was in the making, of the run that finished it: sensitivities, and trainings that were there, count for nothing.
    pub made_s: f64,
    /// Seconds from the bytes of the file to those of all tensors, with all checks, on one thread: the least of five runs.
    pub decode_s: f64,
    /// Bytes of the tensors over these seconds.
    pub decode_bytes_per_s: f64,
}

/// Runs of decoding.
const RUNS: usize = 5;

impl Speed {
    /// Of a file that was so long in the making.
    ///
    /// # Errors
    /// If the file cannot be decoded.
    pub(super) fn new(made_s: f64, file: &[u8]) -> Result<Self> {
        let reader = FileReader::new(file, Limits::default())?;
        let directory = reader.directory();
        let bytes: u64 = directory.groups.iter().map(|g| directory.decoded_bytes(g)).sum();
        let mut decode_s = f64::INFINITY;
        for _ in 0..RUNS {
            let start = Instant::now();
            reader.verify()?;
            decode_s = decode_s.min(start.elapsed().as_secs_f64());
        }
        Ok(Self {
            made_s,
            decode_s,
            decode_bytes_per_s: bytes as f64 / decode_s,
        })
    }
}

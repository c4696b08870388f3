//! How long files take.

use crate::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tersor_codec::{FileReader, Limits};

/// How long a file took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Seconds that it was in the making, of the run that finished it: sensitivities and trainings that were there count for nothing.
    pub made_s: f64,
    /// Values decoded per second on one thread, from the bytes of the file to those of all tensors, with all checks: the best of a few
    /// runs.
    pub decoded_per_s: f64,
}

/// Runs of decoding.
const RUNS: usize = 5;

/// Values decoded per second.
///
/// # Errors
/// If the file cannot be decoded.
pub(super) fn decoded_per_s(file: &[u8]) -> Result<f64> {
    let reader = FileReader::new(file, Limits::default())?;
    let directory = reader.directory();
    let n: u64 = directory
        .groups
        .iter()
        .flat_map(|g| &g.segments)
        .map(|s| s.len)
        .sum();
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        reader.verify()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(n as f64 / least)
}

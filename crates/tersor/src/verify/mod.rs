//! Whether a file is whole, and how far it is from an original.

mod beside;
mod compare;
mod errors;

pub use beside::Difference;
pub use compare::{CompareReport, Form, Mismatch, TensorError, compare};

use crate::progress::Progress;
use crate::{Result, decompress};
use tersor_codec::FileReader;

/// Decodes everything and checks every checksum and the digest.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(reader: &FileReader<'_>, progress: &dyn Progress) -> Result<()> {
    progress.start("verify", decompress::total_bytes(reader.directory()));
    let digests = decompress::digests(reader, progress)?;
    reader.check_digest(digests)?;
    progress.finish();
    Ok(())
}

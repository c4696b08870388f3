//! Writing a file so that it appears whole or not at all.

use crate::checkpoint::StagedFile;
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Writes a file under a temporary name beside `path` and renames it when it is complete.
///
/// # Errors
/// [`Error::Exists`] if there is a file and `overwrite` is false; [`Error::Checkpoint`] if something there is not a file, or it
/// cannot be written.
pub fn write_file(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    if !overwrite && path.exists() {
        return Err(Error::Exists(path.into()));
    }
    let file = StagedFile::create(path, overwrite)?;
    file.writer()?.write_all(bytes).map_err(Error::io(path))?;
    Ok(file.commit()?)
}

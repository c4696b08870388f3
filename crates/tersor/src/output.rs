//! Writing a file so that it appears whole or not at all.

use crate::checkpoint::StagedFile;
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Tries whether a file can be made beside `path`, as [`write_file`] does.
///
/// # Errors
/// [`Error::Io`] if not.
pub fn check_writable(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".tersor-").tempfile_in(folder);
    // What is wrong, without the name that was tried.
    made.map(drop)
        .map_err(|error| Error::io(folder)(error.kind().into()))
}

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

//! Writing a file so that it appears whole or not at all.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;
use tempfile::Builder;

/// Writes a file under a temporary name beside `path` and renames it when it is complete.
///
/// # Errors
/// [`Error::Exists`] if there is a file and `overwrite` is false; [`Error::Io`].
pub fn write_file(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    if !overwrite && path.exists() {
        return Err(Error::Exists(path.into()));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = Builder::new()
        .prefix(".tersor-")
        .tempfile_in(folder)
        .map_err(Error::io(folder))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    set_usual_permissions(file.as_file(), path)?;
    let renamed = if overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match renamed {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(path.into())),
        Err(e) => Err(Error::io(path)(e.error)),
    }
}

/// Temporary files are private to their owner; results are as readable as other new files.
#[cfg(unix)]
fn set_usual_permissions(file: &std::fs::File, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
        .map_err(Error::io(path))
}

#[cfg(not(unix))]
fn set_usual_permissions(_: &std::fs::File, _: &Path) -> Result<()> {
    Ok(())
}

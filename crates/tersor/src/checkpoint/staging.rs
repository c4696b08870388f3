//! Files and folders that appear under their final name only when they are complete.

use super::{CheckpointError, paths, stale};
use crate::temporary::Temporary;
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tempfile::{Builder, NamedTempFile, TempDir};

/// What becomes a checkpoint begins with this, and the name of the destination; see [`stale`].
const PREFIX: &str = ".tersor-";
/// What was a checkpoint until just now, and is removed when its successor is in place. Never taken for a leftover: if a
/// process is killed in between, the former folder is there.
const ASIDE_PREFIX: &str = ".tersor_old-";

/// A temporary name may be private; the final one follows the user's mask as every new file does.
fn builder(prefix: &OsStr, mode: u32) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).rand_bytes(stale::RANDOM_CHARACTERS);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// What the temporary names of a destination begin with.
fn prefix(dest: &Path) -> OsString {
    let mut prefix = OsString::from(PREFIX);
    prefix.push(dest.file_name().unwrap_or_default());
    prefix.push("-");
    prefix
}

/// The folder that holds `dest`.
fn parent(dest: &Path) -> Result<&Path, CheckpointError> {
    match (dest.file_name(), dest.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        (Some(_), Some(parent)) => Ok(parent),
        _ => {
            let why = "it does not end in a name".to_owned();
            Err(CheckpointError::BadPath {
                path: dest.to_string_lossy().into_owned(),
                why,
            })
        }
    }
}

fn exists(dest: &Path, why: &str) -> CheckpointError {
    CheckpointError::Exists {
        path: dest.to_path_buf(),
        why: why.to_owned(),
    }
}

/// A file under a temporary name beside its destination; removed if dropped.
pub(crate) struct StagedFile {
    temp: NamedTempFile,
    dest: PathBuf,
    overwrite: bool,
    _temporary: Temporary,
}

impl StagedFile {
    pub(crate) fn create(dest: &Path, overwrite: bool) -> Result<Self, CheckpointError> {
        match fs::symlink_metadata(dest) {
            Ok(meta) if meta.is_dir() => return Err(exists(dest, "is a folder; name a file")),
            Ok(_) if !fs::metadata(dest).map_or(true, |meta| meta.is_file()) => {
                return Err(exists(
                    dest,
                    "is no regular file and cannot be replaced; name another",
                ));
            }
            Ok(_) if !overwrite => {
                return Err(exists(dest, "exists; allow overwriting or name another file"));
            }
            _ => {}
        }
        let folder = parent(dest)?;
        let prefix = prefix(dest);
        stale::remove(folder, &prefix);
        let temp = loop {
            let temp = builder(&prefix, 0o666)
                .tempfile_in(folder)
                .map_err(CheckpointError::io("create a file in", folder))?;
            // Another process may have taken it for a leftover before it was locked.
            if stale::lock(temp.as_file()).is_err() || temp.path().exists() {
                break temp;
            }
        };
        Ok(Self {
            _temporary: Temporary::new(temp.path()),
            temp,
            dest: dest.to_path_buf(),
            overwrite,
        })
    }

    /// A second handle to write through.
    pub(crate) fn writer(&self) -> Result<File, CheckpointError> {
        self.temp
            .as_file()
            .try_clone()
            .map_err(CheckpointError::io("write", &self.dest))
    }

    /// Moves the file to its destination.
    pub(crate) fn commit(self) -> Result<(), CheckpointError> {
        let dest = self.dest;
        let moved = if self.overwrite {
            self.temp.persist(&dest)
        } else {
            self.temp.persist_noclobber(&dest)
        };
        match moved {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(
                &dest,
                "has appeared meanwhile; allow overwriting or name another file",
            )),
            Err(error) => Err(CheckpointError::Io {
                action: "rename a finished file to",
                path: dest,
                source: error.error,
            }),
        }
    }
}

/// A folder under a temporary name beside its destination; removed with all it holds if dropped.
pub(super) struct StagedFolder {
    temp: TempDir,
    dest: PathBuf,
    replace: bool,
    _temporary: Temporary,
    /// Says that the folder is in use, on systems where a folder can say so.
    _lock: Option<File>,
}

impl StagedFolder {
    /// `files` are the relative paths that will be written. A folder that is there already is only replaced if it
    /// holds nothing else: overwriting a checkpoint is no licence to delete what lies beside it.
    pub(super) fn create<'p>(
        dest: &Path,
        overwrite: bool,
        files: impl Iterator<Item = &'p str>,
    ) -> Result<Self, CheckpointError> {
        let replace = match fs::symlink_metadata(dest) {
            Ok(meta) if !meta.is_dir() => {
                return Err(exists(
                    dest,
                    "is a file, but the checkpoint is a folder; name another",
                ));
            }
            Ok(_) => {
                let files: std::collections::HashSet<PathBuf> =
                    files.map(|path| paths::join(dest, path)).collect();
                let mut strangers = Vec::new();
                let n = survey(dest, &mut |path| {
                    if !files.contains(path) {
                        strangers.push(path.to_path_buf());
                    }
                })?;
                if let Some(stranger) = strangers.first().map(|path| path.to_string_lossy()) {
                    let why = format!(
                        "exists and holds {stranger:?}, which is not part of the checkpoint; name another folder or remove it"
                    );
                    return Err(exists(dest, &why));
                }
                if n > 0 && !overwrite {
                    return Err(exists(dest, "exists; allow overwriting or name another folder"));
                }
                true
            }
            Err(_) => false,
        };
        let folder = parent(dest)?;
        let prefix = prefix(dest);
        stale::remove(folder, &prefix);
        let (temp, lock) = loop {
            let temp = builder(&prefix, 0o777)
                .tempdir_in(folder)
                .map_err(CheckpointError::io("create a folder in", folder))?;
            let lock = File::open(temp.path()).ok();
            let locked = lock.as_ref().map(stale::lock);
            // Another process may have taken it for a leftover before it was locked.
            if !matches!(locked, Some(Ok(()))) || temp.path().exists() {
                break (temp, lock);
            }
        };
        Ok(Self {
            _temporary: Temporary::new(temp.path()),
            temp,
            dest: dest.to_path_buf(),
            replace,
            _lock: lock,
        })
    }

    /// Creates a file; its path has been checked.
    pub(super) fn create_file(&self, path: &str) -> Result<File, CheckpointError> {
        let full = paths::join(self.temp.path(), path);
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder).map_err(CheckpointError::io("create the folder", folder))?;
        }
        File::create_new(&full).map_err(CheckpointError::io("create", full))
    }

    /// Moves the folder to its destination.
    pub(super) fn commit(self) -> Result<(), CheckpointError> {
        let dest = &self.dest;
        let rename = |source: &Path, target: &Path| {
            fs::rename(source, target).map_err(CheckpointError::io("rename a finished folder to", target))
        };
        if !self.replace {
            // Renaming onto an empty folder would pass on Unix; whatever appeared meanwhile is left alone.
            if fs::symlink_metadata(dest).is_ok() {
                return Err(exists(
                    dest,
                    "has appeared meanwhile; allow overwriting or name another folder",
                ));
            }
            rename(self.temp.path(), dest)?;
            let _ = self.temp.keep(); // it has moved: there is nothing to remove
            return Ok(());
        }
        let folder = parent(dest)?;
        let aside = builder(OsStr::new(ASIDE_PREFIX), 0o777)
            .tempdir_in(folder)
            .map_err(CheckpointError::io("create a folder in", folder))?;
        let old = aside.path().join("old");
        rename(dest, &old)?;
        if let Err(error) = rename(self.temp.path(), dest) {
            if fs::rename(&old, dest).is_err() {
                let _ = aside.keep(); // better a folder with an odd name than none
            }
            return Err(error);
        }
        let _ = self.temp.keep();
        aside
            .close()
            .map_err(CheckpointError::io("remove the former folder beside", dest))
    }
}

/// Shows every file under a folder, links not followed, and counts them.
fn survey(folder: &Path, show: &mut dyn FnMut(&Path)) -> Result<usize, CheckpointError> {
    let mut n = 0;
    for entry in fs::read_dir(folder).map_err(CheckpointError::io("read", folder))? {
        let entry = entry.map_err(CheckpointError::io("read", folder))?;
        let kind = entry
            .file_type()
            .map_err(CheckpointError::io("read", entry.path()))?;
        if kind.is_dir() {
            n += survey(&entry.path(), show)?;
        } else {
            show(&entry.path());
            n += 1;
        }
    }
    Ok(n)
}

//! Files and folders that appear under their final name only when they are complete.

use super::{CheckpointError, paths};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tempfile::{Builder, NamedTempFile, TempDir};

const PREFIX: &str = ".tersor-";

/// A temporary name may be private; the final one follows the user's mask as every new file does.
fn builder<'b>(mode: u32) -> Builder<'b, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
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
        let temp = builder(0o666)
            .tempfile_in(folder)
            .map_err(CheckpointError::io("create a file in", folder))?;
        Ok(Self {
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
        let temp = builder(0o777)
            .tempdir_in(folder)
            .map_err(CheckpointError::io("create a folder in", folder))?;
        Ok(Self {
            temp,
            dest: dest.to_path_buf(),
            replace,
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
        let aside = builder(0o777)
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

//! Where bytes go, looked at before the work begins that makes them.

use crate::files::{CHECKPOINT_EXTENSIONS, EXTENSION, extension, is_stream};
use anyhow::{Context as _, bail};
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

/// Where a file is going to be written.
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A device or a pipe, which is written to and not replaced.
    Device(PathBuf),
    /// A file.
    File {
        /// Its name.
        path: PathBuf,
        /// Whether one that is there may be replaced.
        overwrite: bool,
    },
}

impl Output {
    /// Looks at a destination before the work begins that fills it.
    ///
    /// # Errors
    /// If it lies in a folder that does not exist or cannot be written to, is the input, a terminal, or a folder unless
    /// `is_folder`, or exists and `overwrite` is false.
    pub(crate) fn prepare(
        path: &Path,
        input: &Path,
        overwrite: bool,
        is_folder: bool,
    ) -> anyhow::Result<Self> {
        if is_stream(path) {
            check_stdout()?;
            return Ok(Self::Stdout);
        }
        check_folder(path)?;
        if let Ok(found) = fs::metadata(path) {
            if found.is_dir() && !is_folder {
                bail!("{} is a folder; name a file", path.display());
            }
            if !found.is_dir() && !found.is_file() {
                return Ok(Self::Device(path.into()));
            }
            check_not_input(path, input)?;
            if !overwrite {
                return Err(tersor::Error::Exists(path.into()).into());
            }
        }
        check_writable(path)?;
        Ok(Self::File {
            path: path.into(),
            overwrite,
        })
    }

    /// What to write to, if it is no file that has to appear whole.
    pub(crate) fn stream(&self) -> anyhow::Result<Option<Box<dyn Write>>> {
        Ok(match self {
            Self::Stdout => Some(Box::new(io::stdout().lock())),
            Self::Device(path) => {
                let file = OpenOptions::new().write(true).open(path);
                Some(Box::new(
                    file.with_context(|| format!("cannot write to {}", path.display()))?,
                ))
            }
            Self::File { .. } => None,
        })
    }

    /// Writes all bytes, to a file so that it appears whole or not at all.
    pub(crate) fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if let Some(mut stream) = self.stream()? {
            return stream
                .write_all(bytes)
                .and_then(|()| stream.flush())
                .context("cannot write the output");
        }
        match self {
            Self::File { path, overwrite } => Ok(tersor::write_file(path, bytes, *overwrite)?),
            Self::Stdout | Self::Device(_) => Ok(()),
        }
    }
}

/// Refuses to write what is not text to a terminal.
pub(crate) fn check_stdout() -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        bail!("standard output is a terminal, which binary data would upset; redirect it or give -o FILE");
    }
    Ok(())
}

/// Refuses a destination in a folder that does not exist or cannot be written to.
pub(crate) fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!(
            "the folder {} does not exist; make it or choose another output",
            folder.display()
        );
    }
    Ok(())
}

/// Refuses a folder that no file can be made in. Only trying tells.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    tersor::check_writable(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses a name for a `.tersor` file that promises a checkpoint.
pub(crate) fn check_compressed_name(path: &Path) -> anyhow::Result<()> {
    let found = extension(path);
    if CHECKPOINT_EXTENSIONS.contains(&found.as_str()) {
        bail!(
            "{} is going to be a .tersor file, not a .{found} file; name it {}",
            path.display(),
            path.with_extension(EXTENSION).display()
        );
    }
    Ok(())
}

/// Refuses to replace the input, even if files may be overwritten: sources are kept.
pub(crate) fn check_not_input(path: &Path, input: &Path) -> anyhow::Result<()> {
    let same = |a: &Path, b: &Path| {
        fs::canonicalize(a)
            .ok()
            .zip(fs::canonicalize(b).ok())
            .is_some_and(|(a, b)| a == b)
    };
    if same(path, input) {
        bail!(
            "{} is the input, which is never replaced; name another output",
            path.display()
        );
    }
    Ok(())
}

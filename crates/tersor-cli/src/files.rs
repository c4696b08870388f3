//! Where bytes come from and where they go: files, standard streams, and the names chosen if none is given.

use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use tersor::checkpoint::Checkpoint;
use tersor::codec::{FileReader, Limits, MAGIC};

/// Endings of checkpoint files, which `.tersor` replaces. Other endings may be part of a name, as in `llama-3.2`.
const CHECKPOINT_EXTENSIONS: [&str; 7] = ["safetensors", "pt", "pth", "th", "bin", "ckpt", "npz"];
/// Ending of the index of a sharded checkpoint.
const INDEX_SUFFIX: &str = ".index.json";
/// Extension of compressed files.
const EXTENSION: &str = "tersor";

/// Whether a path means a standard stream.
pub(crate) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// An output in messages.
pub(crate) fn label_output(path: &Path) -> String {
    if is_stream(path) {
        "standard output".into()
    } else {
        path.display().to_string()
    }
}

/// An input in messages.
pub(crate) fn label(path: &Path) -> String {
    if is_stream(path) {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

/// The name of an input without its folder.
pub(crate) fn title(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| label(path), |name| name.to_string_lossy().into_owned())
}

fn append(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The name of the compressed file of `input`: beside it, `-` for standard input.
pub(crate) fn compressed_name(input: &Path) -> anyhow::Result<PathBuf> {
    if is_stream(input) {
        return Ok(input.into());
    }
    if input.is_dir() {
        // `.` and `..` have no name of their own.
        let named = match input.file_name() {
            Some(name) => input.with_file_name(name),
            None => fs::canonicalize(input).with_context(|| format!("cannot read {}", input.display()))?,
        };
        if named.file_name().is_none() {
            bail!(
                "{} has no name to derive the output's from; give -o",
                input.display()
            );
        }
        return Ok(append(&named, ".tersor"));
    }
    let name = input.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let input = match name.strip_suffix(INDEX_SUFFIX) {
        Some(stem) => &input.with_file_name(stem),
        None => input,
    };
    let extension = input.extension().and_then(OsStr::to_str).unwrap_or_default();
    if CHECKPOINT_EXTENSIONS.contains(&extension) {
        Ok(input.with_extension(EXTENSION))
    } else {
        Ok(append(input, ".tersor"))
    }
}

/// The name that a compressed file decodes to: a file with this ending, or a folder without one.
pub(crate) fn decompressed_name(input: &Path, ending: Option<&str>) -> PathBuf {
    if is_stream(input) {
        return input.into();
    }
    let is_tersor = input.extension().is_some_and(|e| e == EXTENSION);
    let stem = if is_tersor {
        input.with_extension("")
    } else {
        input.to_owned()
    };
    match ending {
        Some(ending) => append(&stem, &format!(".{ending}")),
        None if is_tersor => stem,
        None => append(&stem, ".decompressed"),
    }
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        bail!("standard input is a terminal; pipe a file into it or name one");
    }
    let mut bytes = Vec::new();
    stdin
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    Ok(bytes)
}

/// The bytes of a file or of standard input.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if is_stream(path) {
        return read_stdin();
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Opens a checkpoint: a file, a folder, or one file from standard input.
pub(crate) fn open_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    if is_stream(path) {
        return Ok(Checkpoint::from_bytes(read_stdin()?, "standard input")?);
    }
    if is_tersor(path) {
        bail!(
            "{} is a .tersor file already; a checkpoint is needed here",
            path.display()
        );
    }
    Ok(Checkpoint::open(path)?)
}

/// Whether a file begins as a `.tersor` file does.
pub(crate) fn is_tersor(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    path.is_file()
        && fs::File::open(path)
            .and_then(|mut file| file.read_exact(&mut start))
            .is_ok()
        && start == MAGIC
}

/// Reads the directory of a `.tersor` file; errors name the file.
pub(crate) fn open_tersor<'b>(
    bytes: &'b [u8],
    path: &Path,
    limits: Limits,
) -> anyhow::Result<FileReader<'b>> {
    FileReader::new(bytes, limits).with_context(|| label(path))
}

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
    /// If it exists and `overwrite` is false, is the input, a terminal, or a folder unless `is_folder`, or lies in a folder
    /// that does not exist.
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

/// Refuses a destination in a folder that does not exist, before time is spent on what it is to hold.
fn check_folder(path: &Path) -> anyhow::Result<()> {
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

/// Refuses to replace the input, even if files may be overwritten: sources are kept.
fn check_not_input(path: &Path, input: &Path) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_endings_of_checkpoints_are_replaced() {
        let name = |input: &str| {
            compressed_name(Path::new(input))
                .expect("a name")
                .display()
                .to_string()
        };
        assert_eq!(name("a/net.safetensors"), "a/net.tersor");
        assert_eq!(name("net-0.25"), "net-0.25.tersor");
        assert_eq!(name("model.safetensors.index.json"), "model.tersor");
        assert_eq!(name("-"), "-");
    }

    #[test]
    fn decoded_names_are_a_file_or_a_folder() {
        let name = |input: &str, ending| decompressed_name(Path::new(input), ending).display().to_string();
        assert_eq!(name("a/net-0.25.tersor", Some("npz")), "a/net-0.25.npz");
        assert_eq!(name("net-0.25.tersor", None), "net-0.25");
        assert_eq!(name("net", None), "net.decompressed");
        assert_eq!(name("net", Some("safetensors")), "net.safetensors");
    }
}

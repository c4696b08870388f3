//! Where bytes come from: files, standard input; and the names of outputs if none is given.

use anyhow::{Context as _, anyhow, bail};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use tersor::checkpoint::{Checkpoint, Content};
use tersor::codec::{Error, FileReader, Limits, MAGIC};

/// Endings of checkpoint files, which `.tersor` replaces. Other endings may be part of a name, as in `llama-3.2`.
pub(crate) const CHECKPOINT_EXTENSIONS: [&str; 7] = ["safetensors", "pt", "pth", "th", "bin", "ckpt", "npz"];
/// Ending of the index of a sharded checkpoint.
const INDEX_SUFFIX: &str = ".index.json";
/// Extension of compressed files.
pub(crate) const EXTENSION: &str = "tersor";

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

/// The extension of a path in lower case; empty if it has none.
pub(crate) fn extension(path: &Path) -> String {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.unwrap_or_default().to_lowercase()
}

/// Refuses an input that is not there, before anything else is looked at.
pub(crate) fn check_input(path: &Path) -> anyhow::Result<()> {
    if !is_stream(path) {
        fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(())
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
    if CHECKPOINT_EXTENSIONS.contains(&extension(input).as_str()) {
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

/// The bytes of a `.tersor` file or of standard input.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if is_stream(path) {
        return read_stdin();
    }
    if path.is_dir() {
        bail!(
            "{0} is a folder, not a .tersor file; compress it with `tersor compress {0}`",
            path.display()
        );
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
    FileReader::new(bytes, limits).map_err(|error| match mistaken(&error, bytes, path) {
        Some(instead) => instead,
        None => anyhow!(error).context(label(path)),
    })
}

/// What to say about a healthy file of another kind that was taken for a `.tersor` file.
pub(crate) fn mistaken(error: &Error, bytes: &[u8], path: &Path) -> Option<anyhow::Error> {
    if !matches!(error, Error::NotTersor { .. }) {
        return None;
    }
    let label = label(path);
    Some(match Content::of(bytes)? {
        Content::Checkpoint(kind) => anyhow!(
            "{label} is {kind}, not a .tersor file; compress it with `tersor compress {}`",
            path.display()
        ),
        Content::Foreign(what) => anyhow!("{label} is not a .tersor file: {what}"),
    })
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

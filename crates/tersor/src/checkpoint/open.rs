//! Which format a file has.

use super::{
    Checkpoint, CheckpointError, ReadLimits, archive::Archive, folder, mapped::FileBytes, npz, pytorch,
    safetensors, sharded,
};
use std::path::Path;

/// Ending of the names of index files.
pub(super) const INDEX_SUFFIX: &str = ".index.json";
const ZIP_MAGIC: &[u8] = b"PK";

pub(super) fn open(path: &Path, limits: &ReadLimits) -> Result<Checkpoint, CheckpointError> {
    if path.is_dir() {
        return folder::open(path, limits);
    }
    let label = path.to_string_lossy();
    if label.ends_with(INDEX_SUFFIX) {
        return sharded::open_index(path, limits);
    }
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    from_file_bytes(FileBytes::open(path)?, &label, extension.as_deref(), limits)
}

/// Reads one file of weights: told by its content, then by its extension.
pub(super) fn from_file_bytes(
    bytes: FileBytes,
    file: &str,
    extension: Option<&str>,
    limits: &ReadLimits,
) -> Result<Checkpoint, CheckpointError> {
    let all = bytes.as_ref();
    if all.starts_with(ZIP_MAGIC) {
        return from_zip(bytes, file, limits);
    }
    if pytorch::is_legacy(all) {
        return pytorch::read_legacy(&bytes, file, limits);
    }
    if safetensors::detect(all) {
        return safetensors::read(&bytes, file);
    }
    if let Some(what) = foreign(all) {
        return Err(CheckpointError::unsupported(file, what));
    }
    match extension {
        Some("safetensors") => safetensors::read(&bytes, file),
        Some("npz") => from_zip(bytes, file, limits),
        Some("pt" | "pth" | "th" | "bin" | "ckpt") => pytorch::read_legacy(&bytes, file, limits),
        _ if all.is_empty() => Err(CheckpointError::corrupt(file, "it is empty")),
        _ => {
            let what = "its content is none of safetensors, PyTorch (.pt, .pth, .th, .bin) or .npz";
            Err(CheckpointError::unsupported(file, what))
        }
    }
}

fn from_zip(bytes: FileBytes, file: &str, limits: &ReadLimits) -> Result<Checkpoint, CheckpointError> {
    let archive = Archive::open(bytes, file)?;
    let entries = archive.entries(file)?;
    if entries
        .iter()
        .any(|entry| pytorch::is_pickle_name(&entry.name) || pytorch::is_script_name(&entry.name))
    {
        return pytorch::read_zip(&archive, &entries, file, limits);
    }
    if entries.is_empty() || entries.iter().any(|entry| npz::is_array_name(&entry.name)) {
        return npz::read(&archive, entries, file, limits);
    }
    let what = "this zip archive has neither data.pkl (PyTorch) nor .npy members (npz)";
    Err(CheckpointError::unsupported(file, what))
}

/// What a file is that was taken for something else, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A checkpoint that can be read: its format, with an article.
    Checkpoint(&'static str),
    /// Something else that is known: a sentence that says what, and what to do.
    Foreign(&'static str),
}

impl Content {
    /// Recognizes the bytes of a file.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(ZIP_MAGIC) {
            let zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).ok()?;
            let has = |is_such: fn(&str) -> bool| zip.file_names().flatten().any(|name| is_such(&name));
            return if has(pytorch::is_pickle_name) || has(pytorch::is_script_name) {
                Some(Self::Checkpoint("a PyTorch checkpoint"))
            } else if has(npz::is_array_name) {
                Some(Self::Checkpoint("an .npz file"))
            } else {
                Some(Self::Foreign("it is a zip archive"))
            };
        }
        if pytorch::is_legacy(bytes) {
            return Some(Self::Checkpoint("a PyTorch checkpoint"));
        }
        if safetensors::detect(bytes) {
            return Some(Self::Checkpoint("a safetensors checkpoint"));
        }
        foreign(bytes).map(Self::Foreign)
    }
}

/// Names a format that is known by its first bytes but not read.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const TAR_MAGIC_AT: usize = 257;
    if bytes
        .get(TAR_MAGIC_AT..)
        .is_some_and(|rest| rest.starts_with(b"ustar"))
    {
        return Some(
            "it is a tar archive; if PyTorch before 0.1.10 wrote it, convert it with `torch.save(torch.load(\"x.pt\"), \"x.pth\")`",
        );
    }
    let known: [(&[u8], &str); 6] = [
        (
            b"\x89HDF\r\n\x1a\n",
            "it is an HDF5 file; load it in its framework and save the weights as safetensors",
        ),
        (
            b"GGUF",
            "it is a GGUF file; start from the original checkpoint as safetensors",
        ),
        (
            b"\x93NUMPY",
            "it is a single .npy array; save it with `numpy.savez(\"x.npz\", name=array)`",
        ),
        (
            b"version https://git-lfs",
            "it is a Git LFS pointer, not the file itself; run `git lfs pull`",
        ),
        (b"\x1f\x8b", "it is compressed with gzip; decompress it first"),
        (
            b"\x28\xb5\x2f\xfd",
            "it is compressed with zstd; decompress it first",
        ),
    ];
    known
        .into_iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, what)| what)
}

//! A Hugging Face folder: the weights, and the files that travel with them.

use super::{
    Checkpoint, CheckpointError, ReadLimits,
    convert::{self, PYTORCH, SAFETENSORS_NAME, extension},
    mapped::FileBytes,
    open, paths, pytorch, sharded,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tersor_codec::Blob;

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 16;
/// Folders of tools, not of the checkpoint.
const SKIPPED_FOLDERS: [&str; 3] = [".git", ".cache", "__pycache__"];
/// Endings of weights in formats that tersor does not carry.
const OTHER_WEIGHTS: [&str; 14] = [
    "h5",
    "msgpack",
    "onnx",
    "onnx_data",
    "ot",
    "gguf",
    "ggml",
    "tflite",
    "mlmodel",
    "pdparams",
    "npz",
    "keras",
    "nemo",
    "safetensors",
];
/// Largest PyTorch file that is carried as it is; a `training_args.bin` has some 5 kB.
const MAX_SMALL_PYTORCH_BYTES: u64 = 1 << 20;
const PYTORCH_NAME: &str = "pytorch_model.bin";

/// A file under the folder.
struct Found {
    /// Relative, with `/`.
    path: String,
    size: u64,
}

/// Which files are the weights.
enum Weights {
    Single(String),
    Sharded(String),
}

pub(super) fn open(root: &Path, limits: &ReadLimits) -> Result<Checkpoint, CheckpointError> {
    let mut notes = Vec::new();
    let mut files = Vec::new();
    list(root, "", 0, &mut files, &mut notes)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let weights = choose(root, &files)?;
    let mut checkpoint = match &weights {
        Weights::Single(name) => open_single(root, name, limits)?,
        Weights::Sharded(index) => {
            let path = paths::join(root, index);
            let bytes = FileBytes::open(&path)?;
            sharded::open_shards(root, bytes.as_ref(), &path.to_string_lossy(), limits)?
        }
    };
    let (Weights::Single(main) | Weights::Sharded(main)) = &weights;
    let is_pytorch = convert::is_pytorch_name(main);
    let used: Vec<String> = checkpoint
        .shards
        .iter()
        .map(|shard| shard.file_name.clone())
        .collect();
    if is_pytorch {
        let index = matches!(weights, Weights::Sharded(_)).then_some(main.as_str());
        convert::to_safetensors(&mut checkpoint, index);
    }
    for file in files.iter().filter(|file| !used.contains(&file.path)) {
        if is_pytorch && file.path == *main {
            continue; // the index of PyTorch files, replaced by one of safetensors
        }
        let is_main_index = file.path == *main;
        match carried(root, file, is_main_index, limits)? {
            Ok(bytes) => checkpoint.blobs.push(Blob {
                path: file.path.clone(),
                bytes,
            }),
            Err(why) => notes.push(format!("left out {:?}: {why}", file.path)),
        }
    }
    checkpoint.blobs.sort_by(|a, b| a.path.cmp(&b.path));
    checkpoint.notes.extend(notes);
    Ok(checkpoint)
}

/// Lists regular files, through links to files but not to folders, so that no link can lead in a circle.
fn list(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<Found>,
    notes: &mut Vec<String>,
) -> Result<(), CheckpointError> {
    for entry in fs::read_dir(folder).map_err(CheckpointError::io("read", folder))? {
        let entry = entry.map_err(CheckpointError::io("read", folder))?;
        let kind = entry
            .file_type()
            .map_err(CheckpointError::io("read", entry.path()))?;
        let Ok(name) = entry.file_name().into_string() else {
            notes.push(format!(
                "left out {:?}: its name is not UTF-8",
                entry.path().to_string_lossy()
            ));
            continue;
        };
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        if let Some(why) = paths::flaw(&path) {
            notes.push(format!("left out {path:?}: {why}"));
        } else if kind.is_dir() {
            if SKIPPED_FOLDERS.contains(&name.as_str()) {
                continue;
            }
            if depth + 1 >= MAX_DEPTH {
                notes.push(format!("left out {path:?}: folders are read {MAX_DEPTH} deep"));
            } else {
                list(&entry.path(), &path, depth + 1, files, notes)?;
            }
        } else {
            match fs::metadata(entry.path()) {
                Ok(meta) if meta.is_file() => files.push(Found {
                    path,
                    size: meta.len(),
                }),
                Ok(_) => notes.push(format!("left out {path:?}: it is no regular file")),
                Err(error) => notes.push(format!("left out {path:?}: {error}")),
            }
        }
    }
    Ok(())
}

/// Picks the weights in the order of the transformers library, and else the only file that could be them.
fn choose(root: &Path, files: &[Found]) -> Result<Weights, CheckpointError> {
    let top: Vec<&str> = files
        .iter()
        .map(|f| f.path.as_str())
        .filter(|path| !path.contains('/'))
        .collect();
    let has = |name: &str| top.contains(&name);
    for (single, index) in [
        (SAFETENSORS_NAME, "model.safetensors.index.json"),
        (PYTORCH_NAME, "pytorch_model.bin.index.json"),
    ] {
        if has(single) {
            return Ok(Weights::Single(single.to_owned()));
        }
        if has(index) {
            return Ok(Weights::Sharded(index.to_owned()));
        }
        let kind = extension(single);
        let is_index = |path: &&&str| path.ends_with(&format!(".{kind}{}", open::INDEX_SUFFIX));
        let is_weights = |path: &&&str| match kind.as_str() {
            "safetensors" => extension(path) == kind,
            _ => PYTORCH.contains(&extension(path).as_str()) && is_pytorch_file(&root.join(path)),
        };
        let indexes: Vec<_> = top.iter().filter(is_index).collect();
        let weights: Vec<_> = top.iter().filter(is_weights).collect();
        match (indexes.as_slice(), weights.as_slice()) {
            ([index], _) => return Ok(Weights::Sharded((**index).to_owned())),
            ([], [weights]) => return Ok(Weights::Single((**weights).to_owned())),
            ([], []) => {}
            _ => {
                let what =
                    format!("it has several weights: {weights:?}; name one of them instead of the folder");
                return Err(CheckpointError::unsupported(&root.to_string_lossy(), what));
            }
        }
    }
    let what =
        "it has no weights that are read: no *.safetensors and no PyTorch file such as pytorch_model.bin";
    Err(CheckpointError::unsupported(&root.to_string_lossy(), what))
}

fn open_single(root: &Path, name: &str, limits: &ReadLimits) -> Result<Checkpoint, CheckpointError> {
    let path: PathBuf = root.join(name);
    let bytes = FileBytes::open(&path)?;
    let mut checkpoint =
        open::from_file_bytes(bytes, &path.to_string_lossy(), Some(&extension(name)), limits)?;
    if let Some(shard) = checkpoint.shards.first_mut() {
        name.clone_into(&mut shard.file_name);
    }
    Ok(checkpoint)
}

/// The bytes of a file that travels with the weights, or why it does not.
fn carried(
    root: &Path,
    file: &Found,
    is_main_index: bool,
    limits: &ReadLimits,
) -> Result<Result<Vec<u8>, String>, CheckpointError> {
    let path = paths::join(root, &file.path);
    let (name, kind) = (
        file.path.rsplit('/').next().unwrap_or(&file.path),
        extension(&file.path),
    );
    let in_subfolder = file.path.contains('/');
    if !is_main_index {
        let indexed = name.strip_suffix(open::INDEX_SUFFIX).map(extension);
        if indexed.is_some_and(|kind| kind == "safetensors" || PYTORCH.contains(&kind.as_str()))
            && !in_subfolder
        {
            return Ok(Err("it is the index of weights that are left out".into()));
        }
        // A safetensors file of a part of the model (sentence-transformers' `2_Dense/`) has no other copy.
        if OTHER_WEIGHTS.contains(&kind.as_str()) && !(in_subfolder && kind == "safetensors") {
            return Ok(Err("it holds other weights".into()));
        }
        if PYTORCH.contains(&kind.as_str()) && is_pytorch_file(&path) {
            let is_model = ["pytorch_model", "model", "consolidated"]
                .iter()
                .any(|stem| name.starts_with(stem));
            if is_model || file.size > MAX_SMALL_PYTORCH_BYTES {
                return Ok(Err("it is PyTorch, beside the weights that were taken".into()));
            }
        }
    }
    let limit = limits.max_blob_bytes;
    if file.size > limit {
        return Ok(Err(format!(
            "it has {} bytes, files beside the weights may have {limit}",
            file.size
        )));
    }
    Ok(Ok(fs::read(&path).map_err(CheckpointError::io("read", path))?))
}

fn is_pytorch_file(path: &Path) -> bool {
    FileBytes::open(path).is_ok_and(|bytes| pytorch::detect(&bytes))
}

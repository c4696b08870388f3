//! What sharded or foldered PyTorch weights become: safetensors under the names that transformers expects.

use super::{Checkpoint, open::INDEX_SUFFIX};
use serde_json::{Map, Value, json};
use tersor_codec::{Blob, Shard};

/// The name of single-file weights in a folder.
pub(super) const SAFETENSORS_NAME: &str = "model.safetensors";
/// Endings that PyTorch files have.
pub(super) const PYTORCH: [&str; 5] = ["bin", "pt", "pth", "th", "ckpt"];

/// What follows the last '.' of a file name, in lower case.
pub(super) fn extension(name: &str) -> String {
    name.rsplit('/')
        .next()
        .and_then(|n| n.rsplit_once('.'))
        .map_or(String::new(), |(_, e)| e.to_lowercase())
}

/// Whether weights, or the index of weights, are PyTorch by their name.
pub(super) fn is_pytorch_name(name: &str) -> bool {
    PYTORCH.contains(&extension(name.strip_suffix(INDEX_SUFFIX).unwrap_or(name)).as_str())
}

/// `pytorch_model-00001-of-00002.bin` becomes `model-00001-of-00002.safetensors`.
fn renamed(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = stem
        .strip_prefix("pytorch_model")
        .map_or(stem.to_owned(), |rest| format!("model{rest}"));
    format!("{stem}.safetensors")
}

/// Renames the shards, and writes the index anew if there was one.
pub(super) fn to_safetensors(checkpoint: &mut Checkpoint, index: Option<&str>) {
    for Shard { file_name, .. } in &mut checkpoint.shards {
        let new = renamed(file_name);
        checkpoint
            .notes
            .push(format!("{file_name:?} is PyTorch; it becomes {new:?}"));
        *file_name = new;
    }
    let Some(index) = index else { return };
    let mut map = Map::new();
    let mut total = 0u64;
    for info in &checkpoint.tensors {
        let file_name = checkpoint
            .shards
            .get(info.shard as usize)
            .map_or("", |s| s.file_name.as_str());
        map.insert(info.name.clone(), Value::from(file_name));
        total = total.saturating_add(info.size_bytes().unwrap_or(0));
    }
    let path = format!(
        "{}{INDEX_SUFFIX}",
        renamed(index.strip_suffix(INDEX_SUFFIX).unwrap_or(index))
    );
    checkpoint
        .notes
        .push(format!("the index {index:?} is written anew as {path:?}"));
    let text = format!(
        "{:#}\n",
        json!({ "metadata": { "total_size": total }, "weight_map": map })
    );
    checkpoint.blobs.push(Blob {
        path,
        bytes: text.into_bytes(),
    });
}

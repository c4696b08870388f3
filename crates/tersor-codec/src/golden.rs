//! Writes the golden files in `tests/golden` and the worked example of `docs/format.md`.
//!
//! Broken files need the range coder, which is private; so the writer is here, and `tests/golden.rs` reads what it wrote.

mod example;
mod invalid;
mod valid;

use crate::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

fn info(name: &str, dtype: Dtype, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        dtype,
        shape: shape.into(),
        shard: 0,
    }
}

fn describe(valid: &valid::Valid, file: &[u8]) -> Value {
    let checkpoint = &valid.checkpoint;
    let tensors: Vec<Value> = checkpoint
        .tensors
        .iter()
        .enumerate()
        .map(|(index, tensor)| {
            json!({
                "name": tensor.info.name,
                "dtype": tensor.info.dtype.name(),
                "shape": tensor.info.shape,
                "sha256": sha256(&checkpoint.dequantize(index).unwrap()),
            })
        })
        .collect();
    let blobs: Vec<Value> = checkpoint
        .blobs
        .iter()
        .map(|blob| json!({"path": blob.path, "sha256": sha256(&blob.bytes)}))
        .collect();
    json!({
        "file": valid.file,
        "covers": valid::features(file),
        "tensors": tensors,
        "blobs": blobs,
    })
}

#[test]
#[ignore = "writes the golden files; run only when the format changes"]
fn write_golden_files() {
    let folder = folder();
    std::fs::create_dir_all(folder.join("invalid")).unwrap();
    let mut described = Vec::new();
    for valid in valid::all() {
        let file = valid.checkpoint.encode(valid.options).unwrap();
        assert!(file.len() < 3000, "{}: {} bytes", valid.file, file.len());
        described.push(describe(&valid, &file));
        // Files of a frozen version stay as they are. What an encoder writes differently now gets a name of its own.
        let path = folder.join(valid.file);
        let before = std::fs::read(&path).ok();
        assert!(
            before.is_none_or(|before| before == file),
            "{} would change",
            valid.file
        );
        std::fs::write(path, file).unwrap();
    }
    let mut broken = Vec::new();
    for invalid in invalid::all() {
        let path = format!("invalid/{}.tersor", invalid.name);
        broken.push(json!({
            "file": path,
            "clause": invalid.clause,
            "error": invalid.error,
            "message": invalid.message,
        }));
        std::fs::write(folder.join(path), invalid.file).unwrap();
    }
    // One line per file.
    let lines = |list: &[Value]| {
        let lines: Vec<String> = list.iter().map(Value::to_string).collect();
        lines.join(",\n")
    };
    let text = format!(
        "{{\"valid\": [\n{}\n], \"invalid\": [\n{}\n]}}\n",
        lines(&described),
        lines(&broken)
    );
    std::fs::write(folder.join("manifest.json"), text).unwrap();
}

#[test]
fn the_valid_golden_files_cover_every_feature() {
    let mut found = std::collections::BTreeSet::new();
    for valid in valid::all() {
        found.extend(valid::features(&valid.checkpoint.encode(valid.options).unwrap()));
    }
    for feature in valid::FEATURES {
        assert!(found.contains(*feature), "{feature} is in none of the files");
    }
    for dtype in Dtype::ALL {
        assert!(found.contains(&format!("raw {dtype}")), "no raw {dtype}");
        assert_eq!(
            found.contains(&format!("quantized {dtype}")),
            dtype.is_float(),
            "{dtype}"
        );
    }
}

#[test]
fn every_crafted_file_is_refused_for_its_own_reason() {
    let mut wrong = Vec::new();
    for invalid in invalid::all() {
        let result = FileReader::new(&invalid.file, Limits::default()).and_then(|r| r.verify());
        let shown = result.map_or_else(|e| format!("{e:?}: {e}"), |()| "accepted".into());
        if !(shown.starts_with(invalid.error) && shown.contains(invalid.message)) {
            wrong.push(format!("{}: {shown}", invalid.name));
        }
        assert!(invalid.file.len() < 3000, "{}", invalid.name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! Folders, shards, and how files come into place.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first failure, in its helpers too"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tersor::checkpoint::{Checkpoint, CheckpointError, CheckpointWriter, OutputFormat, ReadLimits};
use tersor_codec::{Blob, Dtype, Shard, TensorInfo};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn shard(file_name: &str) -> Shard {
    Shard {
        file_name: file_name.to_owned(),
        metadata: vec![("format".to_owned(), "pt".to_owned())],
    }
}

fn tensor(name: &str, shard: u32, value: u8) -> (TensorInfo, Vec<u8>) {
    let info = TensorInfo {
        name: name.to_owned(),
        dtype: Dtype::U8,
        shape: vec![2],
        shard,
    };
    (info, vec![value; 2])
}

fn blob(path: &str) -> Blob {
    Blob {
        path: path.to_owned(),
        bytes: path.as_bytes().to_vec(),
    }
}

const INDEX: &str = r#"{"metadata":{"total_size":6},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}"#;

/// Two shards whose tensors alternate, an index and two files beside.
fn sharded() -> Checkpoint {
    let index = Blob {
        path: "model.safetensors.index.json".to_owned(),
        bytes: INDEX.as_bytes().to_vec(),
    };
    let blobs = vec![blob("config.json"), index, blob("sub/tokenizer.model")];
    let tensors = vec![tensor("a", 0, 1), tensor("b", 1, 2), tensor("c", 0, 3)];
    Checkpoint::from_tensors(
        tensors,
        vec![shard("m-1.safetensors"), shard("m-2.safetensors")],
        blobs,
    )
    .unwrap()
}

fn begin<'w>(
    checkpoint: &Checkpoint,
    dest: &Path,
    overwrite: bool,
) -> Result<CheckpointWriter<'w>, CheckpointError> {
    let (tensors, shards, blobs) = (checkpoint.tensors(), checkpoint.shards(), checkpoint.blobs());
    CheckpointWriter::create(dest, OutputFormat::Safetensors, tensors, shards, blobs, overwrite)
}

fn write(checkpoint: &Checkpoint, dest: &Path, overwrite: bool) -> Result<(), CheckpointError> {
    let mut writer = begin(checkpoint, dest, overwrite)?;
    for i in 0..checkpoint.tensors().len() {
        writer.write_tensor(&checkpoint.bytes(i)?)?;
    }
    writer.finish()
}

/// Every file under a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(name, bytes)| (Path::new(path.file_name().unwrap()).join(name), bytes)));
        } else {
            found.insert(PathBuf::from(path.file_name().unwrap()), fs::read(&path).unwrap());
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    files(folder)
        .keys()
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_sharded_folder_is_written_read_and_written_again_byte_for_byte() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second) = (temp.path().join("first"), temp.path().join("second"));
    write(&sharded(), &first, false).unwrap();
    let expected = [
        "config.json",
        "m-1.safetensors",
        "m-2.safetensors",
        "model.safetensors.index.json",
        "sub/tokenizer.model",
    ];
    assert_eq!(names(&first), expected);
    let opened = Checkpoint::open(&first).unwrap();
    assert_eq!(opened.shards(), sharded().shards());
    assert_eq!(opened.blobs(), sharded().blobs());
    assert!(opened.notes().is_empty(), "{:?}", opened.notes());
    let by_shard: Vec<_> = opened
        .tensors()
        .iter()
        .map(|info| (info.name.as_str(), info.shard))
        .collect();
    assert_eq!(by_shard, [("a", 0), ("c", 0), ("b", 1)]);
    write(&opened, &second, false).unwrap();
    assert_eq!(files(&first), files(&second));

    let index = Checkpoint::open(&first.join("model.safetensors.index.json")).unwrap();
    assert_eq!(index.tensors(), opened.tensors());
    assert_eq!(index.blobs().len(), 1);
    assert_eq!(index.blobs()[0].bytes, INDEX.as_bytes());
}

#[test]
fn an_index_that_does_not_fit_its_shards_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("folder");
    write(&sharded(), &folder, false).unwrap();
    let index = folder.join("model.safetensors.index.json");
    for (old, new, part) in [
        (
            r#""c":"m-1"#,
            r#""c":"m-2"#,
            "tensor \"c\" is listed in \"m-2.safetensors\"",
        ),
        (r#""b""#, r#""x""#, "tensor \"x\""),
        ("m-2.safetensors", "../m-2.safetensors", "'..'"),
        (r#""c""#, r#""a""#, "occurs twice"),
        (
            "m-2.safetensors",
            "m-3.safetensors",
            "\"m-3.safetensors\" that it names is missing",
        ),
    ] {
        fs::write(&index, INDEX.replace(old, new)).unwrap();
        let error = Checkpoint::open(&folder).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    fs::write(&index, INDEX).unwrap();
    fs::copy(folder.join("m-1.safetensors"), folder.join("m-2.safetensors")).unwrap();
    fs::write(
        &index,
        INDEX
            .replace(r#""b""#, r#""d""#)
            .replace(r#""d":"m-2"#, r#""a2":"m-2"#),
    )
    .unwrap();
    assert!(Checkpoint::open(&folder).is_err());
    fs::write(
        &index,
        INDEX
            .replace(r#""b":"m-2"#, r#""c":"m-2"#)
            .replace(r#","c":"m-1.safetensors"}"#, "}"),
    )
    .unwrap();
    let error = Checkpoint::open(&folder).unwrap_err().to_string();
    assert!(
        error.contains("both \"m-1.safetensors\" and \"m-2.safetensors\""),
        "{error}"
    );
}

#[test]
fn small_files_travel_and_other_weights_stay() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let single = Checkpoint::from_tensors(vec![tensor("w", 0, 1)], vec![Shard::default()], vec![]).unwrap();
    write(&single, &folder.join("model.safetensors"), false).unwrap();
    for path in [
        "config.json",
        "README.md",
        "sub/vocab.txt",
        "tok.bin",
        ".git/config",
        "model.onnx",
        "tf_model.h5",
        "rust_model.ot",
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "small").unwrap();
    }
    fs::create_dir(folder.join("2_Dense")).unwrap();
    fs::copy(
        folder.join("model.safetensors"),
        folder.join("2_Dense/model.safetensors"),
    )
    .unwrap();
    fs::copy(fixture("plain.pt"), folder.join("pytorch_model.bin")).unwrap();
    fs::copy(fixture("plain.pt"), folder.join("training_args.bin")).unwrap();
    fs::write(folder.join("large.txt"), vec![b' '; 3000]).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("config.json", folder.join("link.json")).unwrap();
        std::os::unix::fs::symlink(".", folder.join("circle")).unwrap();
    }
    let limits = ReadLimits::default().with_max_blob_bytes(2500);
    let checkpoint = Checkpoint::open_with(folder, &limits).unwrap();
    assert_eq!(checkpoint.shards()[0].file_name, "model.safetensors");
    let mut paths: Vec<_> = checkpoint.blobs().iter().map(|blob| blob.path.as_str()).collect();
    paths.retain(|&path| path != "link.json");
    let expected = [
        "2_Dense/model.safetensors",
        "README.md",
        "config.json",
        "sub/vocab.txt",
        "tok.bin",
        "training_args.bin",
    ];
    assert_eq!(paths, expected);
    let notes = checkpoint.notes().join("\n");
    for name in [
        "model.onnx",
        "tf_model.h5",
        "rust_model.ot",
        "pytorch_model.bin",
        "large.txt",
    ] {
        assert!(notes.contains(name), "{name} is not in {notes}");
    }
}

#[test]
fn pytorch_folders_become_safetensors() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::copy(fixture("typed.pt"), folder.join("pytorch_model.bin")).unwrap();
    let single = Checkpoint::open(folder).unwrap();
    assert_eq!(single.shards(), [shard("model.safetensors")]);
    assert_eq!(single.blobs().len(), 1);

    fs::remove_file(folder.join("pytorch_model.bin")).unwrap();
    fs::copy(
        fixture("typed.pt"),
        folder.join("pytorch_model-00001-of-00002.bin"),
    )
    .unwrap();
    fs::copy(
        fixture("nested.pt"),
        folder.join("pytorch_model-00002-of-00002.bin"),
    )
    .unwrap();
    let one = "pytorch_model-00001-of-00002.bin";
    let two = "pytorch_model-00002-of-00002.bin";
    let index = format!(r#"{{"weight_map":{{"f8":"{one}","u16":"{one}","wrapped":"{one}","w":"{two}"}}}}"#);
    fs::write(folder.join("pytorch_model.bin.index.json"), index).unwrap();
    for path in [folder.to_owned(), folder.join("pytorch_model.bin.index.json")] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let shards = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        assert_eq!(checkpoint.shards(), shards.map(shard));
        assert!(
            !checkpoint
                .blobs()
                .iter()
                .any(|blob| blob.path.contains("pytorch")),
            "{checkpoint:?}"
        );
        let out = tempfile::tempdir().unwrap();
        write(&checkpoint, &out.path().join("out"), false).unwrap();
        let back = Checkpoint::open(&out.path().join("out")).unwrap();
        assert_eq!(back.tensors(), checkpoint.tensors());
        assert_eq!(back.shards(), checkpoint.shards());
    }
}

#[test]
fn nothing_appears_before_the_end_and_nothing_stays_after_a_failure() {
    let temp = tempfile::tempdir().unwrap();
    let single = Checkpoint::from_tensors(vec![tensor("w", 0, 1)], vec![], vec![]).unwrap();
    for (checkpoint, name) in [(single, "file"), (sharded(), "folder")] {
        let dest = temp.path().join(name);
        let mut writer = begin(&checkpoint, &dest, false).unwrap();
        writer.write_tensor(&checkpoint.bytes(0).unwrap()).unwrap();
        assert!(!dest.exists());
        drop(writer);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "dropped: {name}");
        let writer = begin(&checkpoint, &dest, false).unwrap();
        assert!(matches!(writer.finish(), Err(CheckpointError::Misuse(_))));
        assert_eq!(
            fs::read_dir(temp.path()).unwrap().count(),
            0,
            "finished too early: {name}"
        );
    }
}

#[test]
fn tensors_may_come_in_parts_but_must_be_whole() {
    let temp = tempfile::tempdir().unwrap();
    let dest = temp.path().join("out.safetensors");
    let empty = TensorInfo {
        shape: vec![0],
        ..tensor("e", 0, 0).0
    };
    let checkpoint = Checkpoint::from_tensors(
        vec![tensor("w", 0, 1), (empty, vec![]), tensor("x", 0, 2)],
        vec![],
        vec![],
    )
    .unwrap();
    let mut writer = begin(&checkpoint, &dest, false).unwrap();
    writer.write_part(&[]).unwrap();
    writer.write_part(&[1]).unwrap();
    assert!(writer.write_tensor(&[1, 1]).is_err());
    assert!(writer.write_part(&[1, 1]).is_err());
    writer.write_part(&[1]).unwrap();
    writer.write_part(&[]).unwrap();
    assert!(writer.write_tensor(&[2]).is_err());
    writer.write_tensor(&[2, 2]).unwrap();
    assert!(writer.write_part(&[]).is_err());
    writer.finish().unwrap();
    assert_eq!(*Checkpoint::open(&dest).unwrap().bytes(2).unwrap(), [2, 2]);
}

#[test]
fn nothing_is_overwritten_unasked_and_no_stranger_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    let single = Checkpoint::from_tensors(vec![tensor("w", 0, 1)], vec![], vec![]).unwrap();
    let (file, folder) = (temp.path().join("file"), temp.path().join("folder"));
    let refused = |result: Result<(), CheckpointError>| matches!(result, Err(CheckpointError::Exists { .. }));
    write(&single, &file, false).unwrap();
    assert!(refused(write(&single, &file, false)));
    assert!(
        refused(write(&sharded(), &file, true)),
        "a folder does not replace a file"
    );
    write(&single, &file, true).unwrap();

    write(&sharded(), &folder, false).unwrap();
    let before = files(&folder);
    assert!(refused(write(&sharded(), &folder, false)));
    assert!(
        refused(write(&single, &folder, true)),
        "a file does not replace a folder"
    );
    write(&sharded(), &folder, true).unwrap();
    assert_eq!(files(&folder), before);
    fs::write(folder.join("thesis.txt"), "years of work").unwrap();
    assert!(refused(write(&sharded(), &folder, true)));
    assert!(folder.join("thesis.txt").exists());
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        2,
        "no temporary name is left"
    );

    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    write(&sharded(), &empty, false).unwrap();
    assert_eq!(files(&empty), before);
}

#[test]
fn hostile_paths_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dest = temp.path().join("out");
    for path in [
        "../x",
        "/etc/x",
        "a/../../x",
        "C:\\x",
        "c:x",
        "a\\b",
        "",
        "a\0b",
        ".",
        "m.safetensors",
        "m.safetensors/x",
    ] {
        let blobs = vec![blob(path)];
        let checkpoint = Checkpoint::from_tensors(vec![], vec![shard("m.safetensors")], blobs).unwrap();
        let error = write(&checkpoint, &dest, false).unwrap_err();
        assert!(
            matches!(error, CheckpointError::BadPath { .. }),
            "{path:?}: {error}"
        );
    }
    for shards in [["a", "a"], ["a", ""], ["a", "../b"], ["a/b", "a"]] {
        let checkpoint = Checkpoint::from_tensors(vec![], shards.map(shard).to_vec(), vec![]).unwrap();
        assert!(
            matches!(
                write(&checkpoint, &dest, false),
                Err(CheckpointError::BadPath { .. })
            ),
            "{shards:?}"
        );
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn new_files_follow_the_users_mask() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (plain, dest) = (temp.path().join("plain"), temp.path().join("dest"));
    fs::write(&plain, "").unwrap();
    let single = Checkpoint::from_tensors(vec![tensor("w", 0, 1)], vec![], vec![]).unwrap();
    write(&single, &dest, false).unwrap();
    assert_eq!(mode(&dest), mode(&plain));
}

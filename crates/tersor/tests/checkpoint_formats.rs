//! Safetensors and `.npz`: every rule of the formats, in and out.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first failure, in its helpers too"
)]

use std::path::{Path, PathBuf};
use tersor::checkpoint::{Checkpoint, CheckpointError, CheckpointWriter, OutputFormat, ReadLimits};
use tersor_codec::{Blob, Dtype, Shard, TensorInfo};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn read(header: &str, n_data: usize) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes(safetensors(header, &vec![7; n_data]), "input")
}

fn error_of(header: &str, n_data: usize) -> String {
    read(header, n_data).unwrap_err().to_string()
}

fn info(name: &str, dtype: Dtype, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
        shard: 0,
    }
}

/// One tensor of every type, a scalar, an empty one, and a name that must be escaped.
fn sample() -> Checkpoint {
    let mut tensors = Vec::new();
    for (i, dtype) in Dtype::ALL.into_iter().enumerate() {
        let bytes = (0..3 * dtype.size_bytes()).map(|b| (b + i) as u8 % 2).collect();
        tensors.push((info(&format!("t.{dtype}"), dtype, &[3, 1]), bytes));
    }
    tensors.push((info("scalar", Dtype::F32, &[]), vec![0, 0, 128, 63]));
    tensors.push((info("empty", Dtype::F64, &[2, 0]), vec![]));
    tensors.push((info("quote\"\n\u{7f}é", Dtype::U8, &[1]), vec![9]));
    let metadata = vec![
        ("z".to_owned(), "last first".to_owned()),
        ("a".to_owned(), "\"".to_owned()),
    ];
    Checkpoint::from_tensors(
        tensors,
        vec![Shard {
            file_name: String::new(),
            metadata,
        }],
        vec![],
    )
    .unwrap()
}

fn stream(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut out = Vec::new();
    let (tensors, shards, blobs) = (checkpoint.tensors(), checkpoint.shards(), checkpoint.blobs());
    let mut writer = CheckpointWriter::to_stream(&mut out, tensors, shards, blobs).unwrap();
    for i in 0..tensors.len() {
        writer.write_tensor(&checkpoint.bytes(i).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    out
}

fn assert_equal(a: &Checkpoint, b: &Checkpoint) {
    assert_eq!(a.tensors(), b.tensors());
    assert_eq!(a.shards(), b.shards());
    assert_eq!(a.blobs(), b.blobs());
    for i in 0..a.tensors().len() {
        assert_eq!(a.bytes(i).unwrap(), b.bytes(i).unwrap(), "{:?}", a.tensors()[i]);
    }
}

#[test]
fn every_type_name_and_order_survives_safetensors() {
    let sample = sample();
    let bytes = stream(&sample);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
    let back = Checkpoint::from_bytes(bytes.clone(), "input").unwrap();
    assert_equal(&sample, &back);
    assert_eq!(stream(&back), bytes);
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let header = r#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let names: Vec<_> = read(header, 2)
        .unwrap()
        .tensors()
        .iter()
        .map(|t| t.name.clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn every_broken_rule_of_safetensors_is_named() {
    let tensor = |dtype: &str, shape: &str, start: u64, end: u64| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let one = |entry: &str| format!(r#"{{"w":{entry}}}"#);
    let two = |first: &str, second: &str| format!(r#"{{"v":{first},"w":{second}}}"#);
    let u8_at = |start, end: u64| tensor("U8", &format!("[{}]", end - start), start, end);
    for (header, n_data, part) in [
        (one(&tensor("F6_E2M3", "[4]", 0, 3)), 3, "\"F6_E2M3\""),
        (one(&tensor("F4", "[2]", 0, 1)), 1, "\"F4\""),
        (one(&tensor("F32", "[2]", 0, 4)), 4, "needs 8 bytes, not 0..4"),
        (one(&tensor("F32", "[4294967296,4294967296]", 0, 0)), 0, "64 bits"),
        (one(&tensor("F64", "[2305843009213693952]", 0, 0)), 0, "64 bits"),
        (one(&tensor("F32", "[-1]", 0, 4)), 4, "-1"),
        (one(&tensor("U8", "[0]", 1, 0)), 0, "needs 0 bytes, not 1..0"),
        (one(&u8_at(1, 2)), 2, "hole"),
        (two(&u8_at(0, 2), &u8_at(1, 3)), 3, "overlaps"),
        (two(&u8_at(0, 2), &u8_at(3, 4)), 4, "hole"),
        (one(&u8_at(0, 2)), 1, "holds 1 bytes"),
        (one(&u8_at(0, 2)), 3, "the tensors end at 2"),
        (r#"{"w":1}"#.into(), 0, "\"w\""),
        (
            r#"{"w":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}"#.into(),
            0,
            "duplicate field",
        ),
        (
            format!(r#"{{"w":{0},"w":{0}}}"#, u8_at(0, 1)),
            1,
            "\\\"w\\\" occurs twice",
        ),
        (
            r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(),
            0,
            "\\\"a\\\" occurs twice",
        ),
        (r#"{"__metadata__":{"a":1}}"#.into(), 0, "__metadata__"),
        (r#"{"w""#.into(), 0, "EOF"),
        (one(&u8_at(0, 1)) + "x", 1, "trailing"),
    ] {
        let error = error_of(&header, n_data);
        let plain = part.replace("\\\"", "\"");
        assert!(
            error.contains(part) || error.contains(&plain),
            "{header}: {error}"
        );
    }
    let long = Checkpoint::from_bytes([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "a.safetensors");
    assert!(long.is_err());
    let name = error_of(
        r#"{"a\u001b[31m":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}"#,
        1,
    );
    assert!(
        name.contains(r"a\u{1b}[31m") && !name.contains('\u{1b}'),
        "{name}"
    );
}

#[test]
fn every_truncation_of_safetensors_is_an_error_and_no_bit_flip_panics() {
    let mut bytes = stream(&sample());
    for n in 0..bytes.len() {
        assert!(
            Checkpoint::from_bytes(bytes[..n].to_vec(), "input").is_err(),
            "prefix of {n} bytes"
        );
    }
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(checkpoint) = Checkpoint::from_bytes(bytes.clone(), "input") {
            (0..checkpoint.tensors().len()).for_each(|i| drop(checkpoint.bytes(i).unwrap()));
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_checkpoint_in_memory_must_fit_together() {
    let float = |n: usize| (info("w", Dtype::F32, &[2]), vec![0; n]);
    assert!(Checkpoint::from_tensors(vec![float(8)], vec![], vec![]).is_ok());
    assert!(Checkpoint::from_tensors(vec![float(7)], vec![], vec![]).is_err());
    assert!(Checkpoint::from_tensors(vec![float(8), float(8)], vec![], vec![]).is_err());
    let elsewhere = (
        TensorInfo {
            shard: 1,
            ..info("w", Dtype::U8, &[0])
        },
        vec![],
    );
    assert!(Checkpoint::from_tensors(vec![elsewhere], vec![], vec![]).is_err());
    assert!(sample().bytes(99).is_err());
    assert_eq!(sample().alias_of(99), None);
}

fn check_arrays(name: &str) {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    let floats = |i: usize| {
        let dtype = checkpoint.tensors()[i].dtype;
        tersor_codec::decode_to_f32(&checkpoint.bytes(i).unwrap(), dtype).unwrap()
    };
    let summary: Vec<_> = checkpoint
        .tensors()
        .iter()
        .map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice()))
        .collect();
    let expected: [(&str, Dtype, &[u64]); 10] = [
        ("matrix", Dtype::F32, &[2, 3]),
        ("fortran", Dtype::F32, &[2, 3]),
        ("cube", Dtype::I16, &[2, 3, 4]),
        ("big", Dtype::F32, &[2, 3]),
        ("big_complex", Dtype::C64, &[2]),
        ("half", Dtype::F16, &[2]),
        ("scalar", Dtype::I64, &[]),
        ("empty", Dtype::F64, &[0, 4]),
        ("mask", Dtype::Bool, &[2]),
        ("layer/0.bytes", Dtype::U8, &[1, 2]),
    ];
    assert_eq!(summary, expected);
    for i in [0, 1, 3] {
        assert_eq!(floats(i), [0., 1., 2., 3., 4., 5.], "{}", summary[i].0);
    }
    let cube: Vec<u8> = (0..24i16).flat_map(i16::to_le_bytes).collect();
    assert_eq!(*checkpoint.bytes(2).unwrap(), cube);
    let complex: Vec<u8> = [1f32, 2., 3., -4.]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    assert_eq!(*checkpoint.bytes(4).unwrap(), complex);
    assert_eq!(floats(5), [1., -2.]);
    assert_eq!(*checkpoint.bytes(6).unwrap(), (-7i64).to_le_bytes());
    assert!(checkpoint.bytes(7).unwrap().is_empty());
    assert_eq!(*checkpoint.bytes(8).unwrap(), [1, 0]);
    assert_eq!(*checkpoint.bytes(9).unwrap(), [255, 0]);
}

#[test]
fn arrays_of_numpy_are_read_stored_and_deflated() {
    check_arrays("stored.npz");
    check_arrays("deflated.npz");
    let versions = Checkpoint::open(&fixture("versions.npz")).unwrap();
    let all: Vec<_> = (0..3).map(|i| versions.bytes(i).unwrap()).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(
        versions.notes(),
        ["left out \"readme.txt\", which is not an array"]
    );
}

#[test]
fn arrays_that_are_no_numbers_are_refused_by_name() {
    for (name, array, word) in [
        ("objects.npz", "\"o\"", "objects"),
        ("bfloat16.npz", "\"b\"", "bfloat16"),
    ] {
        let error = Checkpoint::open(&fixture(name)).unwrap_err();
        assert!(matches!(error, CheckpointError::Unsupported { .. }), "{error}");
        assert!(
            error.to_string().contains(array) && error.to_string().contains(word),
            "{error}"
        );
    }
}

#[test]
fn damage_to_an_archive_is_an_error_or_seen_by_its_checksum() {
    for name in ["stored.npz", "deflated.npz"] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        let sound = Checkpoint::from_bytes(bytes.clone(), name).unwrap();
        for n in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(bytes[..n].to_vec(), name).is_err(),
                "{name}, prefix of {n} bytes"
            );
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(checkpoint) = Checkpoint::from_bytes(bytes.clone(), name) {
                for (i, info) in checkpoint.tensors().iter().enumerate() {
                    let Ok(bytes) = checkpoint.bytes(i) else { continue };
                    let same = sound
                        .tensors()
                        .iter()
                        .position(|t| t.name == info.name && t.dtype == info.dtype);
                    if let Some(j) = same {
                        assert_eq!(
                            bytes,
                            sound.bytes(j).unwrap(),
                            "{name}: bit {bit} changed {info:?} unseen"
                        );
                    }
                }
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn arrays_may_not_exceed_the_limit() {
    let limits = ReadLimits::default().with_max_expanded_bytes(1000);
    let error = Checkpoint::open_with(&fixture("deflated.npz"), &limits).unwrap_err();
    assert!(
        matches!(error, CheckpointError::LimitExceeded { limit: 1000, .. }),
        "{error}"
    );
}

fn write(checkpoint: &Checkpoint, dest: &Path, format: OutputFormat) -> Result<Vec<String>, CheckpointError> {
    let (tensors, shards, blobs) = (checkpoint.tensors(), checkpoint.shards(), checkpoint.blobs());
    let mut writer = CheckpointWriter::create(dest, format, tensors, shards, blobs, false)?;
    for i in 0..tensors.len() {
        writer.write_tensor(&checkpoint.bytes(i)?)?;
    }
    let notes = writer.notes().to_vec();
    writer.finish()?;
    Ok(notes)
}

#[test]
fn arrays_survive_writing_and_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.npz");
    let original = Checkpoint::open(&fixture("stored.npz")).unwrap();
    write(&original, &path, OutputFormat::Npz).unwrap();
    assert_equal(&original, &Checkpoint::open(&path).unwrap());

    let in_parts = folder.path().join("parts.npz");
    let (tensors, shards) = (original.tensors(), original.shards());
    let mut writer =
        CheckpointWriter::create(&in_parts, OutputFormat::Npz, tensors, shards, &[], false).unwrap();
    for i in 0..tensors.len() {
        let bytes = original.bytes(i).unwrap();
        let (first, second) = bytes.split_at(bytes.len().min(1));
        writer.write_part(&[]).unwrap();
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            writer.write_part(part).unwrap();
        }
    }
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&in_parts).unwrap());
}

#[test]
fn npz_refuses_what_numpy_cannot_hold_and_says_what_it_drops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.npz");
    for (dtype, name) in [
        (Dtype::Bf16, "w"),
        (Dtype::F8E4m3, "w"),
        (Dtype::U8, "../w"),
        (Dtype::U8, "/w"),
        (Dtype::U8, "a\\b"),
    ] {
        let bytes = vec![0; dtype.size_bytes()];
        let checkpoint =
            Checkpoint::from_tensors(vec![(info(name, dtype, &[1]), bytes)], vec![], vec![]).unwrap();
        let error = write(&checkpoint, &path, OutputFormat::Npz).unwrap_err();
        assert!(matches!(error, CheckpointError::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    let tensors = vec![(info("w", Dtype::U8, &[1]), vec![0])];
    let blobs = vec![Blob {
        path: "config.json".into(),
        bytes: vec![],
    }];
    let metadata = vec![("a".into(), "b".into())];
    let shards = vec![Shard {
        file_name: "model.safetensors".into(),
        metadata,
    }];
    let checkpoint = Checkpoint::from_tensors(tensors, shards, blobs).unwrap();
    assert_eq!(write(&checkpoint, &path, OutputFormat::Npz).unwrap().len(), 2);
}

#[test]
fn files_of_other_kinds_are_refused_with_advice() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, word) in [
        (tar, "tar archive"),
        (b"GGUF\x03\0\0\0".to_vec(), "GGUF"),
        (
            b"version https://git-lfs.github.com/spec/v1".to_vec(),
            "git lfs pull",
        ),
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0}.".to_vec(), "none of"),
        (b"hello".to_vec(), "none of"),
        (vec![], "empty"),
    ] {
        let error = Checkpoint::from_bytes(bytes, "input").unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("\"input\""), "{error}");
    }
}

/// A zip archive that is nothing but its end: so many members, in a directory of so many bytes at this place.
fn end_of_zip(n_members: u64, size: u64, start: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend_from_slice(&44u64.to_le_bytes());
    bytes.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [n_members, n_members, size, start] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0");
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    bytes
}

#[test]
fn an_archive_that_claims_countless_members_allocates_nothing_for_them() {
    for n_members in [1, 1 << 20, 1 << 33, 1 << 42, u64::MAX] {
        for size in [0, 46, 1 << 42, 1 << 50, u64::MAX] {
            for start in [0, 46, 1 << 43, 1 << 50, u64::MAX] {
                let bytes = end_of_zip(n_members, size, start);
                assert!(
                    Checkpoint::from_bytes(bytes, "input").is_err(),
                    "{n_members} {size} {start}"
                );
            }
        }
    }
}

//! PyTorch checkpoints: the fixtures of `fixtures/make_pytorch.py`, hostile pickles, and damage of every kind.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first failure, in its helpers too"
)]

use std::path::{Path, PathBuf};
use tersor::checkpoint::{Checkpoint, CheckpointError, ReadLimits};
use tersor_codec::Dtype;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

fn refusal(name: &str) -> String {
    let error = Checkpoint::open(&fixture(name)).unwrap_err();
    assert!(matches!(error, CheckpointError::Unsupported { .. }), "{error}");
    error.to_string()
}

fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let index = checkpoint
        .tensors()
        .iter()
        .position(|info| info.name == name)
        .unwrap();
    let (bytes, dtype) = (
        checkpoint.bytes(index).unwrap(),
        checkpoint.tensors()[index].dtype,
    );
    tersor_codec::decode_to_f32(&bytes, dtype).unwrap()
}

/// Reads every tensor, and checks that it has the bytes that its type and shape need.
fn read_all(checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    for (i, info) in checkpoint.tensors().iter().enumerate() {
        assert_eq!(
            Some(checkpoint.bytes(i)?.len() as u64),
            info.size_bytes(),
            "{info:?}"
        );
    }
    Ok(())
}

fn check_state_dict(checkpoint: &Checkpoint) {
    let names: Vec<_> = checkpoint
        .tensors()
        .iter()
        .map(|info| info.name.as_str())
        .collect();
    let expected = [
        "weight",
        "transposed",
        "tail",
        "expanded",
        "tied",
        "scalar",
        "empty",
        "mask",
        "bf16",
        "old",
    ];
    assert_eq!(names, expected);
    read_all(checkpoint).unwrap();
    let count: Vec<f32> = (0..12u8).map(f32::from).collect();
    assert_eq!(floats(checkpoint, "weight"), count);
    assert_eq!(
        floats(checkpoint, "transposed"),
        [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]
    );
    assert_eq!(floats(checkpoint, "tail"), [7., 8., 9., 10., 11.]);
    assert_eq!(floats(checkpoint, "expanded"), [1., 2., 3., 1., 2., 3.]);
    assert_eq!(floats(checkpoint, "bf16"), [1., -2.]);
    assert_eq!(floats(checkpoint, "old"), [0.5]);
    assert_eq!(*checkpoint.bytes(5).unwrap(), 42i64.to_le_bytes());
    assert!(checkpoint.tensors()[5].shape.is_empty());
    assert_eq!(checkpoint.tensors()[6].shape, [0, 5]);
    assert_eq!((*checkpoint.bytes(7).unwrap()).to_vec(), [1, 0, 1]);
    let aliases: Vec<_> = (0..10).map(|i| checkpoint.alias_of(i)).collect();
    let expected: Vec<_> = (0..10).map(|i| (i == 4).then_some(0)).collect();
    assert_eq!(
        aliases, expected,
        "only the tensor with the same shape, strides and offset is tied"
    );
    assert!(
        checkpoint.notes().iter().any(|note| note.contains("\"step\"")),
        "{:?}",
        checkpoint.notes()
    );
}

#[test]
fn a_state_dict_with_views_of_every_kind_is_read_from_both_formats() {
    check_state_dict(&open("plain.pt"));
    check_state_dict(&open("deflated.pt"));
    check_state_dict(&open("legacy.pt"));
    let bytes = std::fs::read(fixture("legacy.pt")).unwrap();
    check_state_dict(&Checkpoint::from_bytes(bytes, "standard input").unwrap());
}

#[test]
fn the_largest_dict_wins_and_model_goes_before_ema() {
    let checkpoint = open("nested.pt");
    assert_eq!(checkpoint.tensors().len(), 1);
    assert_eq!(checkpoint.tensors()[0].shape, [2, 2]);
    let notes = checkpoint.notes();
    assert_eq!(
        notes,
        [
            "took the entry \"model\" / \"net\"; dropped \"epoch\", \"ema\", \"small\", \"optimizer\", \"args\""
        ]
    );
}

#[test]
fn types_that_only_untyped_storages_have_are_read() {
    let checkpoint = open("typed.pt");
    let dtypes: Vec<_> = checkpoint.tensors().iter().map(|info| info.dtype).collect();
    assert_eq!(dtypes, [Dtype::F8E4m3, Dtype::U16, Dtype::F32]);
    assert_eq!(floats(&checkpoint, "f8"), [1., -1.]);
    assert_eq!(*checkpoint.bytes(1).unwrap(), [2, 0]);
    assert_eq!(floats(&checkpoint, "wrapped"), [1., 2.]);
}

#[test]
fn what_needs_code_is_refused_with_the_line_that_converts_it() {
    let message = refusal("module.pt");
    assert!(message.contains("models.Net"), "{message}");
    let line =
        r#"torch.save(torch.load("module.pt", weights_only=False)["model"].state_dict(), "module.pth")"#;
    assert!(message.contains(line), "{message}");
    let message = refusal("script.pt");
    assert!(message.contains(r#"torch.jit.load("script.pt")"#), "{message}");
}

#[test]
fn what_is_no_dense_little_endian_tensor_is_refused_by_name() {
    assert!(refusal("big_endian.pt").contains("big"));
    let message = refusal("quantized.pt");
    assert!(
        message.contains("\"q\"") && message.contains("quantized"),
        "{message}"
    );
    let message = refusal("complex128.pt");
    assert!(
        message.contains("\"z\"") && message.contains("complex128"),
        "{message}"
    );
}

#[test]
fn a_view_beyond_its_storage_names_the_tensor() {
    let error = Checkpoint::open(&fixture("beyond.pt")).unwrap_err();
    assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
    assert!(
        error.to_string().contains("\"w\"") && error.to_string().contains("8 bytes"),
        "{error}"
    );
}

#[test]
fn views_may_not_exceed_the_limit() {
    let limits = ReadLimits::default().with_max_expanded_bytes(100);
    let error = Checkpoint::open_with(&fixture("plain.pt"), &limits).unwrap_err();
    assert!(
        matches!(error, CheckpointError::LimitExceeded { limit: 100, .. }),
        "{error}"
    );
}

const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.}.";

/// A legacy file with this pickle as its object and no storages.
fn legacy(pickle: &[u8]) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes([MAGIC, pickle, b"]."].concat(), "hostile")
}

/// The keys of storages, and the one storage "0" without elements.
const EMPTY_STORAGE: &[u8] = b"(lp0\nU\x010a.\x00\x00\x00\x00\x00\x00\x00\x00";

/// One byte for each character.
fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// A pickle of an empty float tensor, without memo.
const TENSOR: &str = "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x00tQK\x00K\x00\u{85}K\x01\u{85}tR";

#[test]
fn code_in_a_checkpoint_is_never_run() {
    let mark = std::env::temp_dir().join(format!("tersor-pwned-{}", std::process::id()));
    let command = format!("touch {}", mark.display());
    let call = format!("cos\nsystem\n(U{}{command}tR", command.len() as u8 as char);
    let alone = legacy(&latin_1(&format!("{call}."))).unwrap_err();
    assert!(matches!(alone, CheckpointError::Unsupported { .. }), "{alone}");
    let beside = latin_1(&format!("}}(U\x01x{call}U\x01w{TENSOR}u."));
    let bytes = [MAGIC, &beside, EMPTY_STORAGE].concat();
    let beside = Checkpoint::from_bytes(bytes, "hostile").unwrap();
    assert_eq!(
        beside.tensors().len(),
        1,
        "the call beside the weights is left alone"
    );
    assert!(!mark.exists());
}

#[test]
fn deep_nesting_and_memo_bombs_are_harmless() {
    let deep = [b"K\x00".as_slice(), &b"\x85".repeat(1 << 20), b"."].concat();
    assert!(legacy(&deep).is_err());
    // Each level is a dict of the level before, twice: 2^60 paths lead to the bottom.
    let mut bomb = b"}q\x00".to_vec();
    for level in 1..=60u8 {
        bomb.extend_from_slice(b"0}");
        bomb.extend_from_slice(&[b'q', level, b'(']);
        bomb.extend_from_slice(&[
            b'U',
            1,
            b'a',
            b'h',
            level - 1,
            b'U',
            1,
            b'b',
            b'h',
            level - 1,
            b'u',
        ]);
    }
    bomb.push(b'.');
    assert!(legacy(&bomb).is_err());
    // A dict that holds itself.
    assert!(legacy(b"}q\x00(U\x01ah\x00u.").is_err());
    // One list of pairs, made into a dict over and over: copies are counted.
    let pairs = b"(U\x01aK\x00t".repeat(1 << 12);
    let copy = b"ccollections\nOrderedDict\n(h\x01tR0".repeat(1 << 13);
    let copies = [b"](".as_slice(), &pairs, b"eq\x01", &copy, b"N."].concat();
    let error = legacy(&copies).unwrap_err().to_string();
    assert!(error.contains("builds more than"), "{error}");
}

#[test]
fn huge_lengths_and_wrong_opcodes_are_refused() {
    for pickle in [
        b"B\xff\xff\xff\xff.".as_slice(),
        b"X\xff\xff\xff\x7fabc.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x8b\xff\xff\xff\xff.",
        b"\x95\xff.",
        b"\x80\x06N.",
        b"h\x05.",
        b"u.",
        b"(u.",
        b"(R.",
        b"K\x01(0R.",
        b"K\x01a.",
        b"t.",
        b"\x82\x01.",
        b"\x97.",
        b"Pabc\n.",
        b"K\x01Q.",
        b"K\x01K\x02\x93.",
        b"(o.",
        b"Vx",
        b".",
        b"",
    ] {
        let error = legacy(pickle).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Corrupt { .. }),
            "{pickle:?}: {error}"
        );
    }
}

#[test]
fn shapes_that_overflow_are_refused() {
    for (shape, strides) in [
        (
            "I9223372036854775807\nI9223372036854775807\n\u{86}",
            "K\x00K\x00\u{86}",
        ),
        (
            "I9223372036854775807\nK\x02\u{86}",
            "I9223372036854775807\nI9223372036854775807\n\u{86}",
        ),
        ("I-1\n\u{85}", "K\x01\u{85}"),
        ("K\x02\u{85}", "I-1\n\u{85}"),
        ("K\x02\u{85}", ")"),
    ] {
        let text = format!(
            "}}U\x01wctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x00tQK\x00{shape}{strides}tRs."
        );
        let error =
            Checkpoint::from_bytes([MAGIC, &latin_1(&text), EMPTY_STORAGE].concat(), "hostile").unwrap_err();
        assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("tensor \"w\""), "{error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["plain.pt", "deflated.pt", "legacy.pt", "nested.pt", "typed.pt"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for n in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(bytes[..n].to_vec(), name).is_err(),
                "{name}, prefix of {n} bytes"
            );
        }
    }
}

#[test]
fn a_flipped_bit_gives_an_error_or_a_checkpoint_but_no_panic() {
    for name in [
        "plain.pt",
        "deflated.pt",
        "legacy.pt",
        "nested.pt",
        "typed.pt",
        "module.pt",
    ] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(checkpoint) = Checkpoint::from_bytes(bytes.clone(), name) {
                let _ = read_all(&checkpoint);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_real_checkpoint_equals_its_safetensors_but_for_the_prefix() {
    let Some(data) = std::env::var_os("TERSOR_DATA") else {
        println!("skipped: TERSOR_DATA is not set");
        return;
    };
    let weights = Path::new(&data).join("weights");
    let pytorch = Checkpoint::open(&weights.join("resnet32-cifar10.th")).unwrap();
    let safetensors = Checkpoint::open(&weights.join("resnet32-cifar10.safetensors")).unwrap();
    assert!(
        pytorch.notes().iter().any(|note| note.contains("\"state_dict\"")),
        "{:?}",
        pytorch.notes()
    );
    for (i, info) in safetensors.tensors().iter().enumerate() {
        let name = format!("module.{}", info.name);
        let j = pytorch
            .tensors()
            .iter()
            .position(|other| other.name == name)
            .unwrap();
        assert_eq!(
            (info.dtype, &info.shape),
            (pytorch.tensors()[j].dtype, &pytorch.tensors()[j].shape),
            "{name}"
        );
        assert_eq!(safetensors.bytes(i).unwrap(), pytorch.bytes(j).unwrap(), "{name}");
    }
    assert_eq!(
        pytorch.tensors()[0].name,
        "module.conv1.weight",
        "in the order of the dict"
    );
}

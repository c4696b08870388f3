//! The container as a whole, through the public interface.

use proptest::prelude::*;
use tersor_codec::*;

fn info(name: &str, dtype: Dtype, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        dtype,
        shape: shape.into(),
        shard: 0,
    }
}

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

/// A checkpoint with something of everything.
fn sample(seed: u64) -> QuantizedCheckpoint {
    sample_of(seed, 4000)
}

/// The same with tensors of `n` elements, a multiple of 40 from 80 on.
fn sample_of(seed: u64, n: u64) -> QuantizedCheckpoint {
    let mut below = random(seed);
    let mut bell = |n_levels: u64| (0..6).map(|_| below(n_levels)).sum::<u64>() / 6;
    let symbols: Vec<u16> = (0..n).map(|_| bell(9) as u16).collect();
    let sparse: Vec<u16> = (0..n)
        .map(|_| if bell(100) > 62 { bell(7) as u16 } else { 3 })
        .collect();
    let quantized = |codebook, symbols: &[u16]| TensorData::Quantized {
        codebook,
        scales: None,
        symbols: symbols.into(),
    };
    let scales = Some(Scales {
        axis: 0,
        values: (1..=40).map(|i| i as f32 / 16.0).collect(),
    });
    let raw: Vec<u8> = (0..n)
        .flat_map(|i| (i as f32 * 0.37).sin().to_le_bytes())
        .collect();
    let tensors = vec![
        (
            info("a.weight", Dtype::F32, &[40, n / 40]),
            quantized(0, &symbols),
        ),
        (info("a.bias", Dtype::F32, &[40]), quantized(1, &symbols[..40])),
        (info("b.weight", Dtype::F16, &[n]), quantized(1, &sparse)),
        (info("b.bias", Dtype::F32, &[0, 7]), quantized(0, &[])),
        (
            info("tied", Dtype::F32, &[40, n / 40]),
            TensorData::Alias {
                target: 0,
                tied: true,
            },
        ),
        (
            info("scaled", Dtype::Bf16, &[40, n / 40]),
            TensorData::Quantized {
                codebook: 2,
                scales,
                symbols: symbols.clone(),
            },
        ),
        (
            info("steps", Dtype::I64, &[]),
            TensorData::Raw(7u64.to_le_bytes().into()),
        ),
        (info("kept", Dtype::F32, &[n]), TensorData::Raw(raw)),
        (info("mask", Dtype::Bool, &[3]), TensorData::Raw(vec![1, 0, 1])),
        (
            info("variance", Dtype::F64, &[40]),
            quantized(3, &symbols[40..80]),
        ),
    ];
    QuantizedCheckpoint {
        tensors: tensors
            .into_iter()
            .map(|(info, data)| QuantizedTensor { info, data })
            .collect(),
        codebooks: vec![
            Codebook::Grid {
                step: 0.01,
                first: -4,
                n_levels: 9,
            },
            Codebook::Table(vec![-1.5, -0.5, -0.1, 0.0, 0.1, 0.5, 1.5, 2.0, 3.0]),
            Codebook::Table((0..9).map(|i| 0.3 * i as f32).collect()),
            Codebook::Mantissa {
                mantissa_bits: 3,
                first: 1000,
                n_levels: 12,
            },
        ],
        shards: vec![Shard {
            file_name: "model.safetensors".into(),
            metadata: vec![("format".into(), "pt".into())],
        }],
        blobs: vec![
            Blob {
                path: "config.json".into(),
                bytes: "{\"a\": 1, \"b\": [1, 2, 3]}".repeat(9).into_bytes(),
            },
            Blob {
                path: "empty".into(),
                bytes: vec![],
            },
        ],
    }
}

fn options(coder: Coder, group_elements: u64) -> EncodeOptions {
    EncodeOptions::default()
        .with_coder(coder)
        .with_group_elements(group_elements)
}

#[test]
fn a_checkpoint_comes_back_through_every_coder_and_group_size() {
    let checkpoint = sample(1);
    for coder in Coder::ENTROPY {
        for group_elements in [1 << 20, 5000, 1000, 97] {
            let file = checkpoint.encode(options(coder, group_elements)).unwrap();
            let back = QuantizedCheckpoint::decode(&file, Limits::default()).unwrap();
            for (a, b) in checkpoint.tensors.iter().zip(&back.tensors) {
                assert!(a == b, "{:?}, {coder}, groups of {group_elements}", a.info);
            }
            assert!(back == checkpoint, "{coder}, groups of {group_elements}");
            FileReader::new(&file, Limits::default())
                .unwrap()
                .verify()
                .unwrap();
        }
    }
}

#[test]
fn a_tensor_is_read_without_the_others() {
    let checkpoint = sample(2);
    for group_elements in [1 << 20, 1000] {
        let mut file = checkpoint.encode(options(Coder::Ans, group_elements)).unwrap();
        let reader = FileReader::new(&file, Limits::default()).unwrap();
        for (index, tensor) in checkpoint.tensors.iter().enumerate() {
            let bytes = reader.read_tensor(&tensor.info.name).unwrap();
            assert_eq!(
                bytes,
                checkpoint.dequantize(index).unwrap(),
                "{}",
                tensor.info.name
            );
        }
        assert_eq!(
            reader.read_item(checkpoint.tensors.len()).unwrap(),
            checkpoint.blobs[0].bytes
        );
        assert!(matches!(reader.read_tensor("c"), Err(Error::NoSuchTensor { .. })));
        // Damage in the last group does not matter to a tensor of the first.
        *file.last_mut().unwrap() ^= 1;
        let reader = FileReader::new(&file, Limits::default()).unwrap();
        assert_eq!(
            reader.read_tensor("a.weight").unwrap(),
            checkpoint.dequantize(0).unwrap()
        );
        assert!(matches!(reader.verify(), Err(Error::Checksum { .. })));
    }
}

#[test]
fn a_stronger_coder_makes_a_smaller_file() {
    let checkpoint = sample(3);
    let size = |coder| checkpoint.encode(options(coder, 1 << 20)).unwrap().len();
    assert!(size(Coder::Ans) < size(Coder::Huffman));
    assert!(size(Coder::Huffman) < size(Coder::Fixed));
}

#[test]
fn the_fixed_cost_of_a_file_is_at_most_64_bytes() {
    let empty = QuantizedCheckpoint {
        shards: vec![Shard::default()],
        ..QuantizedCheckpoint::default()
    };
    let size = empty.encode(EncodeOptions::default()).unwrap().len();
    assert!(size <= 64, "{size} bytes");
}

#[test]
fn every_truncation_is_an_error() {
    let file = sample_of(4, 400).encode(EncodeOptions::default()).unwrap();
    for n in 0..file.len() {
        let result = FileReader::new(&file[..n], Limits::default());
        assert!(
            matches!(result, Err(Error::Truncated { .. })),
            "prefix of {n} bytes: {result:?}"
        );
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let checkpoint = sample_of(5, 120);
    let mut file = checkpoint.encode(options(Coder::Ans, 200)).unwrap();
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        let result = FileReader::new(&file, Limits::default()).and_then(|r| r.verify());
        assert!(result.is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn limits_are_kept_before_memory_is_taken() {
    let n = 1u64 << 50;
    let huge = Directory {
        entries: vec![Entry {
            info: info("huge", Dtype::F32, &[n]),
            storage: Storage::Quantized {
                codebook: 0,
                scales: None,
            },
        }],
        codebooks: vec![Codebook::Grid {
            step: 1.0,
            first: 0,
            n_levels: 2,
        }],
        shards: vec![Shard::default()],
        ..Directory::default()
    };
    let group = GroupEntry {
        coder: Coder::Ans,
        size_bytes: 9,
        crc: 0,
        segments: vec![Segment {
            item: 0,
            start: 0,
            len: n,
        }],
    };
    let error = encode_header(
        &Directory {
            groups: vec![group],
            ..huge
        },
        0,
    )
    .unwrap_err();
    assert!(error.to_string().contains("2^24"), "{error}");

    let file = sample(6).encode(EncodeOptions::default()).unwrap();
    let tight = |limits: Limits| FileReader::new(&file, limits).unwrap_err();
    let error = tight(Limits::default().with_max_decoded_bytes(1000));
    assert!(
        matches!(error, Error::LimitExceeded { limit: 1000, .. }),
        "{error}"
    );
    let error = tight(Limits {
        max_tensors: 11,
        ..Limits::default()
    });
    assert!(
        matches!(error, Error::LimitExceeded { needed: 12, .. }),
        "{error}"
    );
    let error = tight(Limits {
        max_directory_bytes: 500,
        ..Limits::default()
    });
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
}

/// Breaks one rule.
type Change<'a> = &'a dyn Fn(&mut QuantizedCheckpoint);

#[test]
fn what_no_file_can_hold_is_refused() {
    let refused = |change: &dyn Fn(&mut QuantizedCheckpoint)| {
        let mut checkpoint = sample(7);
        change(&mut checkpoint);
        checkpoint
            .encode(EncodeOptions::default())
            .unwrap_err()
            .to_string()
    };
    let grid = |step, n_levels| Codebook::Grid {
        step,
        first: 0,
        n_levels,
    };
    let cases: [(&str, Change<'_>); 6] = [
        ("twice", &|c| c.tensors[1].info.name = "a.weight".into()),
        ("a.weight", &|c| c.tensors[0].info.shape = vec![40, 99]),
        ("shard 1", &|c| c.tensors[6].info.shard = 1),
        ("NaN", &|c| c.codebooks[0] = grid(f32::NAN, 9)),
        ("alphabet of 3", &|c| c.codebooks[0] = grid(1.0, 3)),
        ("tied", &|c| {
            c.tensors[4].data = TensorData::Alias {
                target: 9,
                tied: true,
            }
        }),
    ];
    for (word, change) in cases {
        let error = refused(change);
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn symbols_of_any_tensor_come_back(
        n_levels in prop_oneof![1u32..20, 200u32..300, 60_000u32..=65_536],
        n in 0u64..3000,
        skew in 1u32..6,
        seed: u64,
        coder in proptest::sample::select(Coder::ENTROPY.to_vec()),
    ) {
        let mut below = random(seed);
        let symbols = (0..n).map(|_| {
            (0..skew).map(|_| below(u64::from(n_levels))).min().unwrap() as u16
        }).collect();
        let checkpoint = QuantizedCheckpoint {
            tensors: vec![QuantizedTensor {
                info: info("t", Dtype::F32, &[n]),
                data: TensorData::Quantized { codebook: 0, scales: None, symbols },
            }],
            codebooks: vec![Codebook::Grid { step: 0.5, first: -(n_levels as i32 / 2), n_levels }],
            shards: vec![Shard::default()],
            blobs: vec![],
        };
        let file = checkpoint.encode(options(coder, 1 << 20)).unwrap();
        prop_assert!(QuantizedCheckpoint::decode(&file, Limits::default()).unwrap() == checkpoint);
        let values = FileReader::new(&file, Limits::default()).unwrap().read_tensor("t").unwrap();
        prop_assert_eq!(values, checkpoint.dequantize(0).unwrap());
    }
}

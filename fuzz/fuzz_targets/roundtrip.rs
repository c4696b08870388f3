//! Arbitrary segments and checkpoints come back as they were, and the stated lengths are those of the bytes.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tersor_codec::{
    Blob, Codebook, Coder, Dtype, EncodeOptions, FileReader, Limits, QuantizedCheckpoint, QuantizedTensor,
    Scales, SegmentInput, SegmentOutput, Shard, TensorData, TensorInfo, decode_group, encode_group,
    encoded_len_bytes,
};

#[derive(Arbitrary, Debug)]
struct Tensor {
    name: String,
    dtype: u8,
    /// 0 raw, 1 alias, others quantized.
    storage: u8,
    new_codebook: Option<(u8, u16, i16)>,
    zero: Option<u16>,
    scaled: bool,
    two_axes: bool,
    /// How often each symbol is repeated: makes skewed distributions.
    repeat: u8,
    symbols: Vec<u16>,
    /// Axes after the first.
    inner: Vec<u8>,
}

/// A shape of about as many elements as there are symbols.
fn shape(tensor: &Tensor) -> Vec<u64> {
    let inner: Vec<u64> = tensor
        .inner
        .iter()
        .take(4)
        .map(|&e| u64::from(e % 5) + 1)
        .collect();
    let n = tensor.symbols.len() as u64 / inner.iter().product::<u64>();
    [n].into_iter().chain(inner).collect()
}

#[derive(Arbitrary, Debug)]
struct Input {
    coder: u8,
    group_elements: u16,
    tensors: Vec<Tensor>,
    metadata: Vec<(String, String)>,
    blobs: Vec<(String, Vec<u8>)>,
}

fn symbols(tensor: &Tensor, n_levels: usize) -> Vec<u16> {
    let repeat = usize::from(tensor.repeat).max(1).pow(2);
    let symbols = tensor.symbols.iter().map(|&s| (usize::from(s) % n_levels) as u16);
    symbols
        .flat_map(|s| std::iter::repeat_n(s, repeat))
        .take(1 << 16)
        .collect()
}

fn groups(input: &Input, coder: Coder) {
    let parts: Vec<(usize, Option<u16>, Vec<u16>, Vec<u8>, usize, Vec<u64>)> = input
        .tensors
        .iter()
        .map(|tensor| {
            let n_levels = tensor.new_codebook.map_or(4, |c| usize::from(c.1) + 1);
            let zero = tensor.zero.map(|z| (usize::from(z) % n_levels) as u16);
            let symbols = symbols(tensor, n_levels);
            let item_bytes = 1 << (tensor.dtype % 4);
            let mut bytes: Vec<u8> = symbols.iter().flat_map(|s| s.to_le_bytes()).collect();
            bytes.truncate(bytes.len() / item_bytes * item_bytes);
            (n_levels, zero, symbols, bytes, item_bytes, shape(tensor))
        })
        .collect();
    let raw = |i: usize| coder == Coder::Deflate || input.tensors[i].storage == 0;
    let inputs: Vec<SegmentInput<'_>> = parts
        .iter()
        .enumerate()
        .map(|(i, (n_levels, zero, symbols, bytes, item_bytes, shape))| {
            if raw(i) {
                SegmentInput::Raw {
                    bytes,
                    item_bytes: *item_bytes,
                }
            } else {
                SegmentInput::Symbols {
                    symbols,
                    n_levels: *n_levels,
                    zero: *zero,
                    shape,
                    first: 0,
                }
            }
        })
        .collect();
    let encoded = encode_group(&inputs, coder).expect("a valid group");
    assert_eq!(
        encoded.len(),
        encoded_len_bytes(&inputs, coder).expect("a valid group")
    );
    let mut back: Vec<(Vec<u16>, Vec<u8>)> = parts
        .iter()
        .map(|p| (vec![0xa5a5; p.2.len()], vec![0xa5; p.3.len()]))
        .collect();
    let mut outputs: Vec<SegmentOutput<'_>> = back
        .iter_mut()
        .zip(&parts)
        .enumerate()
        .map(|(i, ((symbols, bytes), part))| {
            if raw(i) {
                SegmentOutput::Raw {
                    out: bytes,
                    item_bytes: part.4,
                }
            } else {
                SegmentOutput::Symbols {
                    out: symbols,
                    n_levels: part.0,
                    zero: part.1,
                    shape: &part.5,
                    first: 0,
                }
            }
        })
        .collect();
    decode_group(&encoded, coder, &mut outputs).expect("what was encoded decodes");
    drop(outputs);
    for (i, ((symbols, bytes), part)) in back.iter().zip(&parts).enumerate() {
        assert!(
            if raw(i) {
                *bytes == part.3
            } else {
                *symbols == part.2
            },
            "segment {i}, {coder}"
        );
    }
}

fn codebook(kind: u8, n: u16, first: i16) -> Codebook {
    let n_levels = u32::from(n) + 1;
    match kind % 4 {
        0 => Codebook::Grid {
            step: 0.125,
            first: i32::from(first),
            n_levels,
        },
        1 => Codebook::Table(
            (0..n_levels.min(300))
                .map(|l| l as f32 - f32::from(first))
                .collect(),
        ),
        2 => Codebook::Table((0..n_levels.min(300)).map(|l| l as f32 * 0.1).collect()),
        _ => Codebook::Mantissa {
            mantissa_bits: 10,
            first: u32::from(first.unsigned_abs()),
            n_levels,
        },
    }
}

fn checkpoint(input: &Input) -> QuantizedCheckpoint {
    let mut result = QuantizedCheckpoint {
        shards: vec![Shard {
            file_name: "a".into(),
            metadata: input.metadata.clone(),
        }],
        ..QuantizedCheckpoint::default()
    };
    for (i, tensor) in input.tensors.iter().enumerate() {
        let dtype = Dtype::ALL[usize::from(tensor.dtype) % Dtype::ALL.len()];
        let target = usize::from(tensor.storage) * usize::from(tensor.repeat) % (i + 1);
        let mut info = TensorInfo {
            name: format!("{}{i}", tensor.name),
            dtype,
            shape: vec![],
            shard: 0,
        };
        let data = if tensor.storage % 4 == 1
            && i > 0
            && target < i
            && !matches!(result.tensors[target].data, TensorData::Alias { .. })
        {
            info.dtype = result.tensors[target].info.dtype;
            info.shape.clone_from(&result.tensors[target].info.shape);
            TensorData::Alias {
                target,
                tied: tensor.scaled,
            }
        } else if tensor.storage % 4 == 0 || !dtype.is_float() {
            let n = symbols(tensor, 256).len();
            info.shape = vec![n as u64];
            let bytes = symbols(tensor, 256)
                .into_iter()
                .map(|b| b as u8)
                .collect::<Vec<_>>();
            TensorData::Raw(bytes.into_iter().cycle().take(n * dtype.size_bytes()).collect())
        } else {
            let index = match (tensor.new_codebook, result.codebooks.len()) {
                (None, n) if n > 0 => usize::from(tensor.repeat) % n,
                (spec, n) => {
                    let (kind, n_levels, first) = spec.unwrap_or((0, 3, -1));
                    result.codebooks.push(codebook(kind, n_levels, first));
                    n
                }
            };
            let symbols = symbols(tensor, result.codebooks[index].n_levels());
            let n = symbols.len() as u64;
            let inner = [n / 18, 2, 3, 3];
            info.shape = if tensor.two_axes && inner.iter().product::<u64>() == n && n > 0 {
                inner.into()
            } else if tensor.two_axes && n.is_multiple_of(2) {
                vec![2, n / 2]
            } else {
                vec![n]
            };
            let extent = info.shape[0].min(512);
            let scales = (tensor.scaled && extent == info.shape[0]).then(|| Scales {
                axis: 0,
                values: (1..=extent).map(|s| s as f32 * 0.3).collect(),
            });
            TensorData::Quantized {
                codebook: index,
                scales,
                symbols,
            }
        };
        result.tensors.push(QuantizedTensor { info, data });
    }
    result.blobs = input
        .blobs
        .iter()
        .map(|(path, bytes)| Blob {
            path: path.clone(),
            bytes: bytes.clone(),
        })
        .collect();
    result
}

fuzz_target!(|input: Input| {
    if input.tensors.len() > 6 {
        return;
    }
    let coders = [
        Coder::Fixed,
        Coder::Huffman,
        Coder::Ans,
        Coder::Context,
        Coder::Deflate,
    ];
    let coder = coders[usize::from(input.coder) % coders.len()];
    groups(&input, coder);
    if coder == Coder::Deflate {
        return;
    }
    let checkpoint = checkpoint(&input);
    let options = EncodeOptions::default()
        .with_coder(coder)
        .with_group_elements(u64::from(input.group_elements).max(100) * 16);
    let file = checkpoint.encode(options).expect("a valid checkpoint");
    let reader = FileReader::new(&file, Limits::default()).expect("a valid file");
    reader.verify().expect("a valid file");
    let back = QuantizedCheckpoint::decode(&file, Limits::default()).expect("a valid file");
    assert!(back == checkpoint, "the checkpoint came back changed");
    for index in 0..checkpoint.tensors.len() {
        assert_eq!(reader.read_item(index), checkpoint.dequantize(index));
    }
});

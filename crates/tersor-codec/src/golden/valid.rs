//! Checkpoints that together use all of the format.

use super::info;
use crate::distribution::{Distribution, DistributionCoder};
use crate::group::{Header, Layout, family, read_layout};
use crate::range::RangeDecoder;
use crate::varint::read_varint;
use crate::*;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct Valid {
    pub(super) file: &'static str,
    pub(super) checkpoint: QuantizedCheckpoint,
    pub(super) options: EncodeOptions,
}

/// What [`features`] can find, but for element types.
pub(super) const FEATURES: &[&str] = &[
    "alias",
    "ans of 1 lane",
    "ans of 8 lanes",
    "blob",
    "chunk",
    "constant",
    "context",
    "deflate",
    "empty tensor",
    "explicit",
    "fixed",
    "gaps",
    "grid",
    "huffman",
    "mantissa",
    "metadata",
    "name that is not ASCII",
    "reused",
    "scalar",
    "scales",
    "several shards",
    "several tensors in a group",
    "table of binary16",
    "table of binary32",
    "uniform",
];

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

/// Symbols around the middle of an alphabet.
fn bell(seed: u64, n: u64, n_levels: u64) -> Vec<u16> {
    let mut below = random(seed);
    (0..n)
        .map(|_| ((0..6).map(|_| below(n_levels)).sum::<u64>() / 6) as u16)
        .collect()
}

/// `zero`, and one time in `rarity` another symbol.
fn sparse(seed: u64, n: u64, n_levels: u64, zero: u16, rarity: u64) -> Vec<u16> {
    let mut below = random(seed);
    (0..n)
        .map(|_| {
            if below(rarity) == 0 {
                below(n_levels) as u16
            } else {
                zero
            }
        })
        .collect()
}

fn quantized(codebook: usize, symbols: Vec<u16>) -> TensorData {
    TensorData::Quantized {
        codebook,
        scales: None,
        symbols,
    }
}

fn checkpoint(tensors: Vec<(TensorInfo, TensorData)>, codebooks: Vec<Codebook>) -> QuantizedCheckpoint {
    QuantizedCheckpoint {
        tensors: tensors
            .into_iter()
            .map(|(info, data)| QuantizedTensor { info, data })
            .collect(),
        codebooks,
        shards: vec![Shard::default()],
        blobs: vec![],
    }
}

fn grid() -> Codebook {
    Codebook::Grid {
        step: 0.0125,
        first: -4,
        n_levels: 9,
    }
}

/// A network of many kinds of tensors.
fn network() -> QuantizedCheckpoint {
    let scaled = TensorData::Quantized {
        codebook: 1,
        scales: Some(Scales {
            axis: 1,
            values: vec![0.5, 1.0, 1.1, 3e-5, 7.0],
        }),
        symbols: bell(3, 60, 8),
    };
    let mut variance = info("bn.variance", Dtype::F32, &[48]);
    let mut names = info("имя/名前/🙂", Dtype::F32, &[2, 3]);
    (variance.shard, names.shard) = (1, 1);
    let mut result = checkpoint(
        vec![
            (
                info("conv1.weight", Dtype::F32, &[8, 4, 3, 3]),
                quantized(0, bell(1, 288, 9)),
            ),
            (
                info("conv2.weight", Dtype::F32, &[8, 4, 3, 3]),
                quantized(0, bell(2, 288, 9)),
            ),
            (
                info("pruned.weight", Dtype::F16, &[40, 16]),
                quantized(1, sparse(4, 640, 8, 3, 30)),
            ),
            (info("scaled", Dtype::Bf16, &[4, 5, 3]), scaled),
            (
                info("tied.weight", Dtype::F32, &[8, 4, 3, 3]),
                TensorData::Alias {
                    target: 1,
                    tied: true,
                },
            ),
            (info("ones", Dtype::F32, &[70]), quantized(0, vec![8; 70])),
            (info("scale", Dtype::F32, &[]), quantized(2, vec![1])),
            (info("nothing", Dtype::F32, &[3, 0, 5]), quantized(2, vec![])),
            (variance, quantized(3, bell(5, 48, 12))),
            (names, quantized(2, vec![0, 1, 2, 3, 4, 0])),
            (
                info("steps", Dtype::I64, &[]),
                TensorData::Raw(123_456u64.to_le_bytes().into()),
            ),
            (info("no bytes", Dtype::U8, &[0]), TensorData::Raw(vec![])),
            (
                info("kept", Dtype::F32, &[32]),
                TensorData::Raw(bell(6, 128, 256).iter().map(|&b| b as u8).collect()),
            ),
        ],
        vec![
            grid(),
            Codebook::Table(vec![-1.5, -0.5, -0.125, 0.0, 0.125, 0.5, 1.5, 65504.0]),
            Codebook::Table((0..5).map(|i| 0.3 * i as f32 + 0.1).collect()),
            Codebook::Mantissa {
                mantissa_bits: 3,
                first: 1000,
                n_levels: 12,
            },
        ],
    );
    result.shards = (1..=2)
        .map(|i| Shard {
            file_name: format!("model-0000{i}-of-00002.safetensors"),
            metadata: vec![("format".into(), "pt".into()), ("ключ".into(), format!("{i}"))],
        })
        .collect();
    result.blobs = vec![
        Blob {
            path: "config.json".into(),
            bytes: "{\"hidden_size\": 64, \"layers\": [1, 2, 3]}\n"
                .repeat(4)
                .into_bytes(),
        },
        Blob {
            path: "sub/empty.txt".into(),
            bytes: vec![],
        },
    ];
    result
}

/// Every element type, raw and, where it can be, quantized.
fn dtypes() -> QuantizedCheckpoint {
    let raw = Dtype::ALL.into_iter().map(|dtype| {
        let n_bytes = 3 * dtype.size_bytes() as u64;
        let bytes = match dtype {
            Dtype::Bool => vec![1, 0, 1],
            _ => bell(dtype as u64, n_bytes, 256)
                .iter()
                .map(|&b| b as u8)
                .collect(),
        };
        (info(&format!("raw {dtype}"), dtype, &[3]), TensorData::Raw(bytes))
    });
    // Levels that each type rounds in its own way, ties and overflow among them.
    let levels = vec![
        -1e6, -480.0, -0.0, 1e-9, 0.3, 1.0625, 1.1875, 464.0, 61440.0, 1e30,
    ];
    let floats = Dtype::ALL.into_iter().filter(|d| d.is_float()).map(|dtype| {
        let data = quantized(0, (0..10).collect());
        (info(&format!("quantized {dtype}"), dtype, &[2, 5]), data)
    });
    checkpoint(raw.chain(floats).collect(), vec![Codebook::Table(levels)])
}

/// A stream so long that ANS uses eight lanes, in few bytes.
fn long() -> QuantizedCheckpoint {
    let n = (1 << 17) + 13;
    // No level is zero, so the zeros of a run are not coded as gaps.
    let codebook = Codebook::Grid {
        step: 0.5,
        first: 1,
        n_levels: 4,
    };
    checkpoint(
        vec![
            (
                info("long", Dtype::F8E4m3, &[n]),
                quantized(0, sparse(7, n, 4, 1, 600)),
            ),
            (
                info("short", Dtype::F32, &[11]),
                quantized(0, vec![0, 1, 2, 3, 0, 1, 2, 3, 2, 2, 1]),
            ),
        ],
        vec![codebook],
    )
}

/// Tensors cut into chunks, quantized and raw, with scales that run across the cuts.
fn chunks() -> QuantizedCheckpoint {
    let scaled = TensorData::Quantized {
        codebook: 0,
        scales: Some(Scales {
            axis: 1,
            values: (1..=7).map(|i| 0.1 * i as f32).collect(),
        }),
        symbols: bell(8, 210, 9),
    };
    checkpoint(
        vec![
            (info("small", Dtype::F32, &[5]), quantized(0, bell(9, 5, 9))),
            (info("scaled", Dtype::F32, &[10, 7, 3]), scaled),
            (
                info("pruned", Dtype::F32, &[200]),
                quantized(0, sparse(10, 200, 9, 4, 25)),
            ),
            (
                info("raw", Dtype::U16, &[130]),
                TensorData::Raw((0..130u16).flat_map(u16::to_le_bytes).collect()),
            ),
        ],
        vec![grid()],
    )
}

/// Tensors of a shape, a codebook and symbols, with their numbers for names.
fn numbered<const N: usize>(
    dtype: Dtype,
    tensors: [(&[u64], usize, Vec<u16>); N],
) -> Vec<(TensorInfo, TensorData)> {
    let tensor = |(i, (shape, codebook, symbols)): (usize, (&[u64], usize, Vec<u16>))| {
        (info(&format!("{i}"), dtype, shape), quantized(codebook, symbols))
    };
    tensors.into_iter().enumerate().map(tensor).collect()
}

/// Shapes, alphabets and sequences of tensors that an adaptive coder tells apart.
fn shapes() -> QuantizedCheckpoint {
    let wide = Codebook::Mantissa {
        mantissa_bits: 10,
        first: 120_000,
        n_levels: 3000,
    };
    let signs = Codebook::Table(vec![-0.25, 0.25]);
    let positive = Codebook::Grid {
        step: 0.5,
        first: 0,
        n_levels: 40,
    };
    let negative = Codebook::Table((0..300).map(|i| i as f32 - 299.0).collect());
    let one = Codebook::Table(vec![1.5]);
    let tensors: [(&[u64], usize, Vec<u16>); 16] = [
        // A tensor with as many channels as the one before has rows.
        (&[6, 4, 3, 3], 0, bell(20, 216, 9)),
        (&[5, 6, 3, 3], 0, sparse(21, 270, 9, 4, 3)),
        (&[40], 1, bell(22, 40, 3000)),
        (&[7, 30], 0, bell(23, 210, 9)),
        (&[40], 1, bell(24, 40, 3000)),
        (&[9, 7, 1, 1], 0, bell(25, 63, 9)),
        (&[3, 2, 5], 0, bell(26, 30, 9)),
        (&[2, 3, 2, 2, 3], 0, bell(27, 72, 9)),
        (&[20, 60], 0, sparse(28, 1200, 9, 4, 40)),
        (&[1, 90], 2, bell(29, 90, 40)),
        (&[90, 1], 3, sparse(30, 90, 300, 299, 4)),
        (&[25], 4, bell(31, 25, 2)),
        (&[4, 8], 4, bell(32, 32, 2)),
        (&[2, 1, 6, 6], 2, bell(33, 72, 40)),
        (&[12], 5, vec![0; 12]),
        // Positive values far from zero, with a centre of their own.
        (&[200], 2, bell(34, 200, 12).iter().map(|s| s + 28).collect()),
    ];
    checkpoint(
        numbered(Dtype::F8E5m2, tensors),
        vec![grid(), wide, positive, negative, signs, one],
    )
}

/// Symbols of `n` elements on a trellis, with indices of at most `reach` either way as far as the levels go.
fn on_trellis(seed: u64, n: u64, (state, zero, n_levels): (usize, u16, u16), reach: u64) -> Vec<u16> {
    let mut state = state;
    let symbol = |index: u16| {
        let index = i32::from(index) - reach as i32;
        let symbol = |index| i32::from(zero) + trellis::multiple(trellis::quantizer(state), index);
        let there = (0..i32::from(n_levels)).contains(&symbol(index));
        let index = if there { index } else { 0 };
        let symbol = symbol(index) as u16;
        state = trellis::next(state, index);
        symbol
    };
    bell(seed, n, 2 * reach + 1).into_iter().map(symbol).collect()
}

/// Tensors on a trellis, from several states on, with levels to both sides of zero and to one, and others between them.
fn trellises() -> QuantizedCheckpoint {
    let grid = |first, n_levels| Codebook::Grid {
        step: 0.0625,
        first,
        n_levels,
    };
    let tensors: [(&[u64], usize, Vec<u16>); 7] = [
        (&[12, 4, 3, 3], 0, on_trellis(40, 432, (0, 20, 41), 5)),
        (&[12, 4, 3, 3], 0, bell(41, 432, 41)),
        (&[30, 20], 0, on_trellis(42, 600, (5, 20, 41), 9)),
        (&[16, 16, 1, 1], 1, on_trellis(43, 256, (3, 0, 30), 6)),
        (&[14, 22], 2, on_trellis(44, 308, (6, 29, 30), 12)),
        // A vector is not taken to be on one.
        (&[90], 0, on_trellis(45, 90, (0, 20, 41), 3)),
        // Three levels: zero is all that the first quantizer has.
        (&[40, 10], 3, on_trellis(46, 400, (1, 1, 3), 1)),
    ];
    checkpoint(
        numbered(Dtype::F32, tensors),
        vec![grid(-20, 41), grid(0, 30), grid(-29, 30), grid(-1, 3)],
    )
}

pub(super) fn all() -> Vec<Valid> {
    let options = EncodeOptions::default();
    let ans_chunks = options.with_group_elements(64);
    let files = [
        (
            "network-fixed.tersor",
            network(),
            options.with_coder(Coder::Fixed),
        ),
        (
            "network-huffman.tersor",
            network(),
            options.with_coder(Coder::Huffman),
        ),
        ("network-ans.tersor", network(), options.with_coder(Coder::Ans)),
        ("dtypes.tersor", dtypes(), options.with_coder(Coder::Huffman)),
        ("long.tersor", long(), options),
        ("chunks.tersor", chunks(), ans_chunks),
        (
            "chunks-huffman.tersor",
            chunks(),
            ans_chunks.with_coder(Coder::Huffman),
        ),
        (
            "network-context.tersor",
            network(),
            options.with_coder(Coder::Context),
        ),
        (
            "shapes-context.tersor",
            shapes(),
            options.with_coder(Coder::Context),
        ),
        (
            "chunks-context.tersor",
            chunks(),
            ans_chunks.with_coder(Coder::Context),
        ),
        (
            "trellis-context.tersor",
            trellises(),
            // Groups begin in the midst of a path.
            options.with_group_elements(250).with_coder(Coder::Context),
        ),
        ("empty.tersor", QuantizedCheckpoint::default(), options),
        (
            "example.tersor",
            super::example::checkpoint(),
            options.with_coder(Coder::Fixed),
        ),
    ];
    files
        .into_iter()
        .map(|(file, checkpoint, options)| Valid {
            file,
            checkpoint,
            options,
        })
        .collect()
}

/// What a file uses of the format.
pub(super) fn features(file: &[u8]) -> BTreeSet<String> {
    let reader = FileReader::new(file, Limits::default()).unwrap();
    let directory = reader.directory();
    let mut found = BTreeSet::new();
    let mut add = |what: &str, there: bool| {
        if there {
            found.insert(what.to_owned());
        }
    };
    add("several shards", directory.shards.len() > 1);
    add(
        "metadata",
        directory.shards.iter().any(|s| !s.metadata.is_empty()),
    );
    add("blob", !directory.blobs.is_empty());
    for codebook in &directory.codebooks {
        match codebook {
            Codebook::Grid { .. } => add("grid", true),
            Codebook::Mantissa { .. } => add("mantissa", true),
            Codebook::Table(levels) => {
                let half = levels.iter().all(|&l| half::f16::from_f32(l).to_f32() == l);
                add(
                    if half {
                        "table of binary16"
                    } else {
                        "table of binary32"
                    },
                    true,
                );
            }
        }
    }
    for Entry { info, storage } in &directory.entries {
        add("scalar", info.shape.is_empty());
        add("empty tensor", info.n_elements() == Some(0));
        add("name that is not ASCII", !info.name.is_ascii());
        match storage {
            Storage::Quantized { scales, .. } => {
                add(&format!("quantized {}", info.dtype), true);
                add("scales", scales.is_some());
            }
            Storage::Raw => add(&format!("raw {}", info.dtype), true),
            Storage::Alias { .. } => add("alias", true),
        }
    }
    for (index, group) in directory.groups.iter().enumerate() {
        let segments = &group.segments;
        add("several tensors in a group", segments.len() > 1);
        let n = directory.items().find(|i| i.0 == segments[0].item).unwrap().1;
        add("chunk", segments[0].len < n);
        let Some(family) = family(group.coder) else {
            add(group.coder.name(), true);
            continue;
        };
        let (distributions, n_symbols) =
            distributions(directory, group, reader.group_bytes(index).unwrap(), family);
        match group.coder {
            Coder::Ans => add(
                &format!(
                    "ans of {} lane{}",
                    rans::n_lanes(n_symbols),
                    if n_symbols < 1 << 17 { "" } else { "s" }
                ),
                true,
            ),
            coder => add(coder.name(), true),
        }
        let mut seen: Vec<Arc<Distribution>> = Vec::new();
        for (distribution, of_gaps) in distributions {
            add("gaps", of_gaps);
            add("reused", seen.iter().any(|s| Arc::ptr_eq(s, &distribution)));
            match &*distribution {
                Distribution::Uniform { .. } => add("uniform", true),
                Distribution::Constant { .. } => add("constant", true),
                Distribution::Frequencies { .. } | Distribution::Lengths(_) => add("explicit", true),
            }
            seen.push(distribution);
        }
    }
    found
}

/// The distributions of a group's runs, each with whether it belongs to gaps; and the number of symbols.
fn distributions(
    directory: &Directory,
    group: &GroupEntry,
    bytes: &[u8],
    family: distribution::Family,
) -> (Vec<(Arc<Distribution>, bool)>, u64) {
    let (len, rest) = read_varint(bytes).unwrap();
    let mut decoder = RangeDecoder::new(&rest[..len as usize], "group header").unwrap();
    let mut header = Header::new(family);
    let (mut found, mut n_symbols) = (Vec::new(), 0);
    for segment in &group.segments {
        let n = segment.len as usize;
        let entry = directory.entries.get(segment.item);
        if let Some(Storage::Quantized { codebook, .. }) = entry.map(|e| &e.storage) {
            let codebook = &directory.codebooks[*codebook];
            let layout = read_layout(
                &mut header,
                &mut decoder,
                n,
                codebook.n_levels(),
                codebook.zero_symbol(),
            )
            .unwrap();
            n_symbols += layout.n_symbols(n);
            match layout {
                Layout::Plain(distribution) => found.push((distribution, false)),
                Layout::Gaps { gaps, survivors, .. } => found.extend([(gaps, true), (survivors, true)]),
                Layout::Planes(_) | Layout::Empty => {}
            }
        } else if n > 0 {
            let coder: &mut DistributionCoder = &mut header.distributions;
            for _ in 0..directory.item_bytes(segment.item) {
                found.push((coder.code(&mut decoder, 256, n as u64, None).unwrap(), false));
                n_symbols += n as u64;
            }
        }
    }
    (found, n_symbols)
}

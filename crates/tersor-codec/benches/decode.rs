//! Decoding speed on one core, in bytes of decoded f32 per second, beside zstd and constriction in the same run.
//!
//! `cargo bench -p tersor-codec`; with `TERSOR_BENCH_SMOKE` set on little data, to see that it runs.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot prepare its data has nothing to measure"
)]

use constriction::stream::{Decode, model::SmallContiguousCategoricalEntropyModel, stack::SmallAnsCoder};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tersor_codec::{
    Codebook, Coder, Dequantizer, Dtype, EncodeOptions, FileReader, Limits, QuantizedCheckpoint,
    QuantizedTensor, SegmentInput, SegmentOutput, Shard, TensorData, TensorInfo, decode_group, encode_group,
};

/// Symbols of a grid whose order-0 entropy is about `bits`: a Laplacian in steps.
fn symbols(n: usize, bits: f64) -> (Vec<u16>, Codebook) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    // Entropy of a Laplacian of scale b in steps of 1 is about log2(2 e b) bits from 1.5 bits on.
    let scale = bits.exp2() / (2.0 * std::f64::consts::E);
    let first = -100;
    let symbols = (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let u = (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
            let value = -scale * u.signum() * (1.0 - 2.0 * u.abs()).max(1e-12).ln();
            (value.round() as i32 - first).clamp(0, 200) as u16
        })
        .collect();
    (
        symbols,
        Codebook::Grid {
            step: 0.01,
            first,
            n_levels: 201,
        },
    )
}

fn checkpoint(symbols: &[u16], codebook: &Codebook) -> QuantizedCheckpoint {
    let info = TensorInfo {
        name: "weight".into(),
        dtype: Dtype::F32,
        shape: vec![symbols.len() as u64 / 512, 512],
        shard: 0,
    };
    let data = TensorData::Quantized {
        codebook: 0,
        scales: None,
        symbols: symbols.to_vec(),
    };
    QuantizedCheckpoint {
        tensors: vec![QuantizedTensor { info, data }],
        codebooks: vec![codebook.clone()],
        shards: vec![Shard::default()],
        blobs: vec![],
    }
}

fn decode(c: &mut Criterion) {
    let n = if std::env::var_os("TERSOR_BENCH_SMOKE").is_some() {
        1 << 17
    } else {
        1 << 20
    };
    for bits in [2.0, 3.0, 4.0] {
        let (symbols, codebook) = symbols(n, bits);
        let shape = [n as u64 / 512, 512];
        let dequantizer = Dequantizer::new(&codebook, None, Dtype::F32, &shape).expect("a valid codebook");
        let mut values = vec![0u8; n * 4];
        let expected = checkpoint(&symbols, &codebook)
            .dequantize(0)
            .expect("valid symbols");
        let mut group = c.benchmark_group(format!("decode at {bits} bits per weight"));
        group.throughput(Throughput::Bytes(n as u64 * 4));
        group.sample_size(20);
        for coder in Coder::ENTROPY {
            let zero = codebook.zero_symbol();
            let n_levels = codebook.n_levels();
            let bytes = encode_group(
                &[SegmentInput::Symbols {
                    symbols: &symbols,
                    n_levels,
                    zero,
                    shape: &shape,
                    first: 0,
                }],
                coder,
            )
            .expect("symbols");
            let run = |out: &mut [u8]| {
                let dequantizer = &dequantizer;
                let output = SegmentOutput::Values {
                    out,
                    dequantizer,
                    first: 0,
                    n_levels,
                    zero,
                };
                decode_group(black_box(&bytes), coder, &mut [output]).expect("a valid group");
            };
            run(&mut values);
            assert!(values == expected);
            group.bench_function(BenchmarkId::new(coder.name(), "reused buffer"), |b| {
                b.iter(|| run(&mut values));
            });
        }
        let file = checkpoint(&symbols, &codebook)
            .encode(EncodeOptions::default())
            .expect("a valid checkpoint");
        group.bench_function("ans/fresh output", |b| {
            let reader = FileReader::new(&file, Limits::default()).expect("a valid file");
            b.iter(|| black_box(reader.read_tensor("weight").expect("a tensor").len()));
        });
        group.bench_function("ans/whole file with checksums", |b| {
            b.iter(|| {
                FileReader::new(black_box(&file), Limits::default())
                    .expect("a valid file")
                    .verify()
                    .expect("valid");
            });
        });
        peers(&mut group, &symbols, &expected);
        group.finish();
    }
}

fn peers(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    symbols: &[u16],
    expected: &[u8],
) {
    let compressed = zstd::bulk::compress(expected, 3).expect("zstd");
    let run = |out: &mut [u8]| {
        zstd::bulk::decompress_to_buffer(black_box(&compressed), out).expect("zstd");
    };
    let mut out = vec![0u8; expected.len()];
    run(&mut out);
    assert!(out == expected);
    group.bench_function("zstd level 3", |b| b.iter(|| run(&mut out)));

    let mut counts = vec![0.0f64; 201];
    for &s in symbols {
        counts[usize::from(s)] += 1.0;
    }
    let model = SmallContiguousCategoricalEntropyModel::from_floating_point_probabilities_fast(&counts, None)
        .expect("counts");
    let mut coder = SmallAnsCoder::new();
    coder
        .encode_iid_symbols_reverse(symbols.iter().map(|&s| usize::from(s)), &model)
        .expect("symbols");
    let words = coder.into_compressed().expect("words");
    let lookup = model.to_lookup_decoder_model();
    let run = |out: &mut [u16]| {
        let mut coder = SmallAnsCoder::from_compressed_slice(black_box(&words)).expect("words");
        let decoded = coder.decode_iid_symbols(symbols.len(), &lookup);
        for (out, symbol) in out.iter_mut().zip(decoded) {
            *out = symbol.unwrap_or(0) as u16;
        }
    };
    let mut out = vec![0u16; symbols.len()];
    run(&mut out);
    assert!(out == symbols);
    group.bench_function("constriction ANS (symbols only)", |b| b.iter(|| run(&mut out)));
}

criterion_group!(benches, decode);
criterion_main!(benches);

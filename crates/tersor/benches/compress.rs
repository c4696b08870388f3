//! Compression speed with a target of size, in bytes of f32 per second, and decoding of whole files.
//!
//! `cargo bench -p tersor`; with `TERSOR_BENCH_SMOKE` set on little data, to see that it runs. `RAYON_NUM_THREADS` sets the
//! threads.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot prepare its data has nothing to measure"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tersor::checkpoint::Checkpoint;
use tersor::codec::{Dtype, FileReader, Limits, TensorInfo};
use tersor::options::{CompressOptions, Method, Target};
use tersor::{Compressor, Silent, verify};

/// Tensors of 2^20 bell-shaped weights, each of its own scale.
fn checkpoint(n_tensors: usize) -> Checkpoint {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let tensors = (0..n_tensors).map(|t| {
        let scale = 0.02 * (1.0 + t as f32 / 8.0);
        let weights = (0..1 << 20).map(|_| scale * (uniform() + uniform() + uniform() + uniform()));
        let info = TensorInfo {
            name: format!("layer{t}"),
            dtype: Dtype::F32,
            shape: vec![1024, 1024],
            shard: 0,
        };
        (info, weights.flat_map(f32::to_le_bytes).collect())
    });
    Checkpoint::from_tensors(tensors.collect(), Vec::new(), Vec::new()).expect("a valid checkpoint")
}

fn compress(c: &mut Criterion) {
    let n_tensors = if std::env::var_os("TERSOR_BENCH_SMOKE").is_some() {
        1
    } else {
        24
    };
    let checkpoint = checkpoint(n_tensors);
    let mut group = c.benchmark_group("whole checkpoint to 3 bits per weight");
    group.throughput(Throughput::Bytes(n_tensors as u64 * (4 << 20)));
    group.sample_size(10);
    for method in [Method::Grid, Method::Uniform] {
        let options = CompressOptions::default().with_method(method);
        group.bench_function(method.name(), |b| {
            b.iter(|| {
                let compressor = Compressor::new(&checkpoint, options.clone()).expect("a valid checkpoint");
                let compressed = compressor
                    .compress(&Target::Bpw(3.0), &Silent)
                    .expect("a target within reach");
                black_box(compressed.bytes.len())
            });
        });
    }
    group.finish();

    let compressor = Compressor::new(&checkpoint, CompressOptions::default()).expect("a valid checkpoint");
    let file = compressor
        .compress(&Target::Bpw(3.0), &Silent)
        .expect("a target within reach")
        .bytes;
    let mut group = c.benchmark_group("whole file from 3 bits per weight");
    group.throughput(Throughput::Bytes(n_tensors as u64 * (4 << 20)));
    group.sample_size(10);
    group.bench_function("decode with all checksums", |b| {
        b.iter(|| {
            let reader = FileReader::new(black_box(&file), Limits::default()).expect("a valid file");
            verify::verify(&reader, &Silent).expect("a valid file");
        });
    });
    group.finish();
}

criterion_group!(benches, compress);
criterion_main!(benches);

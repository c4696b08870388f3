//! Throughput in weights per second, on Gaussian weights with lognormal sensitivities, one per weight.
//!
//! `TERSOR_BENCH_SMOKE=1` shrinks the input, to see that the benches run. Threads: `RAYON_NUM_THREADS`.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tersor_quant::ecsq::{self, EcsqConfig, Init};
use tersor_quant::kmeans::{self, LloydOptions};
use tersor_quant::{Source, StaticPrices, grid};

/// `SplitMix64`.
struct Rng(u64);

impl Rng {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

fn benches(c: &mut Criterion) {
    let n = if std::env::var_os("TERSOR_BENCH_SMOKE").is_some() {
        100_000
    } else {
        25_000_000
    };
    let mut rng = Rng(1);
    let w: Vec<f32> = (0..n).map(|_| (0.02 * rng.normal()) as f32).collect();
    let h: Vec<f32> = (0..n).map(|_| rng.normal().exp() as f32).collect();
    let source = Source::per_weight(&w, &h);
    let parts = [source];
    let step = 0.02f32;
    let slope = 0.0578 * source.mean_h() * f64::from(step * step);
    let start = grid::histogram(&source, step).expect("a step in range");
    let rate_aware = grid::probe(&source, step, slope, 3).expect("a step in range");
    assert!(
        rate_aware.report.j(slope) < start.report.j(slope),
        "rate-aware assignment pays"
    );
    let prices = StaticPrices::from_counts(&start.report.counts);
    let mut symbols = vec![0u16; n];

    let mut group = c.benchmark_group("quantize");
    group.sample_size(10).throughput(Throughput::Elements(n as u64));
    group.bench_function("grid nearest probe", |b| {
        b.iter(|| grid::histogram(&source, step));
    });
    group.bench_function("grid rate-aware probe, 1 iteration after nearest", |b| {
        b.iter(|| grid::probe(&source, step, slope, 1));
    });
    group.bench_function("grid rate-aware assign", |b| {
        b.iter(|| grid::assign(&source, &start.grid, &prices, slope, &mut symbols));
    });
    group.bench_function("grid step search", |b| {
        b.iter(|| grid::search_step(&source, slope));
    });
    group.bench_function("k-means lloyd, 16 levels", |b| {
        b.iter(|| kmeans::lloyd(&parts, 16, &LloydOptions::default()));
    });
    let config = EcsqConfig {
        slope,
        levels: 16,
        init: Init::Quantiles,
        ..EcsqConfig::default()
    };
    group.bench_function("ecsq design, 16 levels", |b| {
        b.iter(|| ecsq::design(&parts, &config));
    });
    let book = ecsq::design(&parts, &config).expect("a valid configuration");
    group.bench_function("ecsq assign, 16 levels", |b| {
        b.iter(|| ecsq::assign(&source, &book, slope, &mut symbols));
    });
    let few = [source.slice(0..n.min(1 << 20))];
    group.throughput(Throughput::Elements(few[0].len() as u64));
    group.bench_function("k-means exact, 16 levels, 2^20 weights", |b| {
        b.iter(|| kmeans::exact(&few, 16));
    });
    group.finish();
}

criterion_group!(quantize, benches);
criterion_main!(quantize);

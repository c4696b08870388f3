//! The same bits for any number of threads.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use tersor_quant::ecsq::{self, EcsqConfig, Init};
use tersor_quant::kmeans::{self, LloydOptions};
use tersor_quant::uniform::{self, Centres, UniformConfig};
use tersor_quant::{Source, grid, sensitivity};

/// Everything this crate computes, as text: floats print with all their digits.
fn everything(threads: usize) -> String {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let (a, b) = (support::laplacian(150_000, 1), support::pruned(100_001, 0.5, 2));
        let (mut ha, hb) = (
            support::lognormal(a.len(), 2.0, 1),
            support::lognormal(b.len(), 1.0, 2),
        );
        let means = (
            sensitivity::temper(&mut ha, 0.5),
            sensitivity::floor(&mut ha, 0.05),
        );
        let parts = [
            Source::per_weight(&a, &ha),
            Source::per_weight(&b, &hb),
            Source::constant(&a[..999], 2.0),
        ];
        let book = kmeans::lloyd(&parts, 9, &LloydOptions::default());
        let best = kmeans::exact(&[parts[0].slice(0..20_000)], 9);
        let cells = uniform::design(
            &parts,
            &UniformConfig {
                step: 0.3,
                centres: Centres::WeightedMean,
            },
        )
        .unwrap();
        let init = Init::Uniform { step: 0.4 };
        let config = EcsqConfig {
            slope: 0.05,
            init,
            sample: 50_000,
            ..EcsqConfig::default()
        };
        let ecsq = ecsq::design(&parts, &config).unwrap();
        let mut symbols = vec![0; a.len()];
        let reports = (
            ecsq::assign(&parts[0], &ecsq, 0.05, &mut symbols),
            uniform::assign(&parts[0], &cells, &mut symbols),
            grid::quantize(&parts[0], 0.3, 0.05, 3).map(|q| (q.grid, q.report)),
            grid::search_step(&parts[0], 0.05),
        );
        format!("{means:?} {book:?} {best:?} {cells:?} {ecsq:?} {reports:?}")
    })
}

#[test]
fn one_and_three_threads_agree_in_every_bit() {
    let (one, three) = (everything(1), everything(3));
    assert!(one.len() > 1000);
    assert!(one == three, "results differ");
}

/// More weights than are sorted: the histogram of k-means.
#[test]
fn the_histogram_of_many_weights_does_not_depend_on_threads_either() {
    let w = support::gaussian((1 << 20) + 1, 4);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| kmeans::lloyd(&[Source::constant(&w, 1.0)], 5, &LloydOptions::default()).unwrap())
    };
    assert_eq!(run(1), run(3));
}

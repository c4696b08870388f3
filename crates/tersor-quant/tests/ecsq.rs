//! ECSQ: its objective never rises, is never below the true optimum, and comes close to it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use proptest::prelude::*;
use tersor_quant::ecsq::{Ecsq, EcsqConfig, Init, assign, design};
use tersor_quant::{Report, Source};

fn config(slope: f64, init: Init) -> EcsqConfig {
    EcsqConfig {
        slope,
        init,
        ..EcsqConfig::default()
    }
}

fn assigned(source: &Source, book: &Ecsq, slope: f64) -> (Vec<u16>, Report) {
    let mut out = vec![0; source.len()];
    let report = assign(source, book, slope, &mut out).unwrap();
    (out, report)
}

fn assert_falls(book: &Ecsq) {
    for pair in book.trace.windows(2) {
        assert!(
            pair[1].j <= pair[0].j * (1.0 + 1e-12),
            "the objective rose from {} to {}",
            pair[0].j,
            pair[1].j
        );
    }
}

/// `J` of a set of members that share a level: loss around the weighted mean plus slope times `c log2(n / c)`.
fn cell(members: &[(f64, f64)], n: usize, slope: f64) -> f64 {
    let (h, hw) = members
        .iter()
        .fold((0.0, 0.0), |(a, b), (w, h)| (a + h, b + h * w));
    let centre = if h > 0.0 { hw / h } else { 0.0 };
    let loss: f64 = members.iter().map(|(w, h)| 0.5 * h * (w - centre).powi(2)).sum();
    let count = members.len() as f64;
    loss + slope * count * (n as f64 / count).log2()
}

/// The least `J` over all partitions of the sorted weights into intervals.
///
/// For constant `h` and distinct weights that is the least of all: given the levels and prices of an optimum, every
/// weight sits at its cheapest level, and for one `h` these regions are intervals (the lower envelope of parabolas
/// of equal curvature).
fn interval_oracle(w: &[f32], h: f32, slope: f64) -> f64 {
    let mut sorted: Vec<(f64, f64)> = w.iter().map(|&w| (f64::from(w), f64::from(h))).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = sorted.len();
    let mut best = vec![0.0];
    for end in 1..=n {
        let ways = (0..end).map(|start| best[start] + cell(&sorted[start..end], n, slope));
        best.push(ways.fold(f64::INFINITY, f64::min));
    }
    best[n]
}

/// The least `J` over all partitions of the weights into sets.
fn exhaustive(pairs: &[(f64, f64)], slope: f64) -> f64 {
    fn place(rest: &[(f64, f64)], sets: &mut Vec<Vec<(f64, f64)>>, n: usize, slope: f64) -> f64 {
        let Some((&first, rest)) = rest.split_first() else {
            return sets.iter().map(|set| cell(set, n, slope)).sum();
        };
        let mut best = f64::INFINITY;
        for i in 0..sets.len() {
            sets[i].push(first);
            best = best.min(place(rest, sets, n, slope));
            sets[i].pop();
        }
        sets.push(vec![first]);
        best = best.min(place(rest, sets, n, slope));
        sets.pop();
        best
    }
    place(pairs, &mut Vec::new(), pairs.len(), slope)
}

/// The best of several starts: uniform, spread by density, and some of the weights themselves.
fn from_many_starts(parts: &[Source], slope: f64) -> f64 {
    let mut rng = support::Rng::new(1);
    let all: Vec<f32> = parts
        .iter()
        .flat_map(|part| part.weights.iter().copied())
        .collect();
    let mut some = |n: usize| (0..n).map(|_| all[rng.bits() as usize % all.len()]).collect();
    let uniform = [0.2, 0.35, 0.6, 1.0, 1.5, 2.5].map(|step| (Init::Uniform { step }, 1));
    let quantiles = [2, 3, 4, 6, 8, 12, 24].map(|levels| (Init::Quantiles, levels));
    let drawn: Vec<(Init, usize)> = (0..30).map(|i| (Init::Levels(some(2 + i % 5)), 1)).collect();
    uniform
        .into_iter()
        .chain(quantiles)
        .chain(drawn)
        .map(|(init, levels)| {
            let book = design(
                parts,
                &EcsqConfig {
                    levels,
                    tolerance: 1e-9,
                    ..config(slope, init)
                },
            )
            .unwrap();
            assert_falls(&book);
            book.trace[book.trace.len() - 1].j
        })
        .fold(f64::INFINITY, f64::min)
}

fn weights() -> impl Strategy<Value = Vec<(f32, f32)>> {
    let weight = prop_oneof![4 => -3f32..3.0, 1 => Just(0.0), 1 => (-2i8..3).prop_map(f32::from)];
    let h = prop_oneof![6 => (-8f32..5.0).prop_map(f32::exp2), 1 => Just(0.0)];
    prop::collection::vec((weight, h), 1..300)
}

proptest! {
    #[test]
    fn the_objective_never_rises(pairs in weights(), slope in 0f64..0.5, step in 0.05f32..2.0, levels in 1usize..40) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let source = Source::per_weight(&w, &h);
        for init in [Init::Uniform { step }, Init::Quantiles] {
            let book = design(&[source], &EcsqConfig { levels, tolerance: 0.0, ..config(slope, init) }).unwrap();
            assert_falls(&book);
            let (symbols, report) = assigned(&source, &book, slope);
            let last = book.trace.last().unwrap();
            // Prices in the codebook are rounded to 1/65536 bit.
            prop_assert!(report.j(slope) <= last.j * (1.0 + 1e-9) + slope * w.len() as f64 / 65536.0);
            let plain = support::loss(&w, &h, symbols.iter().map(|&s| book.levels[usize::from(s)]));
            prop_assert!((report.distortion - plain).abs() <= 1e-6 * plain + 1e-12);
            prop_assert!(book.levels.windows(2).all(|l| l[0] <= l[1]));
            for (&w, &s) in w.iter().zip(&symbols) {
                prop_assert!(w != 0.0 || book.levels[usize::from(s)].to_bits() == 0, "zeros stay exactly zero");
            }
        }
    }

    #[test]
    fn with_equal_sensitivities_it_is_never_below_the_optimal_intervals(
        w in prop::collection::vec(-3f32..3.0, 1..60), slope in 0.001f64..0.3,
    ) {
        let oracle = interval_oracle(&w, 1.0, slope);
        let j = from_many_starts(&[Source::constant(&w, 1.0)], slope);
        prop_assert!(j >= oracle * (1.0 - 1e-6) - 1e-9, "{j} below the optimum {oracle}");
    }

    #[test]
    fn with_unequal_sensitivities_it_is_never_below_exhaustive_search(
        pairs in prop::collection::vec((-3f32..3.0, -4f32..4.0), 1..8), slope in 0.001f64..0.5,
    ) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(w, e)| (w, e.exp2())).unzip();
        let exact: Vec<(f64, f64)> = w.iter().zip(&h).map(|(&w, &h)| (w.into(), h.into())).collect();
        let oracle = exhaustive(&exact, slope);
        let j = from_many_starts(&[Source::per_weight(&w, &h)], slope);
        prop_assert!(j >= oracle * (1.0 - 1e-6) - 1e-9, "{j} below the optimum {oracle}");
    }
}

#[test]
fn several_starts_come_within_two_percent_of_the_optimal_intervals() {
    for (seed, slope) in [(1, 0.01), (2, 0.03), (3, 0.1), (4, 0.2)] {
        let w = support::laplacian(400, seed);
        let (oracle, j) = (
            interval_oracle(&w, 1.0, slope),
            from_many_starts(&[Source::constant(&w, 1.0)], slope),
        );
        assert!(
            j >= oracle * (1.0 - 1e-6),
            "slope {slope}: {j} below the optimum {oracle}"
        );
        assert!(
            j <= oracle * 1.02,
            "slope {slope}: {j} against the optimum {oracle}"
        );
    }
}

#[test]
fn several_starts_reach_the_exhaustive_optimum_of_a_few_weights() {
    // Two sensitive clusters and weights between them that hardly matter.
    let w = [-1.0, -0.9, 1.0, 1.1, 0.3, -0.2, 0.5];
    let h = [8.0, 8.0, 8.0, 8.0, 0.05, 0.05, 0.05];
    let exact: Vec<(f64, f64)> = w.iter().zip(&h).map(|(&w, &h)| (w.into(), h.into())).collect();
    let slope = 0.05;
    let (oracle, j) = (
        exhaustive(&exact, slope),
        from_many_starts(&[Source::per_weight(&w, &h)], slope),
    );
    assert!((j - oracle).abs() < 0.01 * oracle, "{j} against {oracle}");
}

#[test]
fn equal_weights_part_ways_when_their_sensitivities_differ() {
    let (mut w, mut h) = (vec![], vec![]);
    for i in 0..200u16 {
        w.extend([-1.0, -1.0, 1.0, 1.0, 0.2]);
        h.extend([1.0, 1.0, 1.0, 1.0, if i % 2 == 0 { 50.0 } else { 0.001 }]);
    }
    let source = Source::per_weight(&w, &h);
    let book = design(&[source], &config(0.05, Init::Uniform { step: 0.2 })).unwrap();
    let (symbols, _) = assigned(&source, &book, 0.05);
    let value = |i: usize| book.levels[usize::from(symbols[i])];
    assert!(
        (value(4) - 0.2).abs() < 0.01,
        "a sensitive 0.2 stays: 16 > 0.05 x 2.1 bits; {}",
        value(4)
    );
    assert!(
        value(9).abs() > 0.9,
        "an insensitive one takes a cheap level: 0.0003 < 0.05 x 2.1 bits; {}",
        value(9)
    );
}

#[test]
fn no_slope_gives_k_means_and_a_huge_slope_gives_one_level() {
    let w = support::gaussian(3000, 2);
    let source = Source::constant(&w, 1.0);
    let mut found = design(
        &[source],
        &EcsqConfig {
            levels: 8,
            tolerance: 1e-12,
            max_iterations: 1000,
            ..config(0.0, Init::Quantiles)
        },
    )
    .unwrap();
    let best = tersor_quant::kmeans::exact(&[source], 8).unwrap();
    let j = found.trace.pop().unwrap().j;
    assert!(
        j >= best.cost * (1.0 - 1e-9) && j <= best.cost * 1.02,
        "{j} against {}",
        best.cost
    );
    let one = design(&[source], &config(1e6, Init::Quantiles)).unwrap();
    assert_eq!((one.levels.len(), one.prices.as_slice()), (1, [0].as_slice()));
}

#[test]
fn sampling_keeps_outliers_and_costs_next_to_nothing() {
    let mut w = support::laplacian(200_000, 9);
    w[77_777] = 400.0;
    w[123_456] = 0.0;
    let h = support::lognormal(w.len(), 1.0, 9);
    let parts = [Source::per_weight(&w, &h)];
    let slope = 0.02;
    // Far from the optimum: a few iterations over all weights would not do.
    let init = Init::Uniform { step: 0.02 };
    let all = design(
        &parts,
        &EcsqConfig {
            sample: 0,
            ..config(slope, init.clone())
        },
    )
    .unwrap();
    let sampled = design(
        &parts,
        &EcsqConfig {
            sample: 10_000,
            ..config(slope, init)
        },
    )
    .unwrap();
    assert!(sampled.sample_iterations > 0 && all.sample_iterations == 0);
    for book in [&all, &sampled] {
        assert_falls(book);
        assert!(
            (book.levels[book.levels.len() - 1] - 400.0).abs() < 1.0,
            "the outlier keeps a level"
        );
        assert_eq!(
            book.zero.map(|z| book.levels[usize::from(z)]),
            Some(0.0),
            "one zero pins a level"
        );
    }
    assert!(
        sampled.trace.len() <= 6,
        "the start and few iterations over all weights"
    );
    let (a, b) = (
        all.trace[all.trace.len() - 1].j,
        sampled.trace[sampled.trace.len() - 1].j,
    );
    assert!(b < 1.005 * a, "{b} with sampling, {a} without");
}

#[test]
fn chunks_are_assigned_like_the_whole() {
    let (w, h) = (
        support::pruned(10_000, 0.3, 4),
        support::lognormal(10_000, 2.0, 4),
    );
    let source = Source::per_weight(&w, &h);
    let book = design(&[source], &config(0.05, Init::Quantiles)).unwrap();
    let (whole, report) = assigned(&source, &book, 0.05);
    let mut joined = Vec::new();
    let mut sum = Report::default();
    for start in (0..w.len()).step_by(777) {
        let (part, report) = assigned(&source.slice(start..(start + 777).min(w.len())), &book, 0.05);
        joined.extend(part);
        sum.merge(&report);
    }
    assert_eq!(joined, whole);
    assert_eq!(sum.counts, report.counts);
    assert!((sum.distortion / report.distortion - 1.0).abs() < 1e-12);
}

#[test]
fn constants_of_several_tensors_count_like_sensitivities_per_weight() {
    let w = support::laplacian(3000, 6);
    let h: Vec<f32> = (0..3000u16).map(|i| if i < 1000 { 0.5 } else { 4.0 }).collect();
    let split = [
        Source::constant(&w[..1000], 0.5),
        Source::constant(&w[1000..], 4.0),
    ];
    let a = design(&split, &config(0.1, Init::Quantiles)).unwrap();
    let b = design(&[Source::per_weight(&w, &h)], &config(0.1, Init::Quantiles)).unwrap();
    assert_eq!(a.levels, b.levels);
    assert_eq!(a.prices, b.prices);
}

#[test]
fn settings_out_of_range_are_refused() {
    let parts = [Source::constant(&[1.0, 2.0], 1.0)];
    assert!(design(&parts, &config(-1.0, Init::Quantiles)).is_err());
    assert!(design(&parts, &config(f64::NAN, Init::Quantiles)).is_err());
    assert!(design(&parts, &config(0.0, Init::Uniform { step: 0.0 })).is_err());
    assert!(design(&parts, &config(0.0, Init::Levels(vec![]))).is_err());
    assert!(design(&parts, &config(0.0, Init::Levels(vec![f32::NAN]))).is_err());
    assert!(
        design(
            &parts,
            &EcsqConfig {
                levels: 0,
                ..EcsqConfig::default()
            }
        )
        .is_err()
    );
    assert!(
        design(
            &parts,
            &EcsqConfig {
                tolerance: -1.0,
                ..EcsqConfig::default()
            }
        )
        .is_err()
    );
    assert_eq!(design(&[], &EcsqConfig::default()).unwrap().levels, [0f32; 0]);
}

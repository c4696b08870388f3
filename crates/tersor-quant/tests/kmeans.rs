//! k-means against exhaustive search, against itself and against published optima.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use proptest::prelude::*;
use tersor_quant::kmeans::{LloydOptions, assign, exact, lloyd};
use tersor_quant::{Source, assign_nearest};

/// Least loss over all ways to cut the sorted weights into at most `k` runs.
fn brute_force(w: &[f32], h: &[f32], k: usize) -> f64 {
    let mut pairs: Vec<(f64, f64)> = w
        .iter()
        .zip(h)
        .filter(|(w, _)| **w != 0.0)
        .map(|(&w, &h)| (w.into(), h.into()))
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let run_cost = |run: &[(f64, f64)]| {
        let (sum_h, sum_hw) = run.iter().fold((0.0, 0.0), |(a, b), (w, h)| (a + h, b + h * w));
        let centre = if sum_h > 0.0 { sum_hw / sum_h } else { 0.0 };
        run.iter()
            .map(|(w, h)| 0.5 * h * (w - centre).powi(2))
            .sum::<f64>()
    };
    let n = pairs.len();
    // Bit i set: a run ends after weight i.
    (0..1u32 << n.saturating_sub(1))
        .filter(|cuts| (cuts.count_ones() as usize) < k)
        .map(|cuts| {
            let (mut start, mut cost) = (0, 0.0);
            for i in 0..n {
                if i + 1 == n || cuts >> i & 1 == 1 {
                    cost += run_cost(&pairs[start..=i]);
                    start = i + 1;
                }
            }
            cost
        })
        .fold(f64::INFINITY, f64::min)
}

fn weights(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(f32, f32)>> {
    // Few distinct values in a part of the cases, so that there are ties and duplicates.
    let weight = prop_oneof![-4f32..4.0, (-3i8..4).prop_map(f32::from)];
    let h = prop_oneof![4 => 0.01f32..10.0, 1 => Just(0.0)];
    prop::collection::vec((weight, h), n)
}

proptest! {
    #[test]
    fn dynamic_programming_equals_exhaustive_search(pairs in weights(1..11), k in 1usize..6) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let has_zero = w.contains(&0.0);
        let best = brute_force(&w, &h, (k + 1 - usize::from(has_zero)).max(1));
        let found = exact(&[Source::per_weight(&w, &h)], k + 1).unwrap();
        // Levels are rounded to f32: relative 6e-8 of weights up to 4, squared, and once against the remainder.
        prop_assert!((found.cost - best).abs() <= 1e-5 * best + 1e-9, "{} but {best}", found.cost);
        prop_assert!(found.levels.len() <= k + 1);
        prop_assert_eq!(found.zero.is_some(), has_zero);
    }

    #[test]
    fn the_optimum_is_never_above_lloyd(pairs in weights(1..300), k in 2usize..12) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let parts = [Source::per_weight(&w, &h)];
        let (best, found) = (exact(&parts, k).unwrap(), lloyd(&parts, k, &LloydOptions::default()).unwrap());
        prop_assert!(best.cost <= found.cost * (1.0 + 1e-6) + 1e-9, "{} > {}", best.cost, found.cost);
        // Up to 4096 distinct weights Lloyd starts from the optimum.
        prop_assert!(found.cost <= best.cost * (1.0 + 1e-6) + 1e-9, "{} > {}", found.cost, best.cost);
    }

    #[test]
    fn assigning_costs_what_the_codebook_says(pairs in weights(1..200), k in 2usize..9) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let source = Source::per_weight(&w, &h);
        let book = lloyd(&[source], k, &LloydOptions::default()).unwrap();
        let mut out = vec![0; w.len()];
        let report = assign(&source, &book, &mut out).unwrap();
        let plain = support::loss(&w, &h, out.iter().map(|&s| book.levels[usize::from(s)]));
        prop_assert!((report.distortion - plain).abs() <= 1e-6 * plain + 1e-12);
        prop_assert!((report.distortion - book.cost).abs() <= 1e-9 * plain + 1e-12);
        for (&w, &s) in w.iter().zip(&out) {
            prop_assert_eq!(w == 0.0, Some(s) == book.zero, "zeros, and nothing else, have the zero level");
        }
    }

    #[test]
    fn one_more_level_never_costs_more(pairs in weights(1..100), k in 2usize..12) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let cost = |k| exact(&[Source::per_weight(&w, &h)], k).unwrap().cost;
        let (fewer, more) = (cost(k), cost(k + 1));
        prop_assert!(more <= fewer * (1.0 + 1e-6) + 1e-9, "{more} > {fewer}");
    }
}

#[test]
fn lloyd_from_a_coarse_start_is_within_a_thousandth_of_the_optimum() {
    for seed in 0..3 {
        let (w, h) = (
            support::laplacian(20_000, seed),
            support::lognormal(20_000, 1.5, seed),
        );
        let parts = [Source::per_weight(&w, &h)];
        for k in [2, 7, 16] {
            let (best, found) = (
                exact(&parts, k).unwrap(),
                lloyd(&parts, k, &LloydOptions::default()).unwrap(),
            );
            assert!(
                best.cost <= found.cost * (1.0 + 1e-9),
                "k = {k}: {} > {}",
                best.cost,
                found.cost
            );
            assert!(
                found.cost <= best.cost * 1.001,
                "k = {k}: {} against {}",
                found.cost,
                best.cost
            );
        }
    }
}

/// Max, "Quantizing for minimum distortion", 1960, table I: mean squared error of the best quantizers of a
/// normal variable.
#[test]
fn binned_weights_reach_the_published_optima_of_a_gaussian() {
    let w = support::gaussian((1 << 20) + 100_000, 7);
    let parts = [
        Source::constant(&w[..1_000_000], 2.0),
        Source::constant(&w[1_000_000..], 2.0),
    ];
    let binned = LloydOptions {
        full_passes: 0,
        ..LloydOptions::default()
    };
    for (k, error) in [
        (2, 0.3634),
        (4, 0.1175),
        (8, 0.03454),
        (16, 0.009_497),
        (32, 0.002_499),
    ] {
        let book = lloyd(&parts, k, &LloydOptions::default()).unwrap();
        assert_eq!(book.levels.len(), k);
        let rough = lloyd(&parts, k, &binned).unwrap().cost;
        assert!(
            book.cost < rough,
            "{k} levels: passes over the weights lower {rough} to {}",
            book.cost
        );
        let got = book.cost / w.len() as f64;
        assert!(
            (got / error - 1.0).abs() < 0.01,
            "{k} levels: {got}, published {error}"
        );
    }
}

#[test]
fn without_weighting_sensitivities_do_not_matter() {
    let w = support::gaussian(5000, 1);
    let (h, ones) = (support::lognormal(5000, 2.0, 1), vec![1.0; 5000]);
    let plain = LloydOptions {
        weighted: false,
        ..LloydOptions::default()
    };
    let a = lloyd(&[Source::per_weight(&w, &h)], 8, &plain).unwrap();
    let b = lloyd(&[Source::per_weight(&w, &ones)], 8, &LloydOptions::default()).unwrap();
    assert_eq!(a, b);
    assert_ne!(
        a.levels,
        lloyd(&[Source::per_weight(&w, &h)], 8, &LloydOptions::default())
            .unwrap()
            .levels
    );
}

#[test]
fn an_offset_far_above_the_spread_does_not_hide_the_clusters() {
    let w: Vec<f32> = support::gaussian(3000, 3)
        .iter()
        .map(|w| 1000.0 + 0.01 * w.signum() + 1e-3 * w)
        .collect();
    let book = exact(&[Source::constant(&w, 1.0)], 2).unwrap();
    let mut out = vec![0; w.len()];
    assign_nearest(&Source::constant(&w, 1.0), &book.levels, None, &mut out).unwrap();
    assert!(
        w.iter().zip(&out).all(|(&w, &s)| (w > 1000.0) == (s == 1)),
        "{:?}",
        book.levels
    );
}

#[test]
fn many_levels_use_the_asymptotic_start_and_still_beat_a_uniform_grid() {
    let w = support::gaussian(30_000, 5);
    let parts = [Source::constant(&w, 1.0)];
    let book = lloyd(&parts, 1000, &LloydOptions::default()).unwrap();
    assert_eq!(book.levels.len(), 1000);
    let (low, high) = w
        .iter()
        .fold((f32::MAX, f32::MIN), |(a, b), &w| (a.min(w), b.max(w)));
    let uniform: Vec<f32> = (0..1000u16)
        .map(|i| low + (high - low) * (f32::from(i) + 0.5) / 1000.0)
        .collect();
    let grid = assign_nearest(&parts[0], &uniform, None, &mut vec![0; w.len()]).unwrap();
    // Panter and Dite: sqrt(3) pi / 2 k^-2 = 2.72e-6 against (2 max)^2 / 12 k^-2, 5e-6 for a maximum near 4.
    assert!(
        book.cost < 0.7 * grid.distortion,
        "{} against {}",
        book.cost,
        grid.distortion
    );
}

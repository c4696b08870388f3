//! Grids: rate pays for itself, zeros stay, and probes tell the truth.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use proptest::prelude::*;
use tersor_quant::grid::{self, Grid};
use tersor_quant::{RateModel, Report, Source, Span, StaticPrices};

fn weights() -> impl Strategy<Value = Vec<(f32, f32)>> {
    let weight = prop_oneof![6 => -3f32..3.0, 1 => Just(0.0), 1 => 4f32..9.0];
    let h = prop_oneof![6 => (-6f32..6.0).prop_map(f32::exp2), 1 => Just(0.0)];
    prop::collection::vec((weight, h), 1..400)
}

fn priced_bits(symbols: &[u16], prices: &StaticPrices) -> u64 {
    symbols
        .iter()
        .map(|&s| u64::from(prices.bits(u32::from(s))))
        .sum()
}

proptest! {
    #[test]
    fn a_larger_slope_never_takes_more_bits_at_fixed_prices(
        pairs in weights(), step in 0.05f32..1.0, slopes in (0f64..1.0, 0f64..1.0), offset in -2f32..6.0,
    ) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(w, h)| (w + offset, h)).unzip();
        let source = Source::per_weight(&w, &h);
        let grid = Grid::fit(&source, step).unwrap();
        let prices = StaticPrices::from_counts(&grid::histogram(&source, step).unwrap().report.counts);
        let mut out = vec![0; w.len()];
        let mut run = |slope| {
            let report = grid::assign(&source, &grid, &prices, slope, &mut out).unwrap();
            (priced_bits(&out, &prices), report.distortion)
        };
        let (low, high) = (slopes.0.min(slopes.1), slopes.0.max(slopes.1));
        let (few, many) = (run(high), run(low));
        prop_assert!(few.0 <= many.0, "{} bits at slope {high}, {} at {low}", few.0, many.0);
        prop_assert!(few.1 >= many.1 * (1.0 - 1e-12), "and the loss does not fall");
    }

    #[test]
    fn every_weight_takes_the_cheapest_of_its_three_candidates(
        pairs in weights(), step in 0.1f32..1.0, slope in 0f64..0.5, seed in 0u64..1000, offset in -9f32..9.0,
    ) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(w, h)| (w + offset, h)).unzip();
        let source = Source::per_weight(&w, &h);
        let grid = Grid::fit(&source, step).unwrap();
        let mut rng = support::Rng::new(seed);
        let prices = StaticPrices::from_bits((0..grid.n_levels).map(|_| (rng.bits() >> 45) as u32).collect());
        let mut out = vec![0; w.len()];
        grid::assign(&source, &grid, &prices, slope, &mut out).unwrap();
        let last = grid.n_levels as i32 - 1;
        let zero = (-grid.first).clamp(0, last);
        for ((&w, &h), &got) in w.iter().zip(&h).zip(&out) {
            let nearest = ((w / step).round() as i32 - grid.first).clamp(0, last);
            let inward = nearest + (zero - nearest).signum();
            let cost = |s: i32| {
                let d = f64::from(w) - f64::from(grid.value(s as u32));
                0.5 * f64::from(h) * d * d + slope * f64::from(prices.bits(s as u32)) / 65536.0
            };
            let best = cost(nearest).min(cost(inward)).min(cost(zero));
            // On a threshold the other neighbour may be the nearest; differences are taken in f32.
            let on_threshold = ((w / step).fract().abs() - 0.5).abs() < 1e-3;
            prop_assert!(on_threshold || cost(i32::from(got)) <= best * (1.0 + 1e-5) + 1e-9, "{w} went to {got}");
        }
    }

    #[test]
    fn one_sensitivity_for_all_chooses_as_the_same_one_for_each(
        pairs in weights(), step in 0.1f32..1.0, slope in 0f64..0.5, h in 0.01f32..9.0, seed in 0u64..1000, offset in -9f32..9.0,
    ) {
        let w: Vec<f32> = pairs.into_iter().map(|(w, _)| w + offset).collect();
        let each = vec![h; w.len()];
        let grid = Grid::spanning(Span::of_slice(&w), step).unwrap();
        let mut rng = support::Rng::new(seed);
        let prices = StaticPrices::from_bits((0..grid.n_levels).map(|_| (rng.bits() >> 45) as u32).collect());
        let j = |source: Source| {
            let mut out = vec![0; w.len()];
            let report = grid::assign(&source, &grid, &prices, slope, &mut out).unwrap();
            let counted = grid::cost(&source, &grid, Some(&prices), slope).unwrap();
            assert_eq!(report.counts, counted.counts, "with and without symbols");
            report.distortion + slope * priced_bits(&out, &prices) as f64 / 65536.0
        };
        // Thresholds are rounded to f32: a weight on one may go either way, at nearly the same cost.
        let (all, single) = (j(Source::constant(&w, h)), j(Source::per_weight(&w, &each)));
        prop_assert!((all - single).abs() <= 1e-4 * single + 1e-9, "{all} with one for all, {single} with one for each");
    }

    #[test]
    fn quantizing_decodes_to_what_is_reported(pairs in weights(), step in 0.05f32..1.0, slope in 0f64..0.3) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let source = Source::per_weight(&w, &h);
        let found = grid::quantize(&source, step, slope, 4).unwrap();
        let grid = found.grid;
        let plain = support::loss(&w, &h, found.symbols.iter().map(|&s| grid.value(u32::from(s))));
        prop_assert!((found.report.distortion - plain).abs() <= 1e-5 * plain + 1e-9);
        let mut counts = vec![0; grid.n_levels];
        found.symbols.iter().for_each(|&s| counts[usize::from(s)] += 1);
        prop_assert!(counts[0] > 0 && counts[grid.n_levels - 1] > 0, "the range is tight");
        prop_assert_eq!(&counts, &found.report.counts);
        prop_assert_eq!(&found.prices, &StaticPrices::from_counts(&counts));
        for (&w, &s) in w.iter().zip(&found.symbols) {
            prop_assert!(w != 0.0 || grid.value(u32::from(s)) == 0.0, "zeros stay zero");
        }
        // Sums are cut differently with and without symbols, but only above 2^15 weights.
        let probe = grid::probe(&source, step, slope, 4).unwrap();
        prop_assert_eq!((probe.grid, probe.report), (grid, found.report));
    }

    #[test]
    fn more_iterations_never_cost_more(pairs in weights(), step in 0.05f32..1.0, slope in 0f64..0.3) {
        let (w, h): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let source = Source::per_weight(&w, &h);
        let mut last = f64::INFINITY;
        for iterations in 0..5 {
            let j = grid::probe(&source, step, slope, iterations).unwrap().report.j(slope);
            prop_assert!(j <= last, "{j} after {iterations} iterations, {last} before");
            last = j;
        }
    }
}

#[test]
fn prices_settled_on_a_sample_cost_nearly_the_same() {
    let w = support::laplacian(200_000, 5);
    let source = Source::constant(&w, 1.0);
    for (step, slope) in [(0.05, 1e-4), (0.5, 1e-2), (1.5, 0.1)] {
        let whole = grid::probe(&source, step, slope, 3).unwrap().report.j(slope);
        let grid = Grid::fit(&source, step).unwrap();
        let sampled = grid::probe_on(&source, grid, slope, 3).unwrap().report.j(slope);
        assert!(
            sampled < 1.002 * whole,
            "{sampled} with a sample, {whole} without, at step {step}"
        );
    }
}

#[test]
fn a_floor_beside_the_sensitivities_is_as_one_among_them() {
    let w = support::laplacian(1000, 6);
    let h = support::lognormal(1000, 1.0, 7);
    let floored: Vec<f32> = h.iter().map(|h| h + 0.25).collect();
    let (beside, among) = (Source::floored(&w, &h, 0.25), Source::per_weight(&w, &floored));
    assert!((beside.mean_h() - among.mean_h()).abs() < 1e-6);
    assert_eq!(
        grid::probe(&beside, 0.3, 0.05, 3),
        grid::probe(&among, 0.3, 0.05, 3)
    );
}

#[test]
fn a_small_weight_becomes_zero_when_rate_is_priced() {
    let grid = Grid {
        step: 1.0,
        first: -1,
        n_levels: 3,
    };
    let prices = StaticPrices::from_bits([8, 1, 8].map(|bits| bits << 16).to_vec());
    let source = Source::per_weight(&[0.6, 0.6, -0.9, 5.0], &[1.0, 100.0, 1.0, 0.0]);
    let mut out = [9; 4];
    grid::assign(&source, &grid, &prices, 0.0, &mut out).unwrap();
    assert_eq!(out, [2, 2, 0, 2], "nearest, 5 at the end of the grid");
    grid::assign(&source, &grid, &prices, 0.05, &mut out).unwrap();
    assert_eq!(
        out,
        [1, 2, 0, 1],
        "0.18 + 0.05 < 0.08 + 0.4; 18 > 8; 0.005 + 0.4 < 0.405 + 0.05; h = 0 is free"
    );
}

#[test]
fn a_grid_without_zero_gives_no_zero() {
    let w: Vec<f32> = support::gaussian(2000, 1).iter().map(|w| 5.0 + w.abs()).collect();
    let found = grid::quantize(&Source::constant(&w, 1.0), 0.5, 10.0, 5).unwrap();
    assert_eq!(found.grid.first, 10);
    assert!(
        found
            .symbols
            .iter()
            .all(|&s| found.grid.value(u32::from(s)) >= 5.0)
    );
}

#[test]
fn no_weights_make_an_empty_grid() {
    let source = Source::constant(&[], 1.0);
    let found = grid::quantize(&source, 0.1, 1.0, 3).unwrap();
    assert_eq!(
        (found.grid.n_levels, found.symbols.len(), found.report),
        (0, 0, Report::default())
    );
    assert_eq!(grid::search_step(&source, 1.0).unwrap().step, 1.0);
}

#[test]
fn at_high_rate_the_derived_step_is_the_best_one_and_costs_what_theory_says() {
    let w = support::gaussian(100_000, 3);
    let (h, step) = (3.0, 0.05f32);
    let slope = f64::from(h) * f64::from(step).powi(2) * std::f64::consts::LN_2 / 12.0;
    assert!((grid::step_for_slope(slope, f64::from(h)) / step - 1.0).abs() < 1e-6);
    let source = Source::constant(&w, h);
    let nearest = |step: f32| grid::histogram(&source, step).unwrap().report;
    let at = nearest(step);
    let theory = w.len() as f64 * f64::from(h) * f64::from(step).powi(2) / 24.0;
    assert!(
        (at.distortion / theory - 1.0).abs() < 0.01,
        "D = {} but h step^2 / 24 = {theory}",
        at.distortion
    );
    // 1/2 log2(2 pi e) - log2(step): the differential entropy of a normal variable.
    let bits = 0.5 * (std::f64::consts::TAU * std::f64::consts::E).log2() - f64::from(step).log2();
    assert!(
        (at.rate_bpw() - bits).abs() < 0.01,
        "{} bits, theory {bits}",
        at.rate_bpw()
    );
    for factor in [0.8f32, 1.25] {
        assert!(nearest(step * factor).j(slope) > at.j(slope), "factor {factor}");
    }
    assert_eq!(grid::step_for_slope(0.0, 1.0), 0.0);
    assert_eq!(grid::step_for_slope(1.0, 0.0), f32::INFINITY);
}

#[test]
fn the_search_is_as_good_as_a_dense_scan() {
    for (slope, spread) in [(1e-4, 0.0), (1e-2, 1.0), (0.2, 1.0), (2.0, 2.0)] {
        let (w, h) = (
            support::laplacian(20_000, 8),
            support::lognormal(20_000, spread, 8),
        );
        let source = Source::per_weight(&w, &h);
        let found = grid::search_step(&source, slope).unwrap();
        let base = grid::step_for_slope(slope, source.mean_h());
        let scan = (0..60u8).map(|i| base * 0.2 * 1.05f32.powi(i32::from(i)));
        let best = scan
            .map(|step| grid::probe(&source, step, slope, 3).unwrap().report.j(slope))
            .fold(f64::INFINITY, f64::min);
        assert!(found.j < 1.01 * best, "slope {slope}: {} against {best}", found.j);
        let real = grid::probe(&source, found.step, slope, 3)
            .unwrap()
            .report
            .j(slope);
        assert_eq!(found.j, real, "nothing was sampled");
    }
}

#[test]
fn a_search_over_weights_that_do_not_matter_zeroes_them() {
    let source = Source::constant(&[1.0, -7.0], 0.0);
    let choice = grid::search_step(&source, 0.1).unwrap();
    let found = grid::quantize(&source, choice.step, 0.1, 2).unwrap();
    assert!(
        found
            .symbols
            .iter()
            .all(|&s| found.grid.value(u32::from(s)) == 0.0)
    );
    assert!(
        grid::search_step(&source, 0.0).is_err(),
        "without a price the step would be zero"
    );
}

#[test]
fn sampling_hardly_changes_the_step_found() {
    let w = support::laplacian(600_000, 5);
    let source = Source::constant(&w, 1.0);
    let choice = grid::search_step(&source, 0.02).unwrap();
    let j = grid::probe(&source, choice.step, 0.02, 3).unwrap().report.j(0.02);
    assert!(
        (choice.j / j - 1.0).abs() < 0.01,
        "{} extrapolated, {j} in truth",
        choice.j
    );
}

#[test]
fn a_grid_that_cannot_be_rounded_to_is_refused() {
    let source = Source::constant(&[1.0], 1.0);
    let assign = |grid| grid::assign(&source, &grid, &StaticPrices::default(), 0.0, &mut [0]);
    assert!(
        assign(Grid {
            step: 1.0,
            first: 0,
            n_levels: 2
        })
        .is_ok()
    );
    assert!(
        assign(Grid {
            step: 0.0,
            first: 0,
            n_levels: 2
        })
        .is_err()
    );
    assert!(
        assign(Grid {
            step: 1.0,
            first: 0,
            n_levels: 0
        })
        .is_err(),
        "no level for a weight"
    );
    assert!(
        assign(Grid {
            step: 1.0,
            first: 0,
            n_levels: 65_537
        })
        .is_err(),
        "symbols have 16 bits"
    );
    assert!(
        assign(Grid {
            step: 1.0,
            first: i32::MIN,
            n_levels: 2
        })
        .is_err()
    );
}

#[test]
fn the_smallest_step_is_accepted_and_a_smaller_one_is_not() {
    let w = support::gaussian(1000, 1);
    let source = Source::constant(&w, 1.0);
    let step = Span::of(&[source]).min_step();
    let probe = grid::histogram(&source, step).unwrap();
    assert!(probe.grid.n_levels > 65_000, "{} levels", probe.grid.n_levels);
    assert!(grid::histogram(&source, step * 0.99).is_err());
}

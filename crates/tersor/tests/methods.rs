//! How methods compare: relations that theory gives, on seeded data, by the bytes of whole files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::options::{CompressOptions, Feedback, Method, Scope, Target};
use tersor::sweep::{SweepOptions, sweep};
use tersor::{Compressor, Silent, synthetic};
use tersor_codec::Coder;
use tersor_quant::uniform::Centres;

#[test]
fn a_larger_slope_gives_a_smaller_file_and_a_larger_loss() {
    let original = synthetic::checkpoint(31).unwrap();
    for method in SLOPED {
        for scope in SCOPES {
            let compressor = Compressor::new(&original, options(method, scope)).unwrap();
            let at = |noise| {
                let target = Target::Slope(compressor.slope_for_noise(noise));
                compressor.compress(&target, &Silent).unwrap().report
            };
            let (fine, coarse) = (at(1e-4), at(1e-2));
            assert!(
                coarse.file_bytes < fine.file_bytes,
                "{method} {scope}: a bit costs 100 times as much"
            );
            assert!(coarse.weighted_error > fine.weighted_error, "{method} {scope}");
            let main = coarse.tensors.iter().filter(|t| t.shape.len() > 1);
            let (mut squared, mut energy) = (0.0, 0.0);
            for (error, noise) in main.filter_map(|t| t.squared_error.zip(t.noise)) {
                (squared, energy) = (squared + error, energy + error / noise);
            }
            let noise = squared / energy;
            assert!(
                (2e-3..5e-2).contains(&noise),
                "{method} {scope}: asked for noise of 1e-2, got {noise}"
            );
        }
    }
}

#[test]
fn more_levels_give_a_larger_file_and_a_smaller_loss() {
    let original = synthetic::checkpoint(32).unwrap();
    for method in [Method::KMeans, Method::HessianKMeans] {
        for scope in SCOPES {
            let at = |k| compress(&original, options(method, scope).with_target(Target::Levels(k))).report;
            let (few, many) = (at(8), at(32));
            assert!(
                few.file_bytes < many.file_bytes && few.weighted_error > many.weighted_error,
                "{method} {scope}"
            );
            assert_eq!(few.levels, Some(8));
            let used = few
                .tensors
                .iter()
                .filter(|t| t.shape.len() > 1)
                .filter_map(|t| t.levels)
                .max();
            assert!(
                used.unwrap() <= 9,
                "{method} {scope}: 8 levels and the one of zero, not {used:?}"
            );
        }
    }
}

#[test]
fn entropy_coded_methods_beat_clusterings_when_bits_are_counted_after_coding() {
    let original = synthetic::checkpoint(33).unwrap();
    let file = SensitivityFile::of(&synthetic::sensitivities(33).unwrap());
    let base = CompressOptions::default().with_sensitivity(&file.path);
    let what = SweepOptions {
        methods: vec![Method::Grid, Method::Uniform, Method::HessianKMeans],
        scopes: vec![Scope::Tensor, Scope::Global],
        coders: vec![Coder::Ans],
        bpw: vec![2.0],
        bound: false,
    };
    let points = sweep(&original, &base, &what, &Silent).unwrap();
    assert_eq!(points.len(), 6, "every combination reaches 2 bits per weight");
    for pair in points.chunks(2) {
        assert!(pair.iter().all(|p| p.bpw <= 2.0));
        assert!(
            pair[0].predicted_loss.unwrap() < pair[1].predicted_loss.unwrap(),
            "{}: steps of each tensor's own suit sensitivities that differ",
            pair[0].method
        );
    }
    let loss = |method: Method, scope: Scope| {
        let found = points
            .iter()
            .find(|p| p.method == method.name() && p.scope == scope.name());
        found.unwrap().predicted_loss.unwrap()
    };
    for scope in SCOPES {
        assert!(
            loss(Method::Grid, scope) < loss(Method::Uniform, scope),
            "{scope}: rate counts in assignment"
        );
        assert!(
            loss(Method::Uniform, scope) < loss(Method::HessianKMeans, scope),
            "{scope}: uniform cells are optimal before an entropy code, clusters before a fixed one"
        );
    }
}

#[test]
fn sensitivities_help_a_clustering_at_the_same_number_of_levels() {
    let original = synthetic::checkpoint(34).unwrap();
    let file = SensitivityFile::of(&synthetic::sensitivities(34).unwrap());
    for scope in SCOPES {
        let at = |method| {
            let options = options(method, scope).with_sensitivity(&file.path);
            compress(&original, options.with_target(Target::Levels(8)))
                .report
                .weighted_error
        };
        let (weighted, plain) = (at(Method::HessianKMeans), at(Method::KMeans));
        assert!(
            weighted < plain,
            "{scope}: what is minimised is smaller: {weighted} against {plain}"
        );
    }
}

#[test]
fn weighted_means_of_cells_lose_least() {
    let original = synthetic::checkpoint(35).unwrap();
    let file = SensitivityFile::of(&synthetic::sensitivities(35).unwrap());
    let loss = |centres| {
        let mut options = options(Method::Uniform, Scope::Global).with_sensitivity(&file.path);
        options.centres = centres;
        let report = compress(&original, options.with_target(Target::Step(0.05))).report;
        let main = report.tensors.iter().filter(|t| t.shape.len() > 1);
        main.filter_map(|t| t.weighted_error).sum::<f64>()
    };
    let (grid, mean, weighted) = (
        loss(Centres::Grid),
        loss(Centres::Mean),
        loss(Centres::WeightedMean),
    );
    assert!(
        weighted < mean && weighted < grid,
        "weighted {weighted:e}, mean {mean:e}, grid {grid:e}"
    );
}

#[test]
fn no_memoryless_method_is_below_the_bound_and_grids_come_near_it() {
    let mut base = CompressOptions::default();
    base.feedback = Feedback::Off;
    let what = SweepOptions {
        methods: Method::ALL.to_vec(),
        scopes: SCOPES.to_vec(),
        coders: vec![Coder::Ans],
        bpw: vec![3.0, 5.0],
        bound: true,
    };
    let points = sweep(&small(), &base, &what, &Silent).unwrap();
    assert!(points.len() > 8, "{}", points.len());
    for point in &points {
        let gap = point.gap.unwrap();
        let what = format!("{} {} {}: {gap:?}", point.method, point.scope, point.target_bpw);
        assert!(
            (gap.entropy_bpw - gap.bound_bpw - gap.gap_bpw).abs() < 1e-9,
            "{what}"
        );
        assert!(gap.gap_bpw > 0.0 && gap.gap_bpw < 0.6 * gap.entropy_bpw, "{what}");
        // A quarter of a bit at high rates, log2(2 pi e / 12) / 2, less at low ones; these are few weights.
        if point.method == Method::Grid.name() && point.scope == Scope::Tensor.name() {
            assert!((0.1..0.3).contains(&gap.gap_bpw), "{what}");
        }
    }
}

#[test]
fn a_sweep_leaves_out_what_cannot_be_reached() {
    let what = SweepOptions {
        methods: vec![Method::Grid],
        scopes: vec![Scope::Tensor],
        coders: vec![Coder::Huffman, Coder::Ans],
        bpw: vec![0.01, 4.0],
        bound: false,
    };
    let points = sweep(&small(), &CompressOptions::default(), &what, &Silent).unwrap();
    let reached: Vec<_> = points.iter().map(|p| (p.coder, p.target_bpw)).collect();
    assert_eq!(
        reached,
        [("huffman", 4.0), ("ans", 4.0)],
        "0.01 bits per weight are less than a header"
    );
}

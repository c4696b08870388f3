//! Targets of size, loss and measured quality: met, or refused with a reason.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::checkpoint::{Checkpoint, f32_tensor};
use tersor::evaluate::{EvaluateOptions, compress_to_quality};
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressor, Error, Silent, synthetic};

#[test]
fn sizes_are_met_to_a_percent_and_never_exceeded() {
    let original = synthetic::checkpoint(11).unwrap();
    let mut compressor = Compressor::new(&original, CompressOptions::default()).unwrap();
    let size = compressor.input_size();
    for method in SLOPED {
        for scope in SCOPES {
            compressor.set_method(method, scope, Some(tersor_codec::Coder::Ans));
            for bpw in [2.0, 3.0, 4.0] {
                let limit = bpw * size.n_weights as f64 / 8.0;
                // The same size in three units.
                let target = match bpw as u32 {
                    2 => Target::Bpw(bpw),
                    3 => Target::Ratio(size.bytes as f64 / limit),
                    _ => Target::SizeBytes(limit as u64),
                };
                let compressed = compressor.compress(&target, &Silent).unwrap();
                let share = compressed.bytes.len() as f64 / limit;
                assert!(
                    (0.99..=1.0).contains(&share),
                    "{method} {scope} {target:?}: {share:.4} of the size"
                );
                assert_close(compressed.report.bpw, share * bpw, "bits per weight");
                let n = compressed.report.n_trials;
                assert!(
                    n <= 5,
                    "{method} {scope} {target:?}: {n} files made, where samples show the way"
                );
            }
        }
    }
}

/// Rows of different scale, 600 of 500 weights, in one tensor of a shape.
fn uneven_rows(shape: &[u64]) -> Checkpoint {
    let mut random = 1u64;
    let mut uniform = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let weights: Vec<f32> = (0..600 * 500)
        .map(|i| 2f32.powi(i / 500 % 4) * (uniform() + uniform() + uniform()))
        .collect();
    let tensor = f32_tensor("w".into(), shape.to_vec(), &weights);
    Checkpoint::from_tensors(vec![tensor], Vec::new(), Vec::new()).unwrap()
}

fn first_file_is_close(original: &Checkpoint, bpw: f64) {
    let options = options(Method::Grid, Scope::Tensor).with_coder(Some(tersor_codec::Coder::Ans));
    let report = compress(original, options.with_target(Target::Bpw(bpw))).report;
    let share = report.bpw / bpw;
    assert!(
        report.n_trials == 1 && share >= 0.99,
        "{bpw}: {} files made, {share:.4} of the size",
        report.n_trials
    );
}

#[test]
fn gaps_between_survivors_are_foreseen() {
    // At a low rate some rows are nearly empty, and positions take less than order 0 says.
    first_file_is_close(&uneven_rows(&[600, 500]), 0.7);
}

#[test]
fn what_balance_does_to_symbols_is_foreseen() {
    let kernels = uneven_rows(&[600, 20, 5, 5]);
    for bpw in [0.7, 1.5, 2.5] {
        first_file_is_close(&kernels, bpw);
    }
}

#[test]
fn clusterings_stay_within_a_size() {
    let original = synthetic::checkpoint(12).unwrap();
    for method in [Method::KMeans, Method::HessianKMeans] {
        for scope in SCOPES {
            let mut smaller = f64::INFINITY;
            for bpw in [2.0, 4.0] {
                let report = compress(&original, options(method, scope).with_target(Target::Bpw(bpw))).report;
                assert!(
                    report.bpw <= bpw,
                    "{method} {scope}: {} bits per weight",
                    report.bpw
                );
                assert!(
                    report.bpw > bpw - 0.7,
                    "{method} {scope}: one more level adds less than that"
                );
                assert!(
                    report.squared_error < smaller,
                    "{method} {scope}: more bits, less error"
                );
                smaller = report.squared_error;
            }
        }
    }
}

#[test]
fn a_largest_loss_is_kept_and_used_up() {
    let original = synthetic::checkpoint(13).unwrap();
    let file = SensitivityFile::of(&synthetic::sensitivities(13).unwrap());
    for method in SLOPED {
        let options = options(method, Scope::Tensor).with_sensitivity(&file.path);
        let compressor = Compressor::new(&original, options).unwrap();
        let limit = 0.05;
        let at = |target| compressor.compress(&target, &Silent).unwrap();
        let found = at(Target::MaxLoss(limit));
        assert!(
            found.report.weighted_error <= limit,
            "{method}: {}",
            found.report.weighted_error
        );
        let coarser = at(Target::Slope(found.report.slope * 1.1));
        let loss = coarser.report.weighted_error;
        assert!(
            loss > limit,
            "{method}: a tenth more slope loses {loss}, still within {limit}"
        );
        let half = at(Target::MaxLoss(limit / 2.0));
        assert!(
            half.bytes.len() > found.bytes.len(),
            "{method}: half the loss takes more bytes"
        );
    }
    let options = options(Method::HessianKMeans, Scope::Tensor).with_sensitivity(&file.path);
    let found = compress(&original, options.clone().with_target(Target::MaxLoss(0.05)));
    assert!(found.report.weighted_error <= 0.05);
    let k = found.report.levels.unwrap();
    let fewer = compress(&original, options.with_target(Target::Levels(k - 1)));
    assert!(fewer.report.weighted_error > 0.05, "{k} levels are the fewest");
}

#[test]
fn a_largest_loss_without_sensitivities_is_refused_with_the_reason() {
    let message = refusal(
        &small(),
        CompressOptions::default().with_target(Target::MaxLoss(0.1)),
    );
    assert!(
        message.contains("needs sensitivities") && message.contains("--sensitivity"),
        "{message}"
    );
}

#[test]
fn an_impossible_size_names_the_smallest_file() {
    for method in Method::ALL {
        for scope in SCOPES {
            let options = options(method, scope).with_target(Target::SizeBytes(10));
            let error = try_compress(&small(), options.clone()).unwrap_err();
            assert!(matches!(error, Error::Target(_)), "{method} {scope}: {error:?}");
            let message = error.to_string();
            let smallest: u64 = message
                .split_once("smallest file found has ")
                .and_then(|(_, rest)| rest.split(';').next())
                .and_then(|n| n.parse().ok())
                .unwrap_or_else(|| panic!("{message}"));
            assert!(message.contains("10 bytes") && smallest > 10, "{message}");
            // Sizes are not monotone to the byte.
            let allowed = smallest + 8;
            let n = compress(&small(), options.with_target(Target::SizeBytes(allowed)))
                .bytes
                .len() as u64;
            assert!(
                n <= allowed,
                "{method} {scope}: {n} bytes where the message promised {smallest}"
            );
        }
    }
}

#[test]
fn nonsense_is_refused_with_its_value() {
    let targets: [fn(f64) -> Target; 5] = [Target::Bpw, Target::Ratio, Target::Slope, Target::MaxLoss, |v| {
        Target::Step(v as f32)
    }];
    let file = SensitivityFile::new(vec![f32s("a.weight", &[], &[1.0])]);
    for target in targets {
        for value in [0.0, -2.0, f64::NAN, f64::INFINITY] {
            let target = target(value);
            let options = CompressOptions::default()
                .with_method(Method::Uniform)
                .with_sensitivity(&file.path)
                .with_target(target.clone());
            let message = refusal(&small(), options);
            assert!(message.contains(&format!("is {value};")), "{target:?}: {message}");
        }
    }
    let message = refusal(
        &small(),
        CompressOptions::default().with_target(Target::SizeBytes(0)),
    );
    assert!(message.contains("is 0;"), "{message}");
}

#[test]
fn targets_that_a_method_does_not_have_are_refused() {
    let refuse = |method, target| refusal(&small(), options(method, Scope::Tensor).with_target(target));
    for method in [Method::KMeans, Method::HessianKMeans] {
        let message = refuse(method, Target::Slope(0.25));
        assert!(message.contains("has no slope (0.25)"), "{message}");
        let message = refuse(method, Target::Levels(0));
        assert!(message.contains("levels is 0"), "{message}");
    }
    for method in SLOPED {
        let message = refuse(method, Target::Levels(8));
        assert!(message.contains("(8 asked for)"), "{message}");
    }
    for method in [Method::Grid, Method::KMeans, Method::HessianKMeans, Method::Ecsq] {
        let message = refuse(method, Target::Step(0.25));
        assert!(message.contains("has no step (0.25)"), "{message}");
    }
}

#[test]
fn a_step_is_the_largest_error_of_uniform_cells_twice_over() {
    for scope in SCOPES {
        let compressed = compress(
            &small(),
            options(Method::Uniform, scope).with_target(Target::Step(0.0625)),
        );
        let decoded = decode(&compressed.bytes);
        for name in ["a.weight", "b.weight"] {
            let pairs = floats(&small(), name).into_iter().zip(floats(&decoded, name));
            let largest = pairs.map(|(w, v)| (w - v).abs()).fold(0.0, f32::max);
            assert!((0.03..=0.03126).contains(&largest), "{scope} {name}: {largest}");
        }
    }
}

#[test]
fn more_bits_than_needed_are_no_error() {
    for method in Method::ALL {
        let report = compress(
            &small(),
            options(method, Scope::Tensor).with_target(Target::Bpw(40.0)),
        )
        .report;
        assert!(report.bpw <= 40.0);
        // Iterative ECSQ starts from about a thousand levels, grids go to 65,536.
        let most = if method == Method::Ecsq { 1e-5 } else { 1e-7 };
        let noise = report.noise;
        assert!(
            method.is_clustering() || noise < most,
            "{method}: the most precise there is, not {noise:e}"
        );
    }
}

#[test]
fn sizes_of_one_dimensional_checkpoints_are_met() {
    let original = checkpoint(vec![
        f32s("bias", &[20_000], &bell(21, 20_000, 0.3)),
        f32s(
            "scale",
            &[20_000],
            &bell(22, 20_000, 0.1).iter().map(|v| v.exp()).collect::<Vec<_>>(),
        ),
    ]);
    for bpw in [4.0, 8.0] {
        let report = compress(
            &original,
            CompressOptions::default().with_target(Target::Bpw(bpw)),
        )
        .report;
        assert!(report.bpw <= bpw);
        // Steps are powers of two and mantissas whole bits: a size is met to a bit.
        assert!(report.bpw > bpw - 1.5, "{} of {bpw} bits per weight", report.bpw);
    }
}

#[cfg(unix)]
mod measured {
    use super::*;
    use tersor::Compressed;
    use tersor::evaluate::Evaluation;

    fn to_quality(
        method: Method,
        command: &str,
        at_least: f64,
        max_evals: usize,
    ) -> tersor::Result<(Compressed, Vec<Evaluation>)> {
        let original = small();
        let compressor = Compressor::new(&original, options(method, Scope::Tensor)).unwrap();
        let evaluate = EvaluateOptions {
            command: command.into(),
            at_least,
            max_evals,
        };
        let mut told = 0;
        let result = compress_to_quality(&compressor, &evaluate, &Silent, &mut |_| told += 1);
        if let Ok((_, runs)) = &result {
            assert_eq!(told, runs.len(), "{method}: every run is told");
        }
        result
    }

    /// A quality that falls as the slope grows: the information in the decoded file, by somebody else's compressor.
    const INFORMATION: &str = "gzip -c {} | wc -c";

    #[test]
    fn a_measured_quality_is_reached_within_the_runs_allowed() {
        let folder = tempfile::tempdir().unwrap();
        for method in Method::ALL {
            let log = folder.path().join(method.name());
            let command = format!("echo run >> '{}'; {INFORMATION}", log.display());
            let (best, runs) = to_quality(method, &command, 5000.0, 10).unwrap();
            let n = std::fs::read_to_string(&log).unwrap().lines().count();
            assert_eq!(n, runs.len(), "{method}: every run is told");
            assert!(n <= 10, "{method}: {n} runs");
            let chosen = runs
                .iter()
                .find(|r| r.file_bytes == best.bytes.len() as u64)
                .unwrap();
            assert!(chosen.quality >= 5000.0, "{method}: {}", chosen.quality);
            let smallest = runs
                .iter()
                .filter(|r| r.quality >= 5000.0)
                .map(|r| r.file_bytes)
                .min();
            assert_eq!(
                smallest,
                Some(chosen.file_bytes),
                "{method}: the smallest of those that reach it"
            );
            assert!(
                runs.iter().any(|r| r.quality < 5000.0),
                "{method}: it was looked for where it ends"
            );
        }
    }

    #[test]
    fn fewer_runs_than_needed_still_end_with_what_was_reached() {
        let (_, runs) = to_quality(Method::Grid, INFORMATION, 3000.0, 1).unwrap();
        assert_eq!(runs.len(), 1);
    }

    #[test]
    fn a_quality_out_of_reach_is_told_with_the_best_seen() {
        for method in Method::ALL {
            let error = to_quality(method, "true {}; echo 0.25", 0.5, 12).unwrap_err();
            assert!(matches!(error, Error::Target(_)), "{method}: {error:?}");
            let message = error.to_string();
            assert!(
                message.contains("no file reached 0.5") && message.contains("0.25"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_quality_that_never_falls_ends_at_the_coarsest_file() {
        for method in Method::ALL {
            let (best, runs) = to_quality(method, "true {}; echo 1", 0.5, 12).unwrap();
            let smallest = runs.iter().map(|r| r.file_bytes).min();
            assert_eq!(smallest, Some(best.bytes.len() as u64), "{method}");
            let mut sizes: Vec<_> = runs.iter().map(|r| r.file_bytes).collect();
            sizes.sort_unstable();
            sizes.dedup();
            assert_eq!(
                sizes.len(),
                runs.len(),
                "{method}: the coarsest file is measured once"
            );
        }
    }

    #[test]
    fn no_file_is_measured_twice_and_levels_are_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        for method in Method::ALL {
            let log = folder.path().join(method.name());
            let command = format!("cksum < {{}} >> '{}'; {INFORMATION}", log.display());
            let (_, runs) = to_quality(method, &command, 5000.0, 40).unwrap();
            let log = std::fs::read_to_string(&log).unwrap();
            let mut sums: Vec<&str> = log.lines().collect();
            let n = sums.len();
            assert!(n > 3 && n < 40, "{method}: {n} runs end by themselves");
            sums.sort_unstable();
            sums.dedup();
            assert_eq!(sums.len(), n, "{method}: as many different checkpoints as runs");
            let run = serde_json::to_value(runs[0]).unwrap();
            let (has, lacks) = if method.is_clustering() {
                ("levels", "slope")
            } else {
                ("slope", "levels")
            };
            assert!(
                run.get(has).is_some() && run.get(lacks).is_none(),
                "{method}: {run}"
            );
            if method.is_clustering() {
                assert_eq!(run["levels"], 256);
            }
        }
    }

    #[test]
    fn the_last_line_counts_and_numbers_may_be_negative() {
        let (_, runs) = to_quality(Method::Grid, "echo loading {}; echo ' -1.5e0 '; echo", -2.0, 1).unwrap();
        assert_eq!(runs[0].quality, -1.5);
    }

    #[test]
    fn commands_that_fail_or_print_no_number_are_told() {
        let fail = |command: &str| to_quality(Method::Grid, command, 1.0, 3).unwrap_err();
        let message = fail("echo 1").to_string();
        assert!(message.contains("\"echo 1\" has no {}"), "{message}");
        for (command, reason) in [
            ("test -f {}; exit 3", "exit status: 3"),
            ("echo good {}; echo excellent", "\"excellent\""),
            ("true {}", "\"\""),
            ("true {}; echo NaN", "NaN"),
        ] {
            let error = fail(command);
            assert!(matches!(error, Error::Evaluate(_)), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(reason) && message.contains(command), "{message}");
        }
    }
}

//! Sensitivity files: how they are matched with tensors, what they change, and what is refused.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressed, Compressor, Error, synthetic};
use tersor_codec::Dtype;

fn positive(seed: u64, n: usize) -> Vec<f32> {
    bell(seed, n, 1.0).iter().map(|v| v.exp()).collect()
}

/// Sensitivities of [`small`], each tensor's in its own order of magnitude.
fn full() -> Vec<Tensor> {
    let scaled = |seed, n, scale: f32| positive(seed, n).iter().map(|h| h * scale).collect::<Vec<_>>();
    vec![
        f32s("a.weight", &[60, 50], &scaled(41, 3000, 1.0)),
        f32s("a.bias", &[60], &scaled(42, 60, 30.0)),
        f32s("b.weight", &[40, 60], &scaled(43, 2400, 0.1)),
    ]
}

fn with(tensors: Vec<Tensor>) -> (SensitivityFile, CompressOptions) {
    let file = SensitivityFile::new(tensors);
    let options = CompressOptions::default()
        .with_sensitivity(&file.path)
        .with_target(Target::Slope(1e-4));
    (file, options)
}

fn compressed(tensors: Vec<Tensor>) -> Compressed {
    let (_file, options) = with(tensors);
    compress(&small(), options)
}

/// The message with which a file is refused.
fn refused(tensors: Vec<Tensor>) -> String {
    let (_file, options) = with(tensors);
    let error = try_compress(&small(), options).unwrap_err();
    assert!(matches!(error, Error::Sensitivity(_)), "{error:?}");
    error.to_string()
}

fn renamed(tensors: Vec<Tensor>, name: impl Fn(&str) -> String) -> Vec<Tensor> {
    let rename = |(mut info, bytes): Tensor| {
        info.name = name(&info.name);
        (info, bytes)
    };
    tensors.into_iter().map(rename).collect()
}

#[test]
fn a_loss_is_predicted_only_with_sensitivities() {
    let with = compressed(full()).report;
    assert_eq!(with.predicted_loss, Some(with.weighted_error));
    let parts = with.tensors.iter().filter_map(|t| t.predicted_loss);
    assert_close(parts.sum(), with.weighted_error, "the parts of all tensors");
    let without = compress(&small(), CompressOptions::default()).report;
    assert!(without.weighted_error > 0.0);
    assert_eq!(without.predicted_loss, None);
    assert!(without.tensors.iter().all(|t| t.predicted_loss.is_none()));
    assert!(
        without.without_sensitivities.is_empty(),
        "no file lacks anything where there is none"
    );
}

#[test]
fn tensors_that_the_file_lacks_are_named_one_dimensional_ones_too() {
    let only = |name: &'static str| {
        let tensors: Vec<Tensor> = full().into_iter().filter(|t| t.0.name == name).collect();
        compressed(tensors).report
    };
    let report = only("a.weight");
    assert_eq!(report.without_sensitivities, ["a.bias", "b.weight"]);
    let told: Vec<_> = report.tensors.iter().map(|t| t.sensitivity).collect();
    assert_eq!(told, [Some("file"), Some("relative"), Some("equal")]);
    assert_eq!(only("a.bias").without_sensitivities, ["a.weight", "b.weight"]);
    assert!(compressed(full()).report.without_sensitivities.is_empty());
}

#[test]
fn names_match_with_and_without_a_leading_module() {
    let prefixed = |name: &str| format!("module.{name}");
    let plain = compressed(full());
    assert!(
        plain.report.predicted_loss.is_some() && plain.report.warnings.is_empty(),
        "{:?}",
        plain.report.warnings
    );
    let in_file = compressed(renamed(full(), prefixed));
    assert!(plain.bytes == in_file.bytes, "a prefix in the file");

    let original = small();
    let tensors: Vec<Tensor> = original
        .tensors()
        .iter()
        .map(|t| (t.clone(), bytes(&original, &t.name)))
        .collect();
    let (_file, options) = with(full());
    let in_checkpoint = compress(&checkpoint(renamed(tensors, prefixed)), options);
    assert_eq!(
        plain.report.weighted_error, in_checkpoint.report.weighted_error,
        "a prefix in the checkpoint"
    );
}

#[test]
fn two_entries_for_one_tensor_are_refused() {
    let mut tensors = full();
    tensors.push(f32s("module.a.bias", &[60], &positive(44, 60)));
    let message = refused(tensors);
    assert!(
        message.contains("\"a.bias\"") && message.contains("\"module.a.bias\""),
        "{message}"
    );
}

#[test]
fn shapes_that_broadcast_mean_the_same_as_repeated_values() {
    let (rows, columns) = (positive(45, 60), positive(46, 50));
    let by_row: Vec<f32> = rows.iter().flat_map(|&r| std::iter::repeat_n(r, 50)).collect();
    let by_column: Vec<f32> = (0..60).flat_map(|_| columns.clone()).collect();
    for (what, short, long) in [
        ("rows", f32s("a.weight", &[60, 1], &rows), by_row),
        ("columns", f32s("a.weight", &[50], &columns), by_column.clone()),
        (
            "columns of rank two",
            f32s("a.weight", &[1, 50], &columns),
            by_column,
        ),
        ("a single number", f32s("a.weight", &[], &[0.7]), vec![0.7; 3000]),
        (
            "a number of rank two",
            f32s("a.weight", &[1, 1], &[0.7]),
            vec![0.7; 3000],
        ),
    ] {
        let (a, b) = (
            compressed(vec![short]),
            compressed(vec![f32s("a.weight", &[60, 50], &long)]),
        );
        assert!(a.bytes == b.bytes, "{what}: other bytes");
        assert_close(a.report.weighted_error, b.report.weighted_error, what);
    }
}

#[test]
fn tensors_and_entries_without_a_partner_are_warned_of() {
    let mut tensors = full();
    let removed = tensors.pop().unwrap();
    assert_eq!(removed.0.name, "b.weight");
    tensors.push(f32s("extra", &[2], &[1.0, 1.0]));
    tensors.push(f32s("extra::gram", &[1, 2, 2], &[1.0; 4]));
    let warnings = compressed(tensors).report.warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("\"b.weight\"") && warnings[0].contains("not in the sensitivity file"));
    assert!(
        warnings[1].contains("\"extra\"") && warnings[1].contains("1 entries"),
        "moments are left alone"
    );
}

#[test]
fn a_tensor_that_the_file_lacks_gets_the_importance_of_the_others() {
    let mut tensors = full();
    tensors.pop();
    let (_file, options) = with(tensors);
    let original = small();
    let compressor = Compressor::new(&original, options).unwrap();
    let plan = &compressor.plan().tensors;
    let stake = |i: usize| plan[i].mean_h * plan[i].mean_square;
    assert_close(stake(2), stake(0), "h x mean(w^2) of the only other matrix");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for shape in [&[50, 60][..], &[60], &[1, 60, 50], &[3000]] {
        let n = shape.iter().product::<u64>() as usize;
        let message = refused(vec![f32s("a.weight", shape, &vec![1.0; n])]);
        assert!(
            message.contains("\"a.weight\"") && message.contains(&format!("{shape:?}")),
            "{message}"
        );
        assert!(message.contains("[60, 50]"), "the shape wanted: {message}");
    }
}

#[test]
fn values_that_are_no_sensitivities_are_refused_with_tensor_and_place() {
    for (bad, told) in [
        (-0.5, "-0.5"),
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let mut values = positive(47, 60);
        values[17] = bad;
        let message = refused(vec![f32s("a.bias", &[60], &values)]);
        assert!(
            message.contains(&format!("\"a.bias\" holds {told} at element 17")),
            "{message}"
        );
    }
}

#[test]
fn a_file_of_zeros_is_refused() {
    let message = refused(vec![
        f32s("a.weight", &[60, 50], &[0.0; 3000]),
        f32s("a.bias", &[1], &[0.0]),
    ]);
    assert!(message.contains("all values are 0"), "{message}");
}

#[test]
fn integers_are_refused_with_the_type_wanted() {
    let message = refused(vec![raw("a.bias", Dtype::I32, &[60], &[0; 240])]);
    assert!(
        message.contains("\"a.bias\" is of type I32; write it as F32"),
        "{message}"
    );
}

#[test]
fn a_file_for_another_network_is_refused_with_a_name_of_each() {
    let message = refused(vec![f32s("conv1.weight", &[2], &[1.0, 2.0])]);
    assert!(
        message.contains("\"conv1.weight\"") && message.contains("\"a.weight\""),
        "{message}"
    );
    let message = refused(vec![f32s("a.weight::gram", &[1], &[1.0])]);
    assert!(
        message.contains("no name matches"),
        "moments alone are no sensitivities: {message}"
    );
}

#[test]
fn sensitivities_of_other_float_types_are_read() {
    let values: Vec<f32> = (0..60).map(|i| 0.25 * (1 + i % 7) as f32).collect();
    let wide = compressed(vec![f32s("a.bias", &[60], &values)]);
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F64] {
        let other = compressed(vec![typed("a.bias", dtype, &[60], &values)]);
        assert!(wide.bytes == other.bytes, "{dtype} holds these values exactly");
    }
}

#[test]
fn a_higher_sensitivity_gives_a_lower_error_at_the_same_slope() {
    for method in SLOPED {
        for name in ["a.weight", "a.bias", "b.weight"] {
            let error = |factor: f32| {
                let scale = |(info, bytes): Tensor| {
                    let values = tersor_codec::decode_to_f32(&bytes, Dtype::F32).unwrap();
                    let factor = if info.name == name { factor } else { 1.0 };
                    f32s(
                        &info.name,
                        &info.shape,
                        &values.iter().map(|h| h * factor).collect::<Vec<_>>(),
                    )
                };
                let (_file, options) = with(full().into_iter().map(scale).collect());
                reported_error(&compress(&small(), options.with_method(method)), name)
            };
            let (before, after) = (error(1.0), error(50.0));
            assert!(after < before, "{method} {name}: {before:e} -> {after:e}");
        }
    }
}

#[test]
fn sensitive_weights_of_a_tensor_get_the_smaller_errors() {
    // Rows alternate between low and high; a grid prices rate against each weight's own h.
    let rows: Vec<f32> = (0..60).map(|r| if r % 2 == 0 { 0.02 } else { 2.0 }).collect();
    for method in [Method::Grid, Method::Ecsq] {
        let (_file, options) = with(vec![f32s("a.weight", &[60, 1], &rows)]);
        let options = options.with_method(method).with_target(Target::Slope(1e-3));
        let decoded = decode(&compress(&small(), options).bytes);
        let mut errors = [0.0; 2];
        let pairs = floats(&small(), "a.weight")
            .into_iter()
            .zip(floats(&decoded, "a.weight"));
        for (i, (w, v)) in pairs.enumerate() {
            errors[i / 50 % 2] += f64::from(w - v).powi(2);
        }
        assert!(
            errors[1] < 0.9 * errors[0],
            "{method}: low {:e}, high {:e}",
            errors[0],
            errors[1]
        );
    }
}

#[test]
fn power_zero_equals_a_constant() {
    let mean = {
        let all: Vec<f32> = full()
            .iter()
            .flat_map(|(_, bytes)| tersor_codec::decode_to_f32(bytes, Dtype::F32).unwrap())
            .collect();
        all.iter().map(|&h| f64::from(h)).sum::<f64>() / all.len() as f64
    };
    let (_file, mut options) = with(full());
    options.power = 0.0;
    let tempered = compress(&small(), options);
    let constant = |name: &str| f32s(name, &[], &[mean as f32]);
    let plain = compressed(["a.weight", "a.bias", "b.weight"].map(constant).into());
    assert!(
        tempered.bytes == plain.bytes,
        "all weights alike, at the same mean"
    );
    assert_close(
        tempered.report.weighted_error,
        plain.report.weighted_error,
        "predicted loss",
    );
}

#[test]
fn a_power_between_zero_and_one_evens_sensitivities_out() {
    let ratio = |power: f64| {
        let (_file, mut options) = with(full());
        options.power = power;
        options.floor = 0.0;
        let original = small();
        let compressor = Compressor::new(&original, options).unwrap();
        let plan = &compressor.plan().tensors;
        plan[0].mean_h / plan[2].mean_h
    };
    let (full, half, none) = (ratio(1.0), ratio(0.5), ratio(0.0));
    assert!(full > half && half > none, "{full} {half} {none}");
    assert_close(none, 1.0, "no differences are left");
}

#[test]
fn the_floor_is_a_share_of_each_tensors_own_mean() {
    let mean_h = |floor: f64, index: usize| {
        let (_file, mut options) = with(full());
        options.floor = floor;
        let original = small();
        Compressor::new(&original, options).unwrap().plan().tensors[index].mean_h
    };
    for index in 0..3 {
        assert_close(
            mean_h(0.25, index),
            1.25 * mean_h(0.0, index),
            "mean of h with a floor of a quarter",
        );
    }
    // Weights that the file calls free keep some precision.
    let mut values = vec![1.0; 3000];
    values[..1500].fill(0.0);
    let lost = |floor: f64| {
        let (_file, mut options) = with(vec![f32s("a.weight", &[60, 50], &values)]);
        options.floor = floor;
        let decoded = decode(&compress(&small(), options).bytes);
        let pairs = floats(&small(), "a.weight")
            .into_iter()
            .zip(floats(&decoded, "a.weight"));
        pairs
            .take(1500)
            .map(|(w, v)| f64::from(w - v).powi(2))
            .sum::<f64>()
    };
    let (without, with) = (lost(0.0), lost(0.05));
    assert!(
        with < without,
        "errors of weights with h = 0: {without:e} -> {with:e}"
    );
}

#[test]
fn sensitivities_of_tied_tensors_add() {
    let values = bell(48, 3000, 0.1);
    let tied = || {
        checkpoint(vec![
            f32s("embed", &[60, 50], &values),
            f32s("other", &[40, 60], &bell(49, 2400, 0.1)),
            f32s("head", &[60, 50], &values),
        ])
    };
    let run = |h: Vec<Tensor>| {
        let (_file, mut options) = with(h);
        options.floor = 0.0;
        compress(&tied(), options)
    };
    let one = |name: &str, h: f32| f32s(name, &[], &[h]);
    let both = run(vec![one("embed", 1.0), one("head", 2.0), one("other", 1.0)]);
    let sum = run(vec![one("embed", 3.0), one("other", 1.0)]);
    assert!(both.bytes == sum.bytes, "1 + 2 = 3");
    let second = run(vec![one("head", 3.0), one("other", 1.0)]);
    assert!(second.bytes == sum.bytes, "under the second name alone");
    assert_eq!(both.report.weighted_error, sum.report.weighted_error);
}

#[test]
fn a_tensor_of_no_importance_beside_others_does_no_harm() {
    for method in Method::ALL {
        for scope in SCOPES {
            let (_file, mut options) = with(vec![
                f32s("a.weight", &[60, 50], &positive(50, 3000)),
                f32s("b.weight", &[], &[0.0]),
            ]);
            options.method = method;
            options.scope = scope;
            options.target = if method.is_clustering() {
                Target::Levels(8)
            } else {
                Target::Slope(1e-4)
            };
            let report = compress(&small(), options).report;
            assert!(report.weighted_error.is_finite(), "{method} {scope}");
            let free = &report.tensors[2];
            assert_eq!(
                free.weighted_error,
                Some(0.0),
                "{method} {scope}: errors of {:?} cost nothing",
                free.name
            );
        }
    }
}

#[test]
fn the_same_file_serves_any_seeded_network() {
    for seed in 0..3 {
        let original = synthetic::checkpoint(seed).unwrap();
        let file = SensitivityFile::of(&synthetic::sensitivities(seed).unwrap());
        let options = options(Method::Grid, Scope::Tensor).with_sensitivity(&file.path);
        let report = compress(&original, options.with_target(Target::Bpw(3.0))).report;
        assert!(
            report.bpw <= 3.0 && report.warnings.is_empty(),
            "{:?}",
            report.warnings
        );
    }
}

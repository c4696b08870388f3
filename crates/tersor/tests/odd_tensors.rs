//! Tensors that no ordinary network has, and that a compressor must survive: nothing becomes wrong silently.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::checkpoint::Checkpoint;
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressed, Compressor, Error, Silent, verify};
use tersor_codec::{Dtype, FileReader, Limits};

/// An ordinary matrix beside the odd tensor: a network is never odd altogether.
fn ordinary() -> Tensor {
    f32s("ordinary", &[40, 50], &bell(61, 2000, 0.1))
}

fn both(odd: Tensor) -> (Checkpoint, Compressed, Checkpoint) {
    let original = checkpoint(vec![ordinary(), odd]);
    let compressed = compress(&original, CompressOptions::default());
    let decoded = decode(&compressed.bytes);
    assert_same_layout(&original, &decoded);
    (original, compressed, decoded)
}

/// Asserts that a tensor comes back bit for bit, with every method and scope.
fn assert_exact(odd: &Tensor) {
    let original = checkpoint(vec![ordinary(), odd.clone()]);
    for method in Method::ALL {
        for scope in SCOPES {
            let compressor = Compressor::new(&original, options(method, scope)).unwrap();
            let compressed = compressor
                .compress(&middling(&compressor, 1e-2), &Silent)
                .unwrap();
            let decoded = decode(&compressed.bytes);
            assert_same_layout(&original, &decoded);
            assert_eq!(
                bytes(&decoded, &odd.0.name),
                odd.1,
                "{method} {scope}: {:?}",
                odd.0.name
            );
        }
    }
}

#[test]
fn nan_and_infinity_are_kept_bit_for_bit_and_warned_of_by_name() {
    let mut values = bell(62, 300, 1.0);
    values[7] = f32::from_bits(0x7fc0_1234);
    values[8] = f32::from_bits(0xff80_0001);
    values[9] = f32::NEG_INFINITY;
    for shape in [&[300][..], &[10, 30]] {
        let odd = f32s("broken", shape, &values);
        assert_exact(&odd);
        let (_, compressed, _) = both(odd);
        let warning = compressed
            .report
            .warnings
            .iter()
            .find(|w| w.contains("\"broken\""))
            .unwrap();
        assert!(warning.contains("3 elements are NaN or infinite"), "{warning}");
        let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
        let original = checkpoint(vec![ordinary(), f32s("broken", shape, &values)]);
        let report = verify::compare(&reader, &original, &Silent).unwrap();
        assert!(report.tensors[1].identical && report.tensors[1].max_abs == 0.0);
    }
}

#[test]
fn magnitudes_beyond_what_steps_can_be_computed_for_are_kept() {
    for (name, scale) in [("subnormal", 1e-40), ("huge", 1e35), ("tiny", 1e-30)] {
        let values: Vec<f32> = bell(63, 300, 1.0)
            .iter()
            .map(|v| (f64::from(*v) * scale) as f32)
            .collect();
        for shape in [&[300][..], &[20, 15]] {
            let odd = f32s(name, shape, &values);
            assert_exact(&odd);
            let (_, compressed, _) = both(odd);
            let reason = compressed.report.tensors[1].reason.clone().unwrap();
            assert!(reason.contains("magnitudes"), "{name}: {reason}");
        }
    }
}

#[test]
fn one_dimensional_tensors_of_any_scale_keep_relative_precision() {
    for exponent in [-24, -20, -12, -6, 6, 12, 20, 28] {
        let scale = 10f64.powi(exponent);
        let signed: Vec<f32> = bell(64, 300, 1.0)
            .iter()
            .map(|v| (f64::from(*v) * scale) as f32)
            .collect();
        let positive: Vec<f32> = bell(65, 300, 0.5)
            .iter()
            .map(|v| (f64::from(v.exp()) * scale) as f32)
            .collect();
        for (name, values) in [("signed", signed), ("positive", positive)] {
            let (original, compressed, decoded) = both(f32s(name, &[300], &values));
            let energy: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
            let noise = squared_error(&original, &decoded, name) / energy;
            assert!(noise < 1e-2, "{name} around 1e{exponent}: noise {noise:e}");
            let loss = compressed.report.weighted_error;
            assert!(
                loss.is_finite(),
                "{name} around 1e{exponent}: predicted loss {loss}"
            );
        }
    }
}

#[test]
fn matrices_of_mixed_magnitudes_survive() {
    let values: Vec<f32> = (0..400)
        .map(|i| 10f32.powi(i % 41 - 20) * if i % 3 == 0 { -1.0 } else { 1.0 })
        .collect();
    for shape in [&[400][..], &[20, 20]] {
        for method in Method::ALL {
            for scope in SCOPES {
                let original = checkpoint(vec![ordinary(), f32s("mixed", shape, &values)]);
                let compressed = compress(&original, options(method, scope));
                let decoded = floats(&decode(&compressed.bytes), "mixed");
                assert!(decoded.iter().all(|v| v.is_finite()), "{method} {scope}");
                let largest = values.iter().zip(&decoded).filter(|(w, _)| w.abs() > 5e19);
                for (w, v) in largest {
                    assert!((w - v).abs() < 0.1 * w.abs(), "{method} {scope}: {w} became {v}");
                }
                assert!(compressed.report.weighted_error.is_finite(), "{method} {scope}");
            }
        }
    }
}

#[test]
fn positive_tensors_of_distant_ranges_do_not_spoil_each_other() {
    // Both want mantissas of many bits, but no 65,536 levels cover both.
    let around =
        |seed, scale: f32| -> Vec<f32> { bell(seed, 500, 0.5).iter().map(|v| v.exp() * scale).collect() };
    let original = checkpoint(vec![
        f32s("low", &[500], &around(66, 1e-12)),
        f32s("high", &[500], &around(67, 1e12)),
        ordinary(),
    ]);
    for (noise, apart) in [(1e-2, 0.2), (1e-6, 1e-2), (1e-9, 1e-3)] {
        let compressor = Compressor::new(&original, CompressOptions::default()).unwrap();
        let target = Target::Slope(compressor.slope_for_noise(noise));
        let decoded = decode(&compressor.compress(&target, &Silent).unwrap().bytes);
        for name in ["low", "high"] {
            for (w, v) in floats(&original, name).into_iter().zip(floats(&decoded, name)) {
                assert!(
                    (w - v).abs() < apart * w,
                    "at noise {noise} {name}: {w:e} became {v:e}"
                );
            }
        }
    }
}

#[test]
fn a_running_variance_over_six_decades_never_reaches_zero_and_keeps_relative_precision() {
    let mut random = Random(68);
    let values: Vec<f32> = (0..512)
        .map(|_| 10f64.powf(6.0 * random.unit() - 6.0) as f32)
        .collect();
    let original = checkpoint(vec![ordinary(), f32s("bn.running_var", &[512], &values)]);
    for method in Method::ALL {
        for scope in SCOPES {
            let compressor = Compressor::new(&original, options(method, scope)).unwrap();
            let target = middling(&compressor, 1e-2);
            let decoded = decode(&compressor.compress(&target, &Silent).unwrap().bytes);
            for (w, v) in values.iter().zip(floats(&decoded, "bn.running_var")) {
                assert!(v > 0.0, "{method} {scope}: {w:e} became {v}");
                assert!((w - v).abs() < 0.2 * w, "{method} {scope}: {w:e} became {v:e}");
            }
        }
    }
}

#[test]
fn constants_zeros_and_single_elements_are_exact() {
    for shape in [&[1][..], &[1, 1], &[7], &[6, 9], &[2, 3, 4, 5]] {
        let n = shape.iter().product::<u64>() as usize;
        for value in [0.0, -0.0, 0.3, -1e-7, 1e20, f32::from_bits(1), f32::MAX] {
            assert_exact(&f32s("constant", shape, &vec![value; n]));
        }
    }
    assert_exact(&f32s("scalar", &[], &[0.1]));
    assert_exact(&typed("scalar of half precision", Dtype::F16, &[], &[0.1]));
    assert_exact(&raw(
        "scalar of double precision",
        Dtype::F64,
        &[],
        &0.1f64.to_le_bytes(),
    ));
}

#[test]
fn zeros_of_both_signs_come_back_as_zeros() {
    let values: Vec<f32> = (0..64).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect();
    for shape in [&[64][..], &[8, 8]] {
        for method in Method::ALL {
            for scope in SCOPES {
                let original = checkpoint(vec![ordinary(), f32s("zeros", shape, &values)]);
                let decoded = decode(&compress(&original, options(method, scope)).bytes);
                assert!(
                    floats(&decoded, "zeros").iter().all(|v| *v == 0.0),
                    "{method} {scope}"
                );
            }
        }
    }
}

#[test]
fn empty_tensors_keep_their_shapes() {
    for shape in [&[0][..], &[3, 0, 2], &[0, 0]] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::I64] {
            assert_exact(&raw("empty", dtype, shape, &[]));
        }
    }
    let original = checkpoint(vec![
        raw("first", Dtype::F32, &[0], &[]),
        ordinary(),
        raw("between", Dtype::F32, &[0, 4], &[]),
        f32s("last", &[3], &[1.0, 2.0, 4.0]),
        raw("end", Dtype::F32, &[0], &[]),
    ]);
    assert_same_layout(
        &original,
        &decode(&compress(&original, CompressOptions::default()).bytes),
    );
}

#[test]
fn every_float_type_is_quantized_and_comes_back_in_its_type() {
    let values = bell(69, 6000, 0.1);
    for (dtype, half_unit) in [
        (Dtype::F16, 2f64.powi(-11)),
        (Dtype::Bf16, 2f64.powi(-8)),
        (Dtype::F64, 2f64.powi(-24)),
        (Dtype::F8E4m3, 2f64.powi(-4)),
        (Dtype::F8E5m2, 2f64.powi(-3)),
    ] {
        let odd = typed("typed", dtype, &[60, 100], &values);
        let original = checkpoint(vec![ordinary(), odd.clone()]);
        for method in Method::ALL {
            for scope in SCOPES {
                let compressed = compress(&original, options(method, scope));
                assert_eq!(
                    compressed.report.tensors[1].stored, "quantized",
                    "{dtype} {method} {scope}"
                );
                let decoded = decode(&compressed.bytes);
                assert_same_layout(&original, &decoded);
                // Near-lossless: a hundredth of the deviation, and what rounding to the type adds.
                for (w, v) in floats(&original, "typed")
                    .into_iter()
                    .zip(floats(&decoded, "typed"))
                {
                    let apart = f64::from((w - v).abs());
                    let allowed = 0.02 + 2.0 * half_unit * f64::from(w.abs());
                    assert!(apart <= allowed, "{dtype} {method} {scope}: {w} became {v}");
                }
            }
        }
    }
}

#[test]
fn the_largest_numbers_of_a_type_do_not_become_infinite() {
    for (dtype, largest) in [
        (Dtype::F16, 65504.0),
        (Dtype::F8E4m3, 448.0),
        (Dtype::F8E5m2, 57344.0),
    ] {
        let mut values: Vec<f32> = bell(70, 2000, 0.25).iter().map(|v| v * largest).collect();
        for v in &mut values {
            *v = v.clamp(-largest, largest);
        }
        values[5] = largest;
        values[6] = -largest;
        for shape in [&[2000][..], &[40, 50]] {
            let original = checkpoint(vec![ordinary(), typed("full range", dtype, shape, &values)]);
            for method in Method::ALL {
                for scope in SCOPES {
                    for noise in [1e-4, 3e-2] {
                        let compressor = Compressor::new(&original, options(method, scope)).unwrap();
                        let target = middling(&compressor, noise);
                        let decoded = decode(&compressor.compress(&target, &Silent).unwrap().bytes);
                        let finite = floats(&decoded, "full range").iter().all(|v| v.is_finite());
                        assert!(finite, "{dtype} {shape:?} {method} {scope} at noise {noise}");
                    }
                }
            }
        }
    }
}

#[test]
fn integers_booleans_and_bytes_are_exact() {
    for dtype in Dtype::ALL.into_iter().filter(|d| !d.is_float()) {
        let mut random = Random(71);
        let pattern: Vec<u8> = (0..24 * dtype.size_bytes())
            .map(|_| {
                if dtype == Dtype::Bool {
                    u8::from(random.unit() < 0.5)
                } else {
                    (random.unit() * 256.0) as u8
                }
            })
            .collect();
        assert_exact(&raw("exact", dtype, &[4, 6], &pattern));
        assert_exact(&raw("single", dtype, &[], &pattern[..dtype.size_bytes()]));
    }
}

#[test]
fn any_name_comes_back() {
    let names = [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/",
        "a\0b\n\t\u{1b}[31m",
        "größe.重み.🦀",
        "\"\\",
        " ",
        "CON",
        "__metadata",
    ];
    let tensors = names
        .iter()
        .zip(0..)
        .map(|(name, seed)| f32s(name, &[4, 4], &bell(seed, 16, 1.0)))
        .collect();
    let original = checkpoint(tensors);
    let compressed = compress(&original, CompressOptions::default());
    let decoded = decode(&compressed.bytes);
    assert_same_layout(&original, &decoded);
    for (name, told) in names.iter().zip(&compressed.report.tensors) {
        assert_eq!(*name, told.name);
    }
}

#[test]
fn more_axes_than_a_file_can_hold_are_refused_by_name() {
    let deep = |axes: usize| checkpoint(vec![ordinary(), f32s("deep", &vec![1; axes], &[1.0])]);
    let error = try_compress(&deep(65), CompressOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Options(_)), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("\"deep\" has 65 axes") && message.contains("at most 64"),
        "{message}"
    );
    let original = deep(64);
    assert_same_layout(
        &original,
        &decode(&compress(&original, CompressOptions::default()).bytes),
    );
}

#[test]
fn checkpoints_without_matrices_work_with_every_method() {
    let biases = vec![
        f32s("bias", &[500], &bell(72, 500, 0.2)),
        f32s("scale", &[3], &[0.5, 1.0, 1.5]),
    ];
    for tensors in [
        biases,
        vec![f32s("only", &[1, 1], &[0.5])],
        vec![f32s("x", &[2, 1], &[0.5, -0.25])],
        vec![],
    ] {
        let original = checkpoint(tensors);
        for method in Method::ALL {
            for scope in SCOPES {
                let compressed = compress(&original, options(method, scope));
                let decoded = decode(&compressed.bytes);
                assert_same_layout(&original, &decoded);
                let report = &compressed.report;
                assert!(
                    report.noise < 1e-3,
                    "{method} {scope}: nearly lossless, not {:e}",
                    report.noise
                );
                assert!(
                    report.weighted_error.is_finite() && report.ratio.is_finite() && report.bpw.is_finite()
                );
            }
        }
    }
}

#[test]
fn a_tensor_of_several_groups_comes_back_whole() {
    let n = 3_000_000;
    let mut random = Random(73);
    let values: Vec<f32> = (0..n)
        .map(|_| (random.unit() + random.unit() - 1.0) as f32 * 0.1)
        .collect();
    let original = checkpoint(vec![
        f32s("large", &[3000, 1000], &values),
        f32s("bias", &[10], &bell(74, 10, 1.0)),
    ]);
    let compressed = compress(
        &original,
        CompressOptions::default().with_target(Target::Bpw(4.0)),
    );
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    assert!(
        reader.directory().groups.len() >= 3,
        "about a million elements each"
    );
    assert!(
        (3.96..=4.0).contains(&compressed.report.bpw),
        "{}",
        compressed.report.bpw
    );
    let decoded = decode(&compressed.bytes);
    assert_same_layout(&original, &decoded);
    let error = squared_error(&original, &decoded, "large");
    assert_close(
        reported_error(&compressed, "large"),
        error,
        "squared error over all groups",
    );
}

#[test]
fn groups_of_any_size_hold_the_same_values() {
    let original = checkpoint(vec![
        ordinary(),
        f32s("bias", &[77], &bell(75, 77, 1.0)),
        raw("counter", Dtype::I64, &[5], &[1; 40]),
        f32s("matrix", &[33, 44], &bell(76, 33 * 44, 1.0)),
    ]);
    for method in [Method::Grid, Method::HessianKMeans] {
        let run = |group_elements| {
            let mut options = options(method, Scope::Tensor);
            options.group_elements = group_elements;
            decode(&compress(&original, options).bytes)
        };
        let whole = run(1 << 20);
        for group_elements in [1000, 64] {
            let cut = run(group_elements);
            for t in original.tensors() {
                assert_eq!(
                    bytes(&whole, &t.name),
                    bytes(&cut, &t.name),
                    "{method}: groups of {group_elements}"
                );
            }
        }
    }
}

#[test]
fn a_mask_is_stored_exactly_and_does_not_set_the_precision_of_the_weights() {
    let mask: Vec<f32> = (0..64 * 64)
        .map(|i| if i % 64 > i / 64 { -1e4 } else { 0.0 })
        .collect();
    let original = checkpoint(vec![
        f32s("mask", &[64, 64], &mask),
        f32s("weight", &[128, 128], &bell(3, 128 * 128, 0.03)),
    ]);
    for target in [Target::NearLossless, Target::Bpw(6.0)] {
        let compressed = compress(&original, CompressOptions::default().with_target(target));
        let decoded = decode(&compressed.bytes);
        assert_eq!(bytes(&original, "mask"), bytes(&decoded, "mask"));
        let energy: f64 = floats(&original, "weight")
            .iter()
            .map(|&w| f64::from(w).powi(2))
            .sum();
        let noise = squared_error(&original, &decoded, "weight") / energy;
        assert!(
            noise < 2e-3,
            "a noise of {noise:e}: the mask has 10,000 times the weights' magnitude"
        );
    }
}

#[test]
fn one_dimensional_tensors_of_distant_ranges_do_not_stop_a_fine_target() {
    let spread = |scale: f32| bell(5, 16, 1.0).iter().map(|w| w * scale).collect::<Vec<_>>();
    let original = checkpoint(vec![
        f32s("weight", &[64, 64], &bell(4, 4096, 0.1)),
        f32s("a.bias", &[16], &spread(1.0)),
        f32s("b.bias", &[16], &spread(900.0)),
    ]);
    for bpw in [12.0, 14.0, 20.0, 31.0] {
        let compressed = compress(
            &original,
            CompressOptions::default().with_target(Target::Bpw(bpw)),
        );
        assert!(compressed.report.bpw <= bpw, "{bpw}");
    }
}

#[test]
fn many_small_tensors_are_compared_in_one_pass() {
    let one = |i: usize| f32s(&format!("t{i}"), &[4, 4], &bell(i as u64, 16, 0.1));
    let original = checkpoint((0..3000).map(one).collect());
    let compressed = compress(&original, CompressOptions::default());
    let reader = FileReader::new(&compressed.bytes, Limits::default()).unwrap();
    let start = std::time::Instant::now();
    let report = verify::compare(&reader, &original, &Silent).unwrap();
    assert!(report.same_layout && report.tensors.len() == 3000);
    // Decoding the group anew for each tensor took a minute.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

//! Trained networks, where `TERSOR_DATA` names a folder of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::options::{CompressOptions, Feedback, Method, Target};
use tersor::{Compressor, Silent, verify};
use tersor_codec::{Coder, FileReader, Limits};

const FISHER: &str = "weights/resnet32-cifar10.fisher.safetensors";

#[test]
fn resnet32_meets_its_sizes_and_methods_rank_as_theory_says() {
    let Some(folder) = data_folder() else { return };
    let original = open(&folder, "resnet32-cifar10.safetensors");
    // By the loss that the diagonal predicts: balanced errors have more of it.
    let options = CompressOptions::default()
        .with_sensitivity(folder.join(FISHER))
        .with_feedback(Feedback::Off);
    let mut compressor = Compressor::new(&original, options).unwrap();
    let ranking = [
        Method::Grid,
        Method::Uniform,
        Method::HessianKMeans,
        Method::KMeans,
    ];
    for scope in SCOPES {
        let mut best = (0.0, Method::Grid);
        for method in ranking {
            compressor.set_method(method, scope, Some(Coder::Ans));
            let report = compressor.compress(&Target::Bpw(2.0), &Silent).unwrap().report;
            assert!(report.bpw <= 2.0, "{method} {scope}: {}", report.bpw);
            assert!(
                method.is_clustering() || report.bpw >= 1.98,
                "{method} {scope}: {}",
                report.bpw
            );
            let loss = report.weighted_error;
            assert!(
                loss > best.0,
                "{scope}: {method} loses {loss}, {} no less: {}",
                best.1,
                best.0
            );
            best = (loss, method);
        }
    }
    for bpw in [3.0, 4.0] {
        compressor.set_method(Method::Grid, SCOPES[0], Some(Coder::Ans));
        let report = compressor.compress(&Target::Bpw(bpw), &Silent).unwrap().report;
        assert!(
            (0.99 * bpw..=bpw).contains(&report.bpw),
            "{} of {bpw}",
            report.bpw
        );
    }
}

#[test]
fn a_pytorch_file_and_its_safetensors_become_the_same_symbols() {
    let Some(folder) = data_folder() else { return };
    let run = |name: &str| {
        let original = open(&folder, name);
        let options = CompressOptions::default()
            .with_sensitivity(folder.join(FISHER))
            .with_target(Target::Bpw(3.0));
        decode(&compress(&original, options).bytes)
    };
    let (torch, safe) = (run("resnet32-cifar10.th"), run("resnet32-cifar10.safetensors"));
    let mut n_compared = 0;
    for info in safe
        .tensors()
        .iter()
        .filter(|t| t.dtype.is_float() && t.shape.len() > 1)
    {
        let found = torch
            .tensors()
            .iter()
            .find(|t| t.name.ends_with(&info.name))
            .unwrap();
        let (a, b) = (floats(&torch, &found.name), floats(&safe, &info.name));
        let energy: f64 = b.iter().map(|&v| f64::from(v).powi(2)).sum();
        let apart: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
        // Longer names take some bytes, and so move the slope a little.
        assert!(apart < 0.01 * energy, "{}: {apart:e} of {energy:e}", info.name);
        n_compared += 1;
    }
    assert!(n_compared > 30, "all layers, not {n_compared}");

    let at_slope = |name: &str| {
        let original = open(&folder, name);
        let options = CompressOptions::default()
            .with_sensitivity(folder.join(FISHER))
            .with_target(Target::Slope(1e-6));
        let compressed = compress(&original, options);
        (decode(&compressed.bytes), compressed.report.weighted_error)
    };
    let ((torch, _), (safe, _)) = (
        at_slope("resnet32-cifar10.th"),
        at_slope("resnet32-cifar10.safetensors"),
    );
    for info in safe.tensors() {
        let found = torch
            .tensors()
            .iter()
            .find(|t| t.name.trim_start_matches("module.") == info.name);
        let found = found.unwrap_or_else(|| panic!("{} is missing", info.name));
        assert_eq!(
            bytes(&torch, &found.name),
            bytes(&safe, &info.name),
            "{}",
            info.name
        );
    }
}

#[test]
fn other_architectures_compress_and_verify() {
    let Some(folder) = data_folder() else { return };
    for name in ["squeezenet1_1-imagenet.safetensors", "stories260k.safetensors"] {
        let original = open(&folder, name);
        let compressed = compress(
            &original,
            CompressOptions::default().with_target(Target::Bpw(4.0)),
        );
        assert!(
            (3.96..=4.0).contains(&compressed.report.bpw),
            "{name}: {}",
            compressed.report.bpw
        );
        let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
        verify::verify(&reader, &Silent).unwrap();
        let report = verify::compare(&reader, &original, &Silent).unwrap();
        assert!(
            report.same_layout && report.noise < 0.05,
            "{name}: noise {}",
            report.noise
        );
        assert_close(report.squared_error, compressed.report.squared_error, name);
        assert_same_layout(&original, &decode(&compressed.bytes));
    }
}

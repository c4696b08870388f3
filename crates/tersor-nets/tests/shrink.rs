//! Networks trained to be small, beside what compression without training makes of them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may fail a test and say what they saw"
)]

mod support;

use support::small::{decoded, examples, scores, small, trained};
use tersor::options::{CompressOptions, Target};
use tersor::{Compressor, Silent};
use tersor_codec::{Codebook, Coder, Limits, QuantizedCheckpoint, TensorData};
use tersor_nets::examples::calibration_batches;
use tersor_nets::graph::Network;
use tersor_nets::prune::Score;
use tersor_nets::sequential::{SequentialOptions, SequentialTarget, compress};
use tersor_nets::shrink::{
    AccuracyGoal, Rounding, ShrinkOptions, ShrinkTask, Shrunk, shrink, shrink_to_accuracy,
};
use tersor_nets::train::{Distillation, Optimizer, Schedule, Teacher, TrainOptions};
use tersor_nets::{Device, Parameters, Result, open_device};

const BYTES: u64 = 1_600; // half a bit per weight

fn training(epochs: usize, peak: f64) -> TrainOptions {
    TrainOptions {
        epochs,
        batch: 50,
        seed: 2,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Cosine {
            peak,
            warmup: 0.1,
            floor: 0.05,
        },
        batch_statistics: 1.0,
    }
}

fn options() -> ShrinkOptions {
    ShrinkOptions {
        bytes: BYTES,
        keep: None,
        score: Score::LossPerBit,
        prune: training(6, 2e-3),
        stage: training(2, 1e-3),
        n_stages: 3,
        rounding: Rounding::Weights,
        coder: Coder::Context,
    }
}

fn run(
    network: &Network,
    start: &Parameters,
    device: &Device,
    folder: &std::path::Path,
    options: &ShrinkOptions,
    teacher: Option<&Teacher>,
) -> Result<(Shrunk, usize)> {
    let task = ShrinkTask {
        network,
        examples: &examples(1500, 1),
        device,
        teacher,
        folder,
        progress: &Silent,
    };
    let mut epochs = 0;
    let shrunk = shrink(&task, start.clone(), options, |_, _| epochs += 1)?;
    Ok((shrunk, epochs))
}

fn accuracy(network: &Network, file: &[u8], device: &Device) -> f64 {
    scores(network, &decoded(network, file), device, None)
        .summary()
        .accuracy
}

#[test]
fn a_shrunken_network_is_far_better_than_a_compressed_one_of_its_size() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let folder = tempfile::tempdir().unwrap();
    let (shrunk, epochs) = run(&network, &original, &device, folder.path(), &options(), None).unwrap();
    assert_eq!(epochs, 6 + 3 * 2);
    let size = shrunk.bytes.len() as f64 / BYTES as f64;
    assert!((0.93..=1.0).contains(&size), "{size} of the size");
    assert_eq!(shrunk.report.bytes, shrunk.bytes.len() as u64);

    let checkpoint = original.to_checkpoint().unwrap();
    let plain = CompressOptions::default().with_coder(Some(Coder::Context));
    let plain = Compressor::new(&checkpoint, plain).unwrap();
    let plain = plain.compress(&Target::SizeBytes(BYTES), &Silent).unwrap();
    let whole = scores(&network, &original, &device, None).summary().accuracy;
    let (ours, theirs) = (
        accuracy(&network, &shrunk.bytes, &device),
        accuracy(&network, &plain.bytes, &device),
    );
    eprintln!("accuracy {whole:.3}; in {BYTES} bytes {ours:.3} shrunken, {theirs:.3} compressed");
    assert!(ours > whole - 0.1 && ours > theirs + 0.05, "{ours} {theirs}");

    // Weights are on grids, without tables of levels.
    let quantized = QuantizedCheckpoint::decode(&shrunk.bytes, Limits::default()).unwrap();
    for tensor in quantized.tensors.iter().filter(|t| t.info.shape.len() > 1) {
        let TensorData::Quantized { codebook, .. } = tensor.data else {
            panic!("{} is not quantized", tensor.info.name);
        };
        assert!(matches!(quantized.codebooks[codebook], Codebook::Grid { .. }));
    }

    // The same again takes no training; other settings are refused.
    let (again, epochs) = run(&network, &original, &device, folder.path(), &options(), None).unwrap();
    assert!(again.bytes == shrunk.bytes && epochs == 0, "{epochs} epochs");
    assert_eq!(again.report, shrunk.report);
    let other = ShrinkOptions {
        bytes: 2000,
        ..options()
    };
    let refused = run(&network, &original, &device, folder.path(), &other, None).unwrap_err();
    assert!(refused.to_string().contains("other settings"), "{refused}");
    let start = Parameters::random(&network, 1);
    let refused = run(&network, &start, &device, folder.path(), &options(), None).unwrap_err();
    assert!(refused.to_string().contains("weights"), "{refused}");
}

#[test]
fn networks_that_train_on_beat_those_that_are_only_rounded() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let bytes = BYTES;
    let (_, rounded) = compress(
        &network,
        &original,
        &calibration_batches(network.input, &examples(1500, 1), 750, 0).unwrap(),
        &device,
        (SequentialTarget::SizeBytes(bytes), &SequentialOptions::default()),
        &CompressOptions::default(),
        &Silent,
    )
    .unwrap();
    let accuracy = |file: &[u8]| accuracy(&network, file, &device);
    let theirs = accuracy(&rounded.bytes);
    let options = ShrinkOptions {
        bytes,
        prune: training(0, 1e-3),
        stage: training(10, 1e-3),
        n_stages: 2,
        rounding: Rounding::Layers,
        ..options()
    };
    let (folder, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let task = ShrinkTask {
        network: &network,
        examples: &examples(1500, 1),
        device: &device,
        teacher: None,
        folder: folder.path(),
        progress: &Silent,
    };
    let (mut epochs, all) = (0, options.n_stages * options.stage.epochs);
    let shrunk = shrink(&task, original.clone(), &options, |_, _| {
        epochs += 1;
        if epochs == all {
            // As it was left before the last.
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, stopped.path().join(path.file_name().unwrap())).unwrap();
            }
        }
    })
    .unwrap();
    assert_eq!(epochs, all);
    let size = shrunk.bytes.len() as f64 / bytes as f64;
    assert!((0.93..=1.0).contains(&size), "{size} of the size");
    let ours = accuracy(&shrunk.bytes);
    eprintln!("accuracy in {bytes} bytes: {ours:.3} trained, {theirs:.3} rounded");
    assert!(ours > theirs, "{ours} {theirs}");

    // One that was stopped goes on, and the same again takes no training.
    for (folder, left) in [(&stopped, 1), (&stopped, 0), (&folder, 0)] {
        let (again, epochs) = run(&network, &original, &device, folder.path(), &options, None).unwrap();
        assert_eq!(epochs, left);
        assert!(again.bytes == shrunk.bytes, "{left} left");
    }
}

#[test]
fn a_teacher_stands_in_for_labels() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let teacher = Teacher::new(&original, Distillation::new(2.0), &device);
    let folder = tempfile::tempdir().unwrap();
    let (shrunk, _) = run(
        &network,
        &original,
        &device,
        folder.path(),
        &options(),
        Some(&teacher),
    )
    .unwrap();
    let whole = scores(&network, &original, &device, None).summary().accuracy;
    let ours = accuracy(&network, &shrunk.bytes, &device);
    assert!(ours > whole - 0.1, "{ours} of {whole}");
}

#[test]
fn the_smallest_file_of_an_accuracy_is_found() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let folder = tempfile::tempdir().unwrap();
    let task = ShrinkTask {
        network: &network,
        examples: &examples(1000, 1),
        device: &device,
        teacher: None,
        folder: folder.path(),
        progress: &Silent,
    };
    let options = ShrinkOptions {
        bytes: 2500,
        prune: training(2, 2e-3),
        stage: training(1, 1e-3),
        n_stages: 2,
        ..options()
    };
    let held_out = examples(500, 77);
    let goal = |least: f64| AccuracyGoal {
        least,
        held_out: &held_out,
        max_sizes: 4,
    };
    let found = shrink_to_accuracy(&task, &original, &options, &goal(0.6), |_, _| ()).unwrap();
    let good = |&&(_, accuracy): &&(u64, Option<f64>)| accuracy >= Some(0.6);
    let smallest = found.tried.iter().filter(good).map(|t| t.0).min().unwrap();
    assert!(found.held_out.accuracy >= 0.6 && found.held_out.n == 500);
    assert!(found.shrunk.bytes.len() as u64 <= smallest, "{:?}", found.tried);
    assert!(smallest < 2500 && found.tried.len() > 1, "{:?}", found.tried);
    // What was tried is there.
    let mut epochs = 0;
    let again = shrink_to_accuracy(&task, &original, &options, &goal(0.6), |_, _| epochs += 1).unwrap();
    assert!(epochs == 0 && again.shrunk.bytes == found.shrunk.bytes);
    let perfect = AccuracyGoal {
        max_sizes: 1,
        ..goal(1.0)
    };
    let refused = shrink_to_accuracy(&task, &original, &options, &perfect, |_, _| ()).unwrap_err();
    assert!(refused.to_string().contains("in 2500 bytes"), "{refused}");
}

#[test]
fn a_size_out_of_reach_is_told() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = Parameters::random(&network, 1);
    let folder = tempfile::tempdir().unwrap();
    let none = ShrinkOptions {
        bytes: 60,
        prune: training(0, 1e-3),
        stage: training(0, 1e-3),
        ..options()
    };
    let refused = run(&network, &original, &device, folder.path(), &none, None).unwrap_err();
    assert!(refused.to_string().contains("allow more"), "{refused}");
}

//! Compression layer by layer beside compression without data, on a small network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may fail a test and say what they saw"
)]

mod support;

use support::small::{decoded, examples, scores, small, trained};
use support::{tiny_decoder, tiny_texts};
use tersor::feedback::FeedbackConfig;
use tersor::options::{CompressOptions, Target};
use tersor::{Compressor, Silent};
use tersor_codec::Coder;
use tersor_nets::evaluate::Scores;
use tersor_nets::examples::{Batch, Examples as _};
use tersor_nets::graph::Network;
use tersor_nets::prune::{Scope, Score, apply, count, masks};
use tersor_nets::sequential::{SequentialOptions, SequentialTarget, compress, prune};
use tersor_nets::shared::Match;
use tersor_nets::{Device, Parameters, open_device};

fn calibration() -> Vec<Batch> {
    let examples = examples(200, 3);
    let batch = |b: usize| {
        examples
            .batch(&(50 * b..50 * b + 50).collect::<Vec<_>>(), None)
            .unwrap()
    };
    (0..4).map(batch).collect()
}

fn options(coder: Coder) -> SequentialOptions {
    SequentialOptions {
        coder,
        feedback: FeedbackConfig::default(),
        repair: Some(Match::LeastSquares),
        ..SequentialOptions::default()
    }
}

/// Divergence from the original in nats, of the network in a file.
fn divergence(network: &Network, file: &[u8], original: &Scores, device: &Device) -> f64 {
    let scores = scores(network, &decoded(network, file), device, Some(original));
    original.compare(&scores).unwrap().divergence.unwrap()
}

#[test]
fn at_equal_size_the_network_stays_closer_to_the_original_than_without_data() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let reference = scores(&network, &original, &device, None);
    let accuracy = reference.summary().accuracy;
    assert!(accuracy > 0.8, "{accuracy}");
    let batches = calibration();
    let bytes = 5_000u64; // 1.5 bits per weight
    for coder in [Coder::Context, Coder::Ans] {
        let rest = CompressOptions::default().with_coder(Some(coder));
        let (found, file) = compress(
            &network,
            &original,
            &batches,
            &device,
            (SequentialTarget::SizeBytes(bytes), &options(coder)),
            &rest,
            &Silent,
        )
        .unwrap();
        assert_eq!(found.quantized.layers.len(), 4);
        assert_eq!((found.repair.n_normalised, found.repair.n_biased), (2, 2));
        let size = file.bytes.len() as f64 / bytes as f64;
        assert!((0.95..=1.0).contains(&size), "{coder}: {size}");
        let checkpoint = original.to_checkpoint().unwrap();
        let plain = Compressor::new(&checkpoint, rest).unwrap();
        let plain = plain.compress(&Target::SizeBytes(bytes), &Silent).unwrap();
        let with = divergence(&network, &file.bytes, &reference, &device);
        let without = divergence(&network, &plain.bytes, &reference, &device);
        eprintln!(
            "{coder}: divergence {with:.4} at {} bytes, {without:.4} at {} without data",
            file.bytes.len(),
            plain.bytes.len()
        );
        assert!(with < 0.6 * without, "{coder}: {with} beside {without}");
    }
}

#[test]
fn pruned_layer_by_layer_it_stays_closer_to_the_original_than_pruned_by_magnitude() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = trained(&network, &device);
    let reference = scores(&network, &original, &device, None);
    let scope = Scope::WeightsAndBiases;
    let keep = count(&original, scope).0 / 4;
    let pruned = prune(
        &network,
        &original,
        (keep, scope),
        &calibration(),
        &device,
        &Silent,
    )
    .unwrap();
    let n = count(&pruned, scope).0;
    assert!((keep * 98 / 100..=keep).contains(&n), "{n} of {keep}");
    let mut largest = original.clone();
    let kept = masks(&original, &Vec::new(), Score::Magnitude, scope, n, &Vec::new()).unwrap();
    apply(&kept, &mut largest);
    let [fed, plain] = [&pruned, &largest].map(|parameters| {
        let scores = scores(&network, parameters, &device, Some(&reference));
        reference.compare(&scores).unwrap().divergence.unwrap()
    });
    eprintln!("divergence {fed:.4}, {plain:.4} by magnitude, {n} weights and biases");
    assert!(fed < 0.5 * plain, "{fed} beside {plain}");
    let again = prune(&network, &pruned, (keep, scope), &calibration(), &device, &Silent).unwrap();
    assert!(again == pruned, "nothing is left to prune");
    let none = prune(&network, &original, (1, scope), &calibration(), &device, &Silent);
    assert!(none.unwrap_err().to_string().contains("did not come to 1 "));
}

#[test]
fn the_same_settings_give_the_same_file() {
    let (network, device) = (small(), open_device("cpu").unwrap());
    let original = Parameters::random(&network, 3);
    let file = || {
        let target = (SequentialTarget::Slope(1e-4), &options(Coder::Context));
        let rest = CompressOptions::default();
        compress(
            &network,
            &original,
            &calibration(),
            &device,
            target,
            &rest,
            &Silent,
        )
        .unwrap()
        .1
        .bytes
    };
    assert!(file() == file(), "two runs differ");
}

#[test]
fn texts_calibrate_the_same_with_padding() {
    let (network, device) = (tiny_decoder(), open_device("cpu").unwrap());
    let original = Parameters::random(&network, 3);
    let texts = tiny_texts(&[30, 5, 60, 11]);
    let options = SequentialOptions {
        rows_per_input: usize::MAX,
        ..options(Coder::Ans)
    };
    let quantized = |batches: &[Batch]| {
        let rest = CompressOptions::default().with_coder(Some(Coder::Ans));
        let how = (SequentialTarget::Slope(1e-7), &options);
        let (_, file) = compress(&network, &original, batches, &device, how, &rest, &Silent).unwrap();
        decoded(&network, &file.bytes)
    };
    let single: Vec<Batch> = (0..4).map(|i| texts.batch(&[i], None).unwrap()).collect();
    let padded = [texts.batch(&[0, 1, 2, 3], None).unwrap()];
    assert_eq!(padded[0].filled_rows().unwrap().len(), 30 + 5 + 60 + 11);
    let (single, padded) = (quantized(&single), quantized(&padded));
    let (mut n, mut n_other) = (0, 0);
    for ((_, a), (_, b)) in single.iter().zip(padded.iter()) {
        n += a.len();
        n_other += a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
    }
    // Sums of floats end in other digits, and a weight between two levels may go to the other one.
    assert!(n_other * 50 < n, "{n_other} of {n}");
}

//! Real data sets, where `TERSOR_DATA` names a folder of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::real_data;
use tersor_data::folder::{self, Preprocess};
use tersor_data::text::{self, Tokenizer};
use tersor_data::{Images, Normalize, cifar, idx};

fn counts(images: &Images) -> Vec<usize> {
    let mut counts = vec![0; images.classes()];
    images
        .labels()
        .iter()
        .for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

/// Mean and deviation of the first `n` images in the unit range, all channels together.
fn moments(images: &Images, n: usize) -> (f64, f64) {
    let values = images.batch(&(0..n).collect::<Vec<_>>(), &Normalize::unit());
    let mean =
        |f: &dyn Fn(f64) -> f64| values.iter().map(|&v| f(v.into())).sum::<f64>() / values.len() as f64;
    let centre = mean(&|v| v);
    (centre, mean(&|v| (v - centre).powi(2)).sqrt())
}

#[test]
fn mnist_has_its_well_known_counts_and_moments() {
    let Some(dir) = real_data("mnist") else { return };
    let split = idx::open(&dir).unwrap();
    assert_eq!(
        counts(&split.train),
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    );
    assert_eq!(
        counts(&split.test),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    );
    assert_eq!(split.train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    let (mean, deviation) = moments(&split.train, 60_000);
    assert!(
        (mean - 0.1307).abs() < 5e-5 && (deviation - 0.3081).abs() < 5e-5,
        "{mean} {deviation}"
    );
}

#[test]
fn cifar10_is_balanced_and_says_what_is_missing() {
    let Some(dir) = real_data("cifar10") else { return };
    let split = cifar::open(&dir).unwrap();
    assert_eq!(counts(&split.test), [1000; 10]);
    assert_eq!(split.train.len() + 10_000 * split.missing.len(), 50_000);
    // Over the training set: mean (0.4914 + 0.4822 + 0.4465) / 3.
    let (mean, _) = moments(&split.train, 10_000);
    assert!((mean - 0.4734).abs() < 0.005, "{mean}");
}

#[test]
fn images_of_imagenet_are_decoded_by_the_table() {
    let Some(dir) = real_data("imagenet650") else {
        return;
    };
    let whole = folder::open(&dir, &Preprocess::keep()).unwrap();
    assert_eq!((whole.len(), whole.shape()), (650, [3, 227, 227]));
    assert!(whole.classes() <= 1000);
    let (mean, deviation) = moments(&whole, 650);
    // Over ImageNet: mean (0.485 + 0.456 + 0.406) / 3, deviation about 0.28 with all channels together.
    assert!(
        (mean - 0.449).abs() < 0.03 && (deviation - 0.28).abs() < 0.03,
        "{mean} {deviation}"
    );
    let cropped = folder::Folder::list(&dir)
        .unwrap()
        .decode(&[3], &Preprocess::imagenet(256, 224))
        .unwrap();
    assert_eq!(
        (cropped.shape(), cropped.labels()[0]),
        ([3, 224, 224], whole.labels()[3])
    );
}

#[test]
fn stories_are_tokenized_as_by_an_independent_program() {
    let (Some(text), Some(weights)) = (real_data("text"), real_data("weights")) else {
        return;
    };
    let text = std::fs::read_to_string(text.join("tinystories-cased.txt")).unwrap();
    let tokenizer = Tokenizer::open(&weights.join("stories260k-tok512.bin")).unwrap();
    assert_eq!(tokenizer.vocabulary_len(), 512);
    assert_eq!(text::chunks(&text, 600).len(), 276);
    let chunks = tokenizer.encode_chunks(&text, 600, 512);
    assert_eq!(
        chunks[0][..12],
        [1, 385, 328, 432, 261, 376, 298, 315, 421, 395, 317, 272]
    );
    // From a script of 20 lines that follows llama2.c literally.
    assert_eq!(chunks[..150].iter().map(Vec::len).sum::<usize>(), 54_315);
    let checksum = |chunk: &Vec<u32>| {
        chunk
            .iter()
            .zip(1_u64..)
            .map(|(&id, place)| u64::from(id) * place)
            .sum::<u64>()
    };
    assert_eq!(
        chunks[..150].iter().map(checksum).sum::<u64>() % (1 << 32),
        3_491_991_272
    );
    assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), text);
}

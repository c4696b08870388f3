//! What the generated digits promise: the same for everyone, balanced, and neither trivial nor hopeless.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use flate2::Crc;
use tersor_data::{Augment, Images, Key, Normalize, digits};

fn on_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build()
        .unwrap()
        .install(work)
}

#[test]
fn neither_images_nor_augmented_batches_depend_on_the_number_of_threads() {
    let work = || {
        let images = digits::generate(300, 5);
        let indices: Vec<usize> = (0..300).rev().collect();
        let key = Key { seed: 1, epoch: 2 };
        let batch = images.augmented_batch(&indices, &Normalize::unit(), &Augment::elastic(), key);
        (images, batch)
    };
    let alone = on_threads(1, work);
    for n in [2, 7] {
        assert!(on_threads(n, work) == alone, "{n} threads");
    }
}

#[test]
fn augmentation_does_not_depend_on_the_batch_but_on_seed_epoch_and_index() {
    let images = digits::generate(4, 5).subset([0, 0, 1]);
    let batch = |indices: &[usize], seed, epoch| {
        images.augmented_batch(
            indices,
            &Normalize::unit(),
            &Augment::elastic(),
            Key { seed, epoch },
        )
    };
    let whole = batch(&[0, 1, 2], 1, 1);
    assert_eq!(whole[784..1568], batch(&[1], 1, 1));
    assert_ne!(whole[..784], whole[784..1568], "the same image under two indices");
    assert_ne!(batch(&[0], 1, 1), batch(&[0], 1, 2));
    assert_ne!(batch(&[0], 1, 1), batch(&[0], 2, 1));
}

#[test]
fn every_machine_and_version_generates_the_same_digits() {
    let images = digits::generate(200, 7);
    let mut crc = Crc::new();
    (0..images.len()).for_each(|i| crc.update(images.pixels(i)));
    images
        .labels()
        .iter()
        .for_each(|label| crc.update(&label.to_le_bytes()));
    assert_eq!(
        crc.sum(),
        3_404_791_355,
        "a change makes accuracies measured before incomparable"
    );
}

#[test]
fn classes_are_balanced_and_seeds_and_halves_of_a_split_differ() {
    let split = digits::split(1000, 500, 3);
    for (images, expected) in [(&split.train, 100), (&split.test, 50)] {
        let mut counts = [0; 10];
        images
            .labels()
            .iter()
            .for_each(|&label| counts[usize::from(label)] += 1);
        assert_eq!(counts, [expected; 10]);
        assert_eq!(images.shape(), [1, 28, 28]);
    }
    assert_eq!(split.train, digits::generate(1000, 3));
    assert_ne!(digits::generate(10, 3), digits::generate(10, 4));
    let train: std::collections::HashSet<&[u8]> = (0..1000).map(|i| split.train.pixels(i)).collect();
    assert!((0..500).all(|i| !train.contains(split.test.pixels(i))));
    assert!(digits::generate(0, 1).is_empty());
}

#[test]
fn strokes_are_inside_the_image() {
    let images = digits::generate(1000, 11);
    let sum = |image: &[u8], keep: &dyn Fn(usize) -> bool| -> f64 {
        image
            .iter()
            .enumerate()
            .filter(|(i, _)| keep(*i))
            .map(|(_, &pixel)| f64::from(pixel))
            .sum()
    };
    let (mut all, mut border) = (0.0, 0.0);
    for i in 0..images.len() {
        let image = images.pixels(i);
        let ink = sum(image, &|_| true);
        assert!(ink > 3000.0, "image {i} has ink of {ink}");
        all += ink;
        border += sum(image, &|i| {
            i % 28 == 0 || i % 28 == 27 || i / 28 == 0 || i / 28 == 27
        });
    }
    // The border is 14 % of the pixels. Noise alone puts some 2 % of all brightness there.
    assert!(border < 0.03 * all, "{border} of {all} on the border");
}

/// Accuracy in percent of a linear model with softmax, trained until it no longer improves.
///
/// Stochastic gradient descent with momentum 0.9 and a rate that falls linearly to 0.
fn linear_accuracy(train: &Images, test: &Images) -> f64 {
    const PIXELS: usize = 784;
    const EPOCHS: u64 = 12;
    const BATCH: usize = 50;
    let mut weights = vec![0.0_f32; 10 * (PIXELS + 1)];
    let mut velocity = weights.clone();
    let logits = |weights: &[f32], image: &[f32]| -> [f32; 10] {
        std::array::from_fn(|class| {
            let row = &weights[class * (PIXELS + 1)..(class + 1) * (PIXELS + 1)];
            row[PIXELS] + row.iter().zip(image).map(|(w, x)| w * x).sum::<f32>()
        })
    };
    for epoch in 0..EPOCHS {
        let rate = 0.02 * (1.0 - epoch as f32 / EPOCHS as f32);
        for indices in tersor_data::Batches::shuffled(train.len(), BATCH, 1, epoch) {
            for v in &mut velocity {
                *v *= 0.9;
            }
            let batch = train.batch(&indices, &Normalize::unit());
            for (image, &i) in batch.chunks_exact(PIXELS).zip(&indices) {
                let logits = logits(&weights, image);
                let highest = logits.iter().copied().fold(f32::MIN, f32::max);
                let powers = logits.map(|logit| (logit - highest).exp());
                let sum: f32 = powers.iter().sum();
                for (class, row) in velocity.chunks_exact_mut(PIXELS + 1).enumerate() {
                    let hit = f32::from(u8::from(class == usize::from(train.labels()[i])));
                    let step = rate * (hit - powers[class] / sum) / BATCH as f32;
                    row.iter_mut().zip(image).for_each(|(v, x)| *v += step * x);
                    row[PIXELS] += step;
                }
            }
            weights.iter_mut().zip(&velocity).for_each(|(w, v)| *w += v);
        }
    }
    let indices: Vec<usize> = (0..test.len()).collect();
    let batch = test.batch(&indices, &Normalize::unit());
    let hits = batch
        .chunks_exact(PIXELS)
        .zip(test.labels())
        .filter(|(image, label)| {
            let logits = logits(&weights, image);
            let best = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            best == Some(usize::from(**label))
        });
    100.0 * hits.count() as f64 / test.len() as f64
}

#[test]
fn a_linear_model_learns_the_digits_but_not_well() {
    let split = digits::split(10_000, 5_000, 1);
    let accuracy = linear_accuracy(&split.train, &split.test);
    assert!((80.0..93.0).contains(&accuracy), "{accuracy} %");
}

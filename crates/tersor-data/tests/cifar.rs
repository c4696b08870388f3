//! Small files in the layout of CIFAR-10, whole and damaged.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::path::Path;
use support::{gzip, message, write};
use tersor_data::cifar;

/// Records of images whose planes are 1, 2 and 3 above the label.
fn batch(labels: &[u8]) -> Vec<u8> {
    let record = |&label: &u8| {
        let planes = (1..=3).flat_map(move |plane| std::iter::repeat_n(label + plane, 1024));
        std::iter::once(label).chain(planes)
    };
    labels.iter().flat_map(record).collect()
}

fn error(dir: &Path) -> String {
    message(&cifar::open(dir).unwrap_err())
}

#[test]
fn batches_are_joined_in_order_and_the_missing_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "data_batch_3.bin.gz", &gzip(&batch(&[5])));
    write(dir.path(), "data_batch_1.bin", &batch(&[9, 0]));
    write(dir.path(), "test_batch.bin", &batch(&[7]));
    let split = cifar::open(dir.path()).unwrap();
    assert_eq!(
        split.missing,
        ["data_batch_2.bin", "data_batch_4.bin", "data_batch_5.bin"]
    );
    assert_eq!(
        (split.train.labels(), split.test.labels()),
        (&[9, 0, 5][..], &[7][..])
    );
    assert_eq!((split.train.shape(), split.train.classes()), ([3, 32, 32], 10));
    let pixels = split.train.pixels(2);
    assert_eq!(
        [pixels[0], pixels[1023], pixels[1024], pixels[3071]],
        [6, 6, 7, 8]
    );
}

#[test]
fn the_folder_of_the_archive_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "cifar-10-batches-bin/data_batch_1.bin", &batch(&[1]));
    write(dir.path(), "cifar-10-batches-bin/test_batch.bin", &batch(&[2]));
    assert_eq!(cifar::open(dir.path()).unwrap().test.labels(), [2]);
}

#[test]
fn a_missing_set_is_answered_with_address_and_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let text = error(dir.path());
    assert!(
        text.contains("data_batch_1.bin") && text.contains("test_batch.bin"),
        "{text}"
    );
    assert!(
        text.contains("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"),
        "{text}"
    );
    assert!(
        text.contains("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        "{text}"
    );
    write(dir.path(), "data_batch_1.bin", &batch(&[1]));
    let text = error(dir.path());
    assert!(
        text.contains("test_batch.bin"),
        "training images alone do not suffice: {text}"
    );
}

#[test]
fn damaged_batches_are_named_with_the_value() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "test_batch.bin", &batch(&[2]));
    write(dir.path(), "data_batch_1.bin", &batch(&[3, 10]));
    let text = error(dir.path());
    assert!(
        text.contains("data_batch_1.bin: the label of image 1 is 10; labels are 0 to 9"),
        "{text}"
    );
    for bytes in [
        batch(&[3])[..3072].to_vec(),
        [batch(&[3]), vec![1]].concat(),
        Vec::new(),
    ] {
        write(dir.path(), "data_batch_1.bin", &bytes);
        let text = error(dir.path());
        assert!(
            text.contains(&format!(
                "{} bytes; a batch of CIFAR-10 is a multiple of 3073",
                bytes.len()
            )),
            "{text}"
        );
    }
    write(dir.path(), "data_batch_1.bin", &gzip(&batch(&[3]))[..30]);
    let text = error(dir.path());
    assert!(text.contains("data_batch_1.bin: compressed data"), "{text}");
}

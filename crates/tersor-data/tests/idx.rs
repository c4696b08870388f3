//! Small IDX files, whole and damaged.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::{gzip, message, write};
use tersor_data::{DataError, idx};

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn header(magic: u32, counts: &[u32]) -> Vec<u8> {
    std::iter::once(&magic)
        .chain(counts)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

/// Images of 2 x 3 pixels that count upwards.
fn images(n: u32) -> Vec<u8> {
    [header(0x0803, &[n, 2, 3]), (0..n as u8 * 6).collect()].concat()
}

fn labels(labels: &[u8]) -> Vec<u8> {
    [header(0x0801, &[labels.len() as u32]), labels.to_vec()].concat()
}

/// The four files of a set of 3 + 2 images.
fn files() -> [Vec<u8>; 4] {
    [images(3), labels(&[2, 0, 1]), images(2), labels(&[1, 1])]
}

fn open(files: &[Vec<u8>; 4], ending: &str) -> Result<tersor_data::Split, DataError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in NAMES.iter().zip(files) {
        write(dir.path(), &format!("{name}{ending}"), bytes);
    }
    idx::open(dir.path())
}

/// What is said about a set in which one file is another.
fn error_with(index: usize, file: Vec<u8>) -> String {
    let mut files = files();
    files[index] = file;
    let error = message(&open(&files, "").unwrap_err());
    assert!(error.contains(NAMES[index]), "the file is named: {error}");
    error
}

#[test]
fn plain_and_compressed_files_give_the_same_images() {
    let plain = open(&files(), "").unwrap();
    assert_eq!(plain.train.shape(), [1, 2, 3]);
    assert_eq!((plain.train.len(), plain.test.len()), (3, 2));
    assert_eq!((plain.train.classes(), plain.test.classes()), (3, 3));
    assert_eq!(
        (plain.train.labels(), plain.test.labels()),
        (&[2, 0, 1][..], &[1, 1][..])
    );
    assert_eq!(plain.train.pixels(1), [6, 7, 8, 9, 10, 11]);
    let compressed = files().map(|file| gzip(&file));
    assert_eq!(open(&compressed, ".gz").unwrap(), plain);
    assert_eq!(
        open(&compressed, "").unwrap(),
        plain,
        "the content tells, not the name"
    );
}

#[test]
fn missing_files_are_answered_with_address_and_checksum() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), NAMES[0], &images(1));
    write(dir.path(), &format!("{}.gz", NAMES[2]), &gzip(&images(1)));
    let error = idx::open(dir.path()).unwrap_err();
    assert!(matches!(&error, DataError::Missing { files, .. } if *files == [NAMES[1], NAMES[3]]));
    let text = message(&error);
    assert!(
        text.contains("https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz"),
        "{text}"
    );
    assert!(
        text.contains("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        "{text}"
    );
    assert!(
        !text.contains("mnist/train-images"),
        "only what is missing: {text}"
    );
}

#[test]
fn every_truncation_is_reported() {
    for (index, file) in files().iter().enumerate() {
        for n in 0..file.len() {
            let error = error_with(index, file[..n].to_vec());
            assert!(error.contains("can follow"), "{n} bytes: {error}");
        }
        let compressed = gzip(file);
        for n in 0..compressed.len() {
            let error = error_with(index, compressed[..n].to_vec());
            assert!(
                error.contains("can follow") || error.contains("compressed data"),
                "{n} bytes: {error}"
            );
        }
    }
}

#[test]
fn wrong_headers_are_named_with_the_value() {
    let error = error_with(0, labels(&[1, 2, 3]));
    assert!(
        error.contains("begins with 0x00000801; an IDX file of images begins with 0x00000803"),
        "{error}"
    );
    let error = error_with(1, images(3));
    assert!(
        error.contains("begins with 0x00000803; an IDX file of labels begins with 0x00000801"),
        "{error}"
    );
    let error = error_with(0, [header(0x0803, &[3, 0, 5]), vec![0; 15]].concat());
    assert!(
        error.contains("images of 0 x 5 pixels; sides are 1 to 65535"),
        "{error}"
    );
    let error = error_with(0, [images(3), vec![0]].concat());
    assert!(error.contains("bytes follow"), "{error}");
}

#[test]
fn files_that_do_not_fit_each_other_are_refused() {
    let error = error_with(1, labels(&[0, 1]));
    assert!(error.contains("2 labels for 3 images"), "{error}");
    let error = error_with(3, labels(&[1, 3]));
    assert!(
        error.contains("label 1 is 3, those for training are below 3"),
        "{error}"
    );
    let error = error_with(2, [header(0x0803, &[2, 3, 2]), vec![0; 12]].concat());
    assert!(
        error.contains("images of [1, 3, 2] (channels, height, width), but [1, 2, 3] for training"),
        "{error}"
    );
}

#[test]
fn a_header_that_announces_terabytes_is_refused_by_the_size_of_the_file() {
    let huge = header(0x0803, &[u32::MAX, 65_535, 65_535]);
    let error = error_with(0, huge.clone());
    assert!(error.contains("at most 0 can follow"), "{error}");
    assert!(error_with(0, gzip(&huge)).contains("are announced"));
    // Far more zeros than announced, in few bytes: reading stops at the first.
    let bomb = gzip(&[labels(&[0, 1, 2]), vec![0; 10 << 20]].concat());
    assert!(error_with(1, bomb).contains("bytes follow"));
}

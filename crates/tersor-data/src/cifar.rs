//! CIFAR-10 in its binary version.
//!
//! # Source
//! A. Krizhevsky, The CIFAR-10 dataset, "Binary version": records of one label byte and 3,072 bytes of pixels, red,
//! green and blue planes of 32 x 32.

use crate::error::{DataError, Result};
use crate::images::{Images, Split};
use crate::official::Official;
use crate::source::{Source, find};
use std::path::Path;

const SHAPE: [usize; 3] = [3, 32, 32];
const CLASSES: usize = 10;
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
/// A batch of the official set has 10,000 images; this leaves room for all in one file.
const MAX_IMAGES_PER_FILE: usize = 60_000;
/// What the official archive unpacks to.
const ARCHIVE_FOLDER: &str = "cifar-10-batches-bin";

/// Reads `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` from a folder, or from
/// `cifar-10-batches-bin` in it; compressed with gzip (`.gz`) or not.
///
/// Training batches that are not there are named in [`Split::missing`].
///
/// # Errors
/// If there is no training batch or no test batch, or one cannot be read or is damaged.
pub fn open(dir: &Path) -> Result<Split> {
    let unpacked = dir.join(ARCHIVE_FOLDER);
    let dir = if unpacked.is_dir() { &unpacked } else { dir };
    let test_name = "test_batch.bin".to_owned();
    let mut train = Records::default();
    let mut missing = Vec::new();
    for name in (1..=5).map(|number| format!("data_batch_{number}.bin")) {
        match find(dir, &name) {
            Some(path) => train.append(&path)?,
            None => missing.push(name),
        }
    }
    let (false, Some(test_path)) = (missing.len() == 5, find(dir, &test_name)) else {
        if find(dir, &test_name).is_none() {
            missing.push(test_name);
        }
        return Err(DataError::Missing {
            folder: dir.to_owned(),
            files: missing,
            official: Official::Cifar10,
        });
    };
    let mut test = Records::default();
    test.append(&test_path)?;
    Ok(Split {
        train: train.into_images(),
        test: test.into_images(),
        missing,
    })
}

#[derive(Default)]
struct Records {
    pixels: Vec<u8>,
    labels: Vec<u16>,
}

impl Records {
    fn append(&mut self, path: &Path) -> Result<()> {
        let bytes =
            Source::open(path)?.rest((MAX_IMAGES_PER_FILE * RECORD_BYTES) as u64, "a batch of CIFAR-10")?;
        let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
        if records.is_empty() || !rest.is_empty() {
            let len = bytes.len();
            let what = format!(
                "{len} bytes; a batch of CIFAR-10 is a multiple of {RECORD_BYTES}, one record per image"
            );
            return Err(DataError::corrupt(path, what));
        }
        for (i, [label, pixels @ ..]) in records.iter().enumerate() {
            if usize::from(*label) >= CLASSES {
                return Err(DataError::corrupt(
                    path,
                    format!("the label of image {i} is {label}; labels are 0 to 9"),
                ));
            }
            self.labels.push((*label).into());
            self.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }

    fn into_images(self) -> Images {
        Images::new(SHAPE, self.pixels, self.labels, CLASSES)
    }
}

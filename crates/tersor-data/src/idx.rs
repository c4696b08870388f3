//! IDX files: MNIST and its kin.
//!
//! # Source
//! Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, section "File formats": big-endian
//! magic 0x00000803 (bytes, three dimensions) and the counts n, height, width before the pixels; magic 0x00000801
//! and n before the labels.

use crate::error::{DataError, Result};
use crate::images::{Images, Split};
use crate::official::Official;
use crate::source::{Source, find};
use std::path::{Path, PathBuf};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and their `t10k-` counterparts from a folder,
/// compressed with gzip (`.gz`) or not. Fashion-MNIST and KMNIST have files of the same names.
///
/// The classes are those of the training labels: 0 up to the greatest.
///
/// # Errors
/// If a file is missing, cannot be read, is damaged or does not fit the others.
pub fn open(dir: &Path) -> Result<Split> {
    let [train_images, train_labels, test_images, test_labels] = locate(dir)?;
    let train = read(&train_images, &train_labels)?;
    let (shape, pixels) = read_images(&test_images)?;
    if shape != train.shape() {
        let what = format!(
            "images of {shape:?} (channels, height, width), but {:?} for training",
            train.shape()
        );
        return Err(DataError::corrupt(&test_images, what));
    }
    let labels = read_labels(&test_labels)?;
    if let Some((i, label)) = labels
        .iter()
        .enumerate()
        .find(|&(_, &label)| usize::from(label) >= train.classes())
    {
        let what = format!(
            "label {i} is {label}, those for training are below {}",
            train.classes()
        );
        return Err(DataError::corrupt(&test_labels, what));
    }
    let test = labelled(shape, pixels, labels, train.classes(), &test_labels)?;
    Ok(Split {
        train,
        test,
        missing: Vec::new(),
    })
}

/// Reads one file of images and the file of their labels. The classes are 0 up to the greatest label.
///
/// # Errors
/// If a file cannot be read, is damaged or does not fit the other.
pub fn read(images: &Path, labels: &Path) -> Result<Images> {
    let (shape, pixels) = read_images(images)?;
    let values = read_labels(labels)?;
    let classes = values.iter().max().map_or(0, |&label| usize::from(label) + 1);
    labelled(shape, pixels, values, classes, labels)
}

/// The four files, training images first.
fn locate(dir: &Path) -> Result<[PathBuf; 4]> {
    let names = [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ]
    .map(|name| format!("{name}-ubyte"));
    if let [Some(a), Some(b), Some(c), Some(d)] = names.each_ref().map(|name| find(dir, name)) {
        return Ok([a, b, c, d]);
    }
    let files = names
        .into_iter()
        .filter(|name| find(dir, name).is_none())
        .collect();
    Err(DataError::Missing {
        folder: dir.to_owned(),
        files,
        official: Official::Mnist,
    })
}

fn labelled(
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u16>,
    classes: usize,
    path: &Path,
) -> Result<Images> {
    let n_images = pixels.len() / shape.iter().product::<usize>();
    if labels.len() != n_images {
        return Err(DataError::corrupt(
            path,
            format!("{} labels for {n_images} images", labels.len()),
        ));
    }
    Ok(Images::new(shape, pixels, labels, classes))
}

/// \[1, height, width\], no side 0, and the pixels of all images.
fn read_images(path: &Path) -> Result<([usize; 3], Vec<u8>)> {
    let mut source = Source::open(path)?;
    check_magic(&mut source, IMAGES_MAGIC, "images")?;
    let [n, height, width] = [count(&mut source)?, count(&mut source)?, count(&mut source)?];
    let sides = 1..=u64::from(u16::MAX);
    if !sides.contains(&height) || !sides.contains(&width) {
        return Err(source.corrupt(format!(
            "images of {height} x {width} pixels; sides are 1 to {}",
            u16::MAX
        )));
    }
    let pixels = source.bytes(
        n.saturating_mul(height * width),
        &format!("{n} images of {height} x {width} pixels"),
    )?;
    source.end()?;
    Ok(([1, height as usize, width as usize], pixels))
}

fn read_labels(path: &Path) -> Result<Vec<u16>> {
    let mut source = Source::open(path)?;
    check_magic(&mut source, LABELS_MAGIC, "labels")?;
    let n = count(&mut source)?;
    let labels = source.bytes(n, &format!("{n} labels"))?;
    source.end()?;
    Ok(labels.into_iter().map(u16::from).collect())
}

fn check_magic(source: &mut Source, expected: u32, kind: &str) -> Result<()> {
    let magic = u32::from_be_bytes(source.array("magic number")?);
    if magic == expected {
        return Ok(());
    }
    Err(source.corrupt(format!(
        "begins with {magic:#010x}; an IDX file of {kind} begins with {expected:#010x}"
    )))
}

fn count(source: &mut Source) -> Result<u64> {
    Ok(u32::from_be_bytes(source.array("header")?).into())
}

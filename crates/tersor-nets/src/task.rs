//! A network by name and the data sets that it can be given.

use crate::examples::{Examples, FolderExamples, ImageExamples, TokenExamples};
use crate::graph::{Input, Network};
use crate::models::{LlamaConfig, image_network, llama};
use crate::{Error, Result};
use std::path::Path;
use tersor_data::folder::{Color, Preprocess, Resize};
use tersor_data::text::Tokenizer;
use tersor_data::{Augment, Images, Normalize, cifar, digits, folder, idx};

/// Means of ImageNet's channels, which networks for CIFAR-10 use too.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// Generated training images, unless stated.
const DIGITS: usize = 20_000;
/// Generated test images: a quarter as many, but within these.
const TEST_DIGITS: std::ops::RangeInclusive<usize> = 500..=5_000;
/// Paragraphs are gathered to pieces of at least so many characters.
const MIN_CHARACTERS: usize = 600;

/// A network by name: one of [`IMAGE_NETWORKS`](crate::models::IMAGE_NETWORKS), or `llama:CONFIG.json`.
///
/// # Errors
/// [`Error::Input`] with the names that exist; as [`LlamaConfig::read`].
pub fn network(name: &str) -> Result<Network> {
    match name.strip_prefix("llama:") {
        Some(config) => llama(&LlamaConfig::read(Path::new(config))?),
        None => image_network(name),
    }
}

/// A set to train on and one to measure on.
pub struct DataSets {
    /// Empty if there is none.
    pub train: Box<dyn Examples>,
    /// What accuracies are of.
    pub test: Box<dyn Examples>,
}

/// How a data set is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataOptions<'a> {
    /// What training does to images, and calibration to images that it uses again.
    pub augment: Augment,
    /// A tokenizer for text, in llama2.c's format.
    pub tokenizer: Option<&'a Path>,
}

fn images(images: Images, normalize: &Normalize, augment: Augment) -> Box<dyn Examples> {
    Box::new(ImageExamples {
        images,
        normalize: normalize.clone(),
        augment,
    })
}

/// What a network was trained to read.
fn normalisation(network: &Network) -> Normalize {
    match network.name.as_str() {
        "lenet5" => Normalize::unit(),
        "squeezenet1_1" => Normalize::caffe_bgr(),
        _ => Normalize::mean_std(&MEAN, &DEVIATION),
    }
}

fn has_file(dir: &Path, name: &str) -> bool {
    dir.join(name).is_file() || dir.join(format!("{name}.gz")).is_file()
}

/// Opens data for a network:
///
/// | `data` | set |
/// |---|---|
/// | `digits`, `digits:N`, `digits:N:SEED` | N generated digits to train on, 20,000 unless stated, and a quarter as many to test, 500 to 5,000 |
/// | a folder with IDX files | MNIST and its kin |
/// | a folder with `test_batch.bin` | CIFAR-10 |
/// | a folder with subfolders `train` and `val` of subfolders of classes | images to train on and to test, read when they are wanted: ImageNet |
/// | another folder with `labels.csv` or subfolders of classes | images, all of them to test |
/// | a text file | pieces of at least 600 characters, all of them to test; needs a tokenizer |
///
/// # Errors
/// [`Error::Input`] if the set does not fit the network or is none of these; [`Error::Data`] if it cannot be read.
pub fn open_data(network: &Network, data: &str, options: &DataOptions<'_>) -> Result<DataSets> {
    let path = Path::new(data);
    match network.input {
        Input::Tokens { context, vocabulary } => open_text(path, context, vocabulary, options),
        Input::Image(shape) => {
            let normalize = normalisation(network);
            let split = if data == "digits" || data.starts_with("digits:") {
                let (n, seed) = digit_options(data)?;
                digits::split(n, (n / 4).clamp(*TEST_DIGITS.start(), *TEST_DIGITS.end()), seed)
            } else if has_file(path, "t10k-images-idx3-ubyte") {
                idx::open(path)?
            } else if has_file(path, "test_batch.bin") || path.join("cifar-10-batches-bin").is_dir() {
                cifar::open(path)?
            } else if path.join("train").is_dir() && path.join("val").is_dir() {
                return open_training_folder(path, (network, shape), &normalize, options.augment);
            } else if path.is_dir() {
                let test = open_folder(path, shape)?;
                check(network, shape, test.shape(), data)?;
                return Ok(DataSets {
                    train: images(test.subset([]), &normalize, Augment::None),
                    test: images(test, &normalize, options.augment),
                });
            } else if shape == [1, 28, 28] {
                idx::open(path)?
            } else {
                cifar::open(path)?
            };
            check(network, shape, split.test.shape(), data)?;
            Ok(DataSets {
                train: images(split.train, &normalize, options.augment),
                test: images(split.test, &normalize, Augment::None),
            })
        }
    }
}

fn digit_options(data: &str) -> Result<(usize, u64)> {
    let wrong = || Error::Input(format!("{data:?}: write digits, digits:N or digits:N:SEED"));
    let mut parts = data.split(':').skip(1);
    let n = parts
        .next()
        .map_or(Ok(DIGITS), |n| n.parse().map_err(|_| wrong()))?;
    let seed = parts.next().map_or(Ok(0), |s| s.parse().map_err(|_| wrong()))?;
    match parts.next() {
        None if n > 0 => Ok((n, seed)),
        _ => Err(wrong()),
    }
}

/// Sets whose first image has the network's size stay as they are; others are scaled and cut as is usual for ImageNet,
/// where the shorter side of 256 pixels goes with a cut of 224.
fn preprocess(folder: &folder::Folder, shape: [usize; 3]) -> Result<Preprocess> {
    let [_, height, width] = shape;
    let first = folder.decode(&[0], &Preprocess::keep())?;
    if first.shape() == shape {
        return Ok(Preprocess::keep());
    }
    Ok(cut(height, width))
}

/// A folder with `train` and `val`, of the same classes, whose images are read when they are wanted.
fn open_training_folder(
    dir: &Path,
    (network, shape): (&Network, [usize; 3]),
    normalize: &Normalize,
    augment: Augment,
) -> Result<DataSets> {
    let [train, val] = ["train", "val"].map(|part| folder::Folder::list(&dir.join(part)));
    let (train, val) = (train?, val?);
    if train.class_names() != val.class_names() {
        return Err(Error::Input(format!(
            "{}: train and val have not the same classes: {} and {} folders with images",
            dir.display(),
            train.class_names().len(),
            val.class_names().len()
        )));
    }
    let [_, height, width] = shape;
    let preprocess = cut(height, width);
    let first = val.decode(&[0], &preprocess)?;
    check(network, shape, first.shape(), &dir.display().to_string())?;
    let part = |folder, augment| -> Box<dyn Examples> {
        Box::new(FolderExamples {
            folder,
            preprocess,
            normalize: normalize.clone(),
            augment,
        })
    };
    Ok(DataSets {
        train: part(train, augment),
        test: part(val, Augment::None),
    })
}

/// As is usual for ImageNet.
const fn cut(height: usize, width: usize) -> Preprocess {
    let side = if height > width { height } else { width };
    Preprocess {
        resize: Resize::ShorterSide(side * 8 / 7),
        crop: Some([height, width]),
        color: Color::Rgb,
    }
}

fn open_folder(dir: &Path, shape: [usize; 3]) -> Result<Images> {
    let folder = folder::Folder::list(dir)?;
    let preprocess = preprocess(&folder, shape)?;
    Ok(folder.decode(&(0..folder.len()).collect::<Vec<_>>(), &preprocess)?)
}

fn check(network: &Network, want: [usize; 3], have: [usize; 3], data: &str) -> Result<()> {
    if want == have {
        return Ok(());
    }
    let name = &network.name;
    Err(Error::Input(format!(
        "{data}: images of {have:?}; {name} reads {want:?} (channels, height, width)"
    )))
}

fn open_text(path: &Path, context: usize, vocabulary: usize, options: &DataOptions<'_>) -> Result<DataSets> {
    let Some(tokenizer) = options.tokenizer else {
        return Err(Error::Input(
            "text needs a tokenizer; name one with --tokenizer".into(),
        ));
    };
    let tokenizer = Tokenizer::open(tokenizer)?;
    if tokenizer.vocabulary_len() > vocabulary {
        let n = tokenizer.vocabulary_len();
        return Err(Error::Input(format!(
            "the tokenizer has {n} tokens, the network {vocabulary}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let sequences = tokenizer.encode_chunks(&text, MIN_CHARACTERS, context);
    Ok(DataSets {
        train: Box::new(TokenExamples {
            sequences: Vec::new(),
        }),
        test: Box::new(TokenExamples { sequences }),
    })
}

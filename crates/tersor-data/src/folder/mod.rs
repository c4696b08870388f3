//! Folders of JPEG and PNG files: one subfolder per class, or a table of labels.
//!
//! | layout | labels |
//! |---|---|
//! | `DIR/CLASS/*.jpg`, as ImageNet's and `torchvision`'s | subfolders in the order of their names |
//! | `DIR/labels.csv` with columns `file` and `label`; images beside it or in `DIR/images/` | the numbers of the table |

mod decode;
mod listing;

pub use decode::{Color, Preprocess, Resize};

use crate::error::{DataError, Result};
use crate::images::Images;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// More pixels than these are not decoded at once: the whole validation set of ImageNet fits.
const MAX_BYTES: usize = 16 << 30;

/// The images of a folder and their labels, not decoded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    dir: PathBuf,
    files: Vec<PathBuf>,
    labels: Vec<u16>,
    class_names: Vec<String>,
    classes: usize,
}

/// Decodes all images of a folder, on all threads.
///
/// # Errors
/// As [`Folder::list`] and [`Folder::decode`].
pub fn open(dir: &Path, preprocess: &Preprocess) -> Result<Images> {
    let folder = Folder::list(dir)?;
    folder.decode(&(0..folder.len()).collect::<Vec<_>>(), preprocess)
}

impl Folder {
    /// Lists a folder in either layout; `labels.csv` decides which. Files with other endings than `jpg`, `jpeg` and
    /// `png` in the subfolders of classes are passed over.
    ///
    /// # Errors
    /// If there is no image in either layout, the table is not as described, or it names a file that is not there.
    pub fn list(dir: &Path) -> Result<Self> {
        let table = dir.join(listing::TABLE);
        if table.is_file() {
            listing::from_table(dir, &table)
        } else {
            listing::from_subfolders(dir)
        }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no image; never so for a listed folder.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files, in the order of names or of the table.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// How many classes there are: the subfolders, or the greatest label of the table and one.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The names of the subfolders; empty for a table.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Decodes the images of these indices, on all threads. A set that is too large for memory is decoded part by
    /// part.
    ///
    /// # Errors
    /// If an image cannot be decoded, is smaller than the crop, or they differ in size after preprocessing.
    ///
    /// # Panics
    /// If there is no image of an index.
    pub fn decode(&self, indices: &[usize], preprocess: &Preprocess) -> Result<Images> {
        let labels = indices.iter().map(|&i| self.labels[i]).collect();
        let Some(&first) = indices.first() else {
            return Ok(Images::new(
                [preprocess.color.channels(), 0, 0],
                Vec::new(),
                labels,
                self.classes,
            ));
        };
        let (shape, _) = decode::image(&self.files[first], preprocess)?;
        let size = shape.iter().product::<usize>();
        let size_bytes = size.saturating_mul(indices.len());
        if size_bytes > MAX_BYTES {
            return Err(DataError::Options(format!(
                "{}: {} images of {shape:?} (channels, height, width) take {size_bytes} bytes, the limit is \
                 {MAX_BYTES}; decode fewer at once, or crop them",
                self.dir.display(),
                indices.len()
            )));
        }
        let mut pixels = vec![0; size_bytes];
        pixels.par_chunks_exact_mut(size).zip(indices).try_for_each(|(out, &i)| {
            let (found, image) = decode::image(&self.files[i], preprocess)?;
            if found != shape {
                let what = format!(
                    "{found:?} (channels, height, width), but {} is {shape:?}; resize or crop all to one size",
                    self.files[first].display()
                );
                return Err(DataError::corrupt(&self.files[i], what));
            }
            out.copy_from_slice(&image);
            Ok(())
        })?;
        Ok(Images::new(shape, pixels, labels, self.classes))
    }
}

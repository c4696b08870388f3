//! Data sets to train and to measure networks on: files and generated digits in, buffers of `f32` out.
//!
//! | module | what |
//! |---|---|
//! | [`digits`] | handwritten-like digits, generated: needs no file |
//! | [`idx`] | MNIST and data sets of its layout |
//! | [`cifar`] | CIFAR-10, binary version |
//! | [`folder`] | JPEG and PNG files: a subfolder per class, or a table of labels |
//! | [`text`] | plain text, and a tokenizer for it |
//!
//! All but the last give [`Images`]: pixels in memory, which [`Images::batch`] turns into normalised NCHW buffers.
//! [`Batches`] puts indices in random order, and [`Augment`] changes training images.
//!
//! ```
//! use tersor_data::{Augment, Batches, Key, Normalize, digits};
//!
//! let split = digits::split(100, 20, 1);
//! for indices in Batches::shuffled(split.train.len(), 32, 1, 0) {
//!     let key = Key { seed: 1, epoch: 0 };
//!     let batch = split.train.augmented_batch(&indices, &Normalize::unit(), &Augment::elastic(), key);
//!     assert_eq!(batch.len(), indices.len() * 28 * 28); // NCHW
//! }
//! ```
//!
//! The crate names no deep-learning framework. The same seed gives the same images, order and changes on every
//! machine and for any number of threads. Files are not trusted: a damaged one gives an error that names it, and
//! memory is bounded by the size of the file, that of decoded images by a limit.

pub mod augment;
pub mod cifar;
pub mod digits;
pub mod folder;
pub mod idx;
pub mod text;

mod batches;
mod error;
mod images;
mod normalize;
mod official;
mod random;
mod source;
mod warp;

pub use augment::{Augment, Key};
pub use batches::Batches;
pub use error::{DataError, Result};
pub use images::{Images, Split};
pub use normalize::Normalize;
pub use official::Official;
pub use random::Random;
pub use warp::AffineRange;

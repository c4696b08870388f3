//! Labelled examples in batches.

mod folder;
mod mixed;

pub use folder::FolderExamples;
pub use mixed::Mixed;

use crate::Result;
use crate::graph::{Input, Value};
use burn::tensor::{Device, Tensor, TensorData};
use tersor_data::{Augment, Batches, Images, Key, Normalize};

/// Label of a row that has none: the last token of a sequence, and padding.
pub const UNLABELLED: u32 = u32::MAX;

/// A batch in main memory.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchInput {
    /// `[batch, channels, height, width]`.
    Images(Vec<f32>, [usize; 4]),
    /// Sequences of tokens.
    Tokens {
        /// Token numbers, row by row.
        ids: Vec<i32>,
        /// `[batch, length]`.
        shape: [usize; 2],
        /// How many tokens of each sequence come before its padding: one for each of the batch, at most `length`.
        lengths: Vec<usize>,
    },
}

/// Inputs with a label for each row of the network's logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What the network reads.
    pub input: BatchInput,
    /// Classes or next tokens; [`UNLABELLED`] for rows that do not count.
    pub labels: Vec<u32>,
}

impl Batch {
    /// Rows that count.
    pub fn n_labelled(&self) -> usize {
        self.labels.iter().filter(|&&l| l != UNLABELLED).count()
    }

    /// Rows of `[batch * length]` that are no padding, in order; `None` if there is no padding, and for images.
    pub fn filled_rows(&self) -> Option<Vec<i32>> {
        let BatchInput::Tokens {
            shape: [_, length],
            lengths,
            ..
        } = &self.input
        else {
            return None;
        };
        if lengths.iter().all(|n| n >= length) {
            return None;
        }
        let rows = |(i, &n): (usize, &usize)| (i * length..i * length + n.min(*length)).map(|row| row as i32);
        Some(lengths.iter().enumerate().flat_map(rows).collect())
    }

    /// The input on a device.
    pub fn to_device(&self, device: &Device) -> Value {
        match &self.input {
            BatchInput::Images(values, shape) => {
                Value::Image(Tensor::from_data(TensorData::new(values.clone(), *shape), device))
            }
            BatchInput::Tokens { ids, shape, .. } => {
                Value::Tokens(Tensor::from_data(TensorData::new(ids.clone(), *shape), device))
            }
        }
    }
}

/// A set of labelled examples.
pub trait Examples: Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Examples by index; augmented if a key says with which random numbers. Indices beyond the last are
    /// passed over.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if one cannot be read.
    fn batch(&self, indices: &[usize], key: Option<Key>) -> Result<Batch>;

    /// Whether examples are others with a key, and with every key.
    fn is_augmented(&self) -> bool {
        false
    }
}

/// Images per batch of calibration.
const CALIBRATION_BATCH: usize = 50;

/// Batches of about `samples` examples for a network of this input, in random order, as they are; texts one by one, which need no
/// padding. Where that is more than there are and they are augmented, they come again, changed; otherwise each comes at most once.
///
/// # Errors
/// As [`Examples::batch`].
pub fn calibration_batches(
    input: Input,
    examples: &dyn Examples,
    samples: usize,
    seed: u64,
) -> Result<Vec<Batch>> {
    let batch = match input {
        Input::Image(_) => CALIBRATION_BATCH,
        Input::Tokens { .. } => 1,
    };
    let n_passes = if examples.is_augmented() {
        samples.div_ceil(examples.len().max(1)) as u64
    } else {
        1
    };
    let pass = |epoch: u64| {
        let key = (epoch > 0).then_some(Key { seed, epoch });
        let batches = Batches::shuffled(examples.len(), batch, seed, epoch);
        batches.map(move |indices| examples.batch(&indices, key))
    };
    (0..n_passes)
        .flat_map(pass)
        .take(samples.div_ceil(batch))
        .collect()
}

/// Images with their normalisation and augmentation.
#[derive(Clone, Debug)]
pub struct ImageExamples {
    /// Pixels and labels.
    pub images: Images,
    /// From pixels to the network's input.
    pub normalize: Normalize,
    /// What training does to images.
    pub augment: Augment,
}

impl Examples for ImageExamples {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, indices: &[usize], key: Option<Key>) -> Result<Batch> {
        let indices: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|&i| i < self.images.len())
            .collect();
        let values = match key {
            Some(key) => self
                .images
                .augmented_batch(&indices, &self.normalize, &self.augment, key),
            None => self.images.batch(&indices, &self.normalize),
        };
        let [c, h, w] = self.images.shape();
        let labels = self.images.labels();
        Ok(Batch {
            labels: indices
                .iter()
                .map(|&i| labels.get(i).map_or(UNLABELLED, |&l| u32::from(l)))
                .collect(),
            input: BatchInput::Images(values, [indices.len(), c, h, w]),
        })
    }

    fn is_augmented(&self) -> bool {
        self.augment != Augment::None
    }
}

/// Sequences of tokens; the label of each token is the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenExamples {
    /// Token numbers.
    pub sequences: Vec<Vec<u32>>,
}

impl Examples for TokenExamples {
    fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Shorter sequences are padded at the end, where causal attention keeps the padding out of the others' sight.
    fn batch(&self, indices: &[usize], _: Option<Key>) -> Result<Batch> {
        let chosen: Vec<&Vec<u32>> = indices.iter().filter_map(|&i| self.sequences.get(i)).collect();
        let length = chosen.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(chosen.len() * length);
        let mut labels = Vec::with_capacity(chosen.len() * length);
        for sequence in &chosen {
            for at in 0..length {
                ids.push(sequence.get(at).map_or(0, |&t| t as i32));
                labels.push(sequence.get(at + 1).copied().unwrap_or(UNLABELLED));
            }
        }
        Ok(Batch {
            input: BatchInput::Tokens {
                ids,
                shape: [chosen.len(), length],
                lengths: chosen.iter().map(|s| s.len()).collect(),
            },
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of four pixels, all of them 2 i + 2, but for the label.
    fn examples(n: u8, augment: Augment) -> ImageExamples {
        let pixels = (0..n).flat_map(|i| [2 * i + 2; 4]);
        let labels = (0..n).map(u16::from);
        ImageExamples {
            images: Images::new([1, 2, 2], pixels.collect(), labels.collect(), usize::from(n)),
            normalize: Normalize::unit(),
            augment,
        }
    }

    fn images(batch: &Batch) -> Vec<(u32, &[f32])> {
        let BatchInput::Images(values, _) = &batch.input else {
            return Vec::new();
        };
        batch.labels.iter().copied().zip(values.chunks(4)).collect()
    }

    #[test]
    fn calibration_sees_no_padding() {
        let texts = TokenExamples {
            sequences: [5, 9, 4].map(|n| (0..n).collect()).to_vec(),
        };
        let input = Input::Tokens {
            context: 16,
            vocabulary: 11,
        };
        let batches = calibration_batches(input, &texts, 3, 1).unwrap();
        let mut lengths: Vec<usize> = batches.iter().map(|b| b.labels.len()).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [4, 5, 9]);
        let n_labelled: usize = batches.iter().map(Batch::n_labelled).sum();
        assert_eq!(n_labelled, 3 + 4 + 8);
    }

    #[test]
    fn calibration_takes_examples_again_only_if_they_are_changed() {
        let plain =
            calibration_batches(Input::Image([1, 2, 2]), &examples(60, Augment::None), 1000, 3).unwrap();
        assert_eq!(plain.iter().map(Batch::n_labelled).sum::<usize>(), 60);

        // Shifted by up to two pixels: some of each image is black.
        let augmented = examples(60, Augment::CropFlip { pad: 2 });
        let batches = calibration_batches(Input::Image([1, 2, 2]), &augmented, 180, 3).unwrap();
        let (first, again) = batches.split_at(2);
        assert_eq!(first, plain);
        let again: Vec<_> = again.iter().flat_map(images).collect();
        let n_changed = again.iter().filter(|(_, image)| image.contains(&0.0)).count();
        assert!(n_changed > again.len() / 2, "{n_changed} of {}", again.len());
        let mut labels: Vec<u32> = again.iter().take(60).map(|(label, _)| *label).collect();
        labels.sort_unstable();
        assert_eq!(labels, (0..60).collect::<Vec<_>>(), "each once in a pass");
    }
}

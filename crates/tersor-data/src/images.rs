//! Labelled images in memory.

use crate::augment::{Augment, Key};
use crate::normalize::Normalize;
use rayon::prelude::*;

/// Images of one shape with labels.
///
/// Pixels are `u8` as read, each image channel by channel and row by row, so that a batch is NCHW. Normalisation
/// is applied when a batch is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u16>,
    classes: usize,
}

/// A training set and a test set of one shape and the same classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// For training.
    pub train: Images,
    /// For measuring.
    pub test: Images,
    /// Files of the training set that were not found, and without which it was read: accuracies are then not
    /// those of the whole set. Empty if nothing is missing.
    pub missing: Vec<String>,
}

impl Images {
    /// Images of `shape` = \[channels, height, width\], one after another in `pixels`. The caller sees to it
    /// that lengths fit and that every label is below `classes`; in debug builds a breach panics.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u16>, classes: usize) -> Self {
        debug_assert_eq!(
            pixels.len(),
            shape.iter().product::<usize>() * labels.len(),
            "one label per image"
        );
        debug_assert!(
            labels.iter().all(|&label| usize::from(label) < classes),
            "labels below {classes}"
        );
        Self {
            shape,
            pixels,
            labels,
            classes,
        }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// \[channels, height, width\] of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// How many classes there are; every label is below.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The pixels of image `i`: channels, then rows, then columns.
    ///
    /// # Panics
    /// If there is no image `i`.
    pub fn pixels(&self, i: usize) -> &[u8] {
        let size = self.size();
        &self.pixels[i * size..(i + 1) * size]
    }

    /// The images of these indices, in this order; an index may come more than once.
    ///
    /// # Panics
    /// If there is no image of an index.
    #[must_use]
    pub fn subset(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for i in indices {
            pixels.extend_from_slice(self.pixels(i));
            labels.push(self.labels[i]);
        }
        Self::new(self.shape, pixels, labels, self.classes)
    }

    /// The first `n` images, and the others.
    ///
    /// # Panics
    /// If there are fewer than `n`.
    #[must_use]
    pub fn split_at(mut self, n: usize) -> (Self, Self) {
        let pixels = self.pixels.split_off(n * self.size());
        let labels = self.labels.split_off(n);
        let rest = Self::new(self.shape, pixels, labels, self.classes);
        (self, rest)
    }

    /// The images of these indices as one NCHW buffer, normalised.
    ///
    /// # Panics
    /// If there is no image of an index.
    pub fn batch(&self, indices: &[usize], normalize: &Normalize) -> Vec<f32> {
        self.augmented_batch(indices, normalize, &Augment::None, Key::default())
    }

    /// As [`batch`](Self::batch), with each image augmented before it is normalised.
    ///
    /// What happens to an image follows from `key` and its index alone, so neither the number of threads nor the
    /// batch it is in matters.
    ///
    /// # Panics
    /// If there is no image of an index.
    pub fn augmented_batch(
        &self,
        indices: &[usize],
        normalize: &Normalize,
        augment: &Augment,
        key: Key,
    ) -> Vec<f32> {
        let mut batch = vec![0.0; indices.len() * self.size()];
        let fill = |(out, &i): (&mut [f32], &usize)| {
            augment.apply(self.pixels(i), self.shape, &mut key.random(i), out);
            normalize.apply(out, self.shape[0]);
        };
        // Images without pixels have nothing to fill, but chunks need a size.
        let size = self.size().max(1);
        if *augment == Augment::None {
            // So little work that handing it to threads takes longer, above all on a busy machine.
            batch.chunks_exact_mut(size).zip(indices).for_each(fill);
        } else {
            batch.par_chunks_exact_mut(size).zip(indices).for_each(fill);
        }
        batch
    }

    fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three images of two channels, one row and two columns; their pixels count upwards.
    fn images() -> Images {
        Images::new([2, 1, 2], (0..12).collect(), vec![4, 0, 2], 5)
    }

    #[test]
    fn subsets_follow_their_indices() {
        let subset = images().subset([2, 0, 2]);
        assert_eq!(
            (subset.len(), subset.classes(), subset.labels()),
            (3, 5, &[2, 4, 2][..])
        );
        assert_eq!(
            [subset.pixels(0), subset.pixels(1)],
            [[8, 9, 10, 11], [0, 1, 2, 3]]
        );
    }

    #[test]
    fn a_split_loses_nothing() {
        let (head, tail) = images().split_at(1);
        assert_eq!((head, tail), (images().subset([0]), images().subset([1, 2])));
        let (head, tail) = images().split_at(3);
        assert_eq!((head, tail.is_empty(), tail.classes()), (images(), true, 5));
    }

    #[test]
    fn batches_are_normalised_per_channel() {
        let normalize = Normalize {
            scale: vec![1.0, 10.0],
            shift: vec![0.0, 0.5],
            reverse_channels: false,
        };
        let batch = images().batch(&[1, 0], &normalize);
        assert_eq!(batch, [4.0, 5.0, 60.5, 70.5, 0.0, 1.0, 20.5, 30.5]);
        assert!(images().batch(&[], &normalize).is_empty());
    }
}

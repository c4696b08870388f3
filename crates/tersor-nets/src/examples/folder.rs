//! Images that stay in their files until they are wanted.

use super::{Batch, BatchInput, Examples};
use crate::Result;
use rayon::prelude::*;
use tersor_data::folder::{Folder, Preprocess};
use tersor_data::{Augment, Key, Normalize};

/// A folder of images, too many for memory: each batch is decoded when it is asked for.
#[derive(Clone, Debug)]
pub struct FolderExamples {
    /// The files and their classes.
    pub folder: Folder,
    /// How pixels become images of one size.
    pub preprocess: Preprocess,
    /// What the network was trained to read.
    pub normalize: Normalize,
    /// What training does to images.
    pub augment: Augment,
}

impl Examples for FolderExamples {
    fn len(&self) -> usize {
        self.folder.len()
    }

    fn batch(&self, indices: &[usize], key: Option<Key>) -> Result<Batch> {
        let indices: Vec<usize> = indices.iter().copied().filter(|&i| i < self.len()).collect();
        let images = self.folder.decode(&indices, &self.preprocess)?;
        let shape = images.shape();
        let [channels, height, width] = shape;
        let mut values = vec![0.0; indices.len() * shape.iter().product::<usize>()];
        let size = shape.iter().product::<usize>().max(1);
        let fill = |(at, (out, &index)): (usize, (&mut [f32], &usize))| {
            let augment = key.map_or(&Augment::None, |_| &self.augment);
            // Random numbers belong to an image, not to its place in a batch.
            let mut random = key.unwrap_or_default().random(index);
            augment.apply(images.pixels(at), shape, &mut random, out);
            self.normalize.apply(out, channels);
        };
        values
            .par_chunks_exact_mut(size)
            .zip(&indices)
            .enumerate()
            .for_each(fill);
        Ok(Batch {
            labels: images.labels().iter().map(|&l| u32::from(l)).collect(),
            input: BatchInput::Images(values, [indices.len(), channels, height, width]),
        })
    }

    fn is_augmented(&self) -> bool {
        self.augment != Augment::None
    }
}

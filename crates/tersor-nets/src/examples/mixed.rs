//! Images mixed with each other, for networks that learn another network's answers.

use super::{Batch, BatchInput, Examples};
use crate::{Error, Result};
use tersor_data::{Key, Random};

/// Keeps what mixing draws apart from augmentation and the order of batches.
const STREAM: u64 = 0x6d69_7865_6421;

/// Examples that are mixed when they are trained on: each image becomes a x itself + (1 - a) x another of its batch, a uniform in
/// \[1/2, 1\], and keeps its label. They are for a [`Teacher`](crate::train::Teacher), which answers for mixtures as well,
/// also where it knows the images by heart.
///
/// # Source
/// H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", 2018; L. Beyer et al., "Knowledge
/// distillation: a good teacher is patient and consistent", 2022, for the teacher that sees the same mixtures.
#[derive(Clone, Copy)]
pub struct Mixed<'a> {
    /// What is mixed.
    pub examples: &'a dyn Examples,
}

impl Examples for Mixed<'_> {
    fn len(&self) -> usize {
        self.examples.len()
    }

    /// # Errors
    /// [`Error::Input`] for tokens, which have no mixtures.
    fn batch(&self, indices: &[usize], key: Option<Key>) -> Result<Batch> {
        let mut batch = self.examples.batch(indices, key)?;
        let Some(key) = key else {
            return Ok(batch);
        };
        let BatchInput::Images(pixels, shape) = &mut batch.input else {
            return Err(Error::Input(
                "tokens cannot be mixed; train on them as they are".into(),
            ));
        };
        let [n, channels, height, width] = *shape;
        let size = channels * height * width;
        let others = pixels.clone();
        let first = indices.first().copied().unwrap_or_default() as u64;
        let mut random = Random::keyed(&[STREAM, key.seed, key.epoch, first]);
        let mut order: Vec<usize> = (0..n).collect();
        random.shuffle(&mut order);
        for (image, other) in pixels.chunks_exact_mut(size.max(1)).zip(order) {
            let share = random.between(0.5, 1.0);
            let other = others.iter().skip(other * size);
            for (x, other) in image.iter_mut().zip(other) {
                *x = share * *x + (1.0 - share) * other;
            }
        }
        Ok(batch)
    }

    fn is_augmented(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::TokenExamples;

    /// Image `i` of one channel and four pixels is all i.
    struct Flat;

    impl Examples for Flat {
        fn len(&self) -> usize {
            100
        }

        fn batch(&self, indices: &[usize], _: Option<Key>) -> Result<Batch> {
            let pixels = indices.iter().flat_map(|&i| [i as f32; 4]);
            Ok(Batch {
                input: BatchInput::Images(pixels.collect(), [indices.len(), 1, 2, 2]),
                labels: indices.iter().map(|&i| i as u32).collect(),
            })
        }
    }

    fn values(batch: &Batch) -> &[f32] {
        match &batch.input {
            BatchInput::Images(values, _) => values,
            BatchInput::Tokens { .. } => &[],
        }
    }

    #[test]
    fn images_are_mixed_whole_and_only_to_train_on() {
        let mixed = Mixed { examples: &Flat };
        let indices: Vec<usize> = (20..80).collect();
        let plain = Flat.batch(&indices, None).unwrap();
        assert_eq!(mixed.batch(&indices, None).unwrap(), plain);

        let key = |epoch| Some(Key { seed: 1, epoch });
        let batch = mixed.batch(&indices, key(0)).unwrap();
        assert_eq!(batch.labels, plain.labels);
        assert_eq!(batch, mixed.batch(&indices, key(0)).unwrap());
        assert_ne!(batch, mixed.batch(&indices, key(1)).unwrap());
        let mut n_changed = 0;
        for (image, &index) in values(&batch).chunks(4).zip(&indices) {
            let (own, value) = (index as f32, image[0]);
            assert!(image.iter().all(|&x| x == value), "one share for all pixels");
            // No further than half the way to any other.
            assert!((f32::midpoint(own, 20.0)..=f32::midpoint(own, 80.0)).contains(&value));
            n_changed += usize::from((value - own).abs() > 0.5);
        }
        assert!(n_changed > 40, "{n_changed} of 60");
    }

    #[test]
    fn tokens_are_refused() {
        let examples = TokenExamples {
            sequences: vec![vec![1, 2, 3]],
        };
        let mixed = Mixed { examples: &examples };
        assert!(mixed.batch(&[0], None).is_ok());
        let refused = mixed.batch(&[0], Some(Key::default())).unwrap_err();
        assert!(refused.to_string().contains("tokens"), "{refused}");
    }
}

//! Mini-batches of indices.

use crate::random::Random;

/// The indices of one epoch in mini-batches. The last may be smaller; none is empty.
#[derive(Clone, Debug)]
pub struct Batches {
    order: std::vec::IntoIter<usize>,
    batch_size: usize,
}

/// Keeps the order of batches apart from what augmentation draws for the same seed and epoch.
const STREAM: u64 = 0x6261_7463_6865_7321;

impl Batches {
    /// All of `0..n` in an order that follows from seed and epoch. A `batch_size` of 0 counts as 1.
    pub fn shuffled(n: usize, batch_size: usize, seed: u64, epoch: u64) -> Self {
        let mut order: Vec<usize> = (0..n).collect();
        Random::keyed(&[STREAM, seed, epoch]).shuffle(&mut order);
        Self::new(order, batch_size)
    }

    /// All of `0..n` in order, for measuring.
    pub fn in_order(n: usize, batch_size: usize) -> Self {
        Self::new((0..n).collect(), batch_size)
    }

    fn new(order: Vec<usize>, batch_size: usize) -> Self {
        Self {
            order: order.into_iter(),
            batch_size: batch_size.max(1),
        }
    }
}

impl Iterator for Batches {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let batch: Vec<usize> = self.order.by_ref().take(self.batch_size).collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.order.len().div_ceil(self.batch_size);
        (n, Some(n))
    }
}

impl ExactSizeIterator for Batches {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_comes_once_and_the_last_batch_may_be_smaller() {
        let batches = Batches::shuffled(10, 4, 1, 0);
        assert_eq!(batches.len(), 3);
        let batches: Vec<_> = batches.collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_follows_from_seed_and_epoch() {
        let order = |seed, epoch| {
            Batches::shuffled(100, 7, seed, epoch)
                .flatten()
                .collect::<Vec<_>>()
        };
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(1, 3));
        assert_ne!(order(1, 2), order(2, 2));
    }

    #[test]
    fn no_images_make_no_batch() {
        assert_eq!(Batches::in_order(0, 4).next(), None);
        assert_eq!(Batches::in_order(3, 0).count(), 3);
    }
}

//! Joining adjacent tokens, best pair first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Joins adjacent tokens until `union` knows none of the pairs: it gives the token of a pair and its score. The
/// highest score comes first, the leftmost among equals. n tokens take O(n log n) steps.
pub(super) fn merge(tokens: Vec<u32>, mut union: impl FnMut(u32, u32) -> Option<(u32, f32)>) -> Vec<u32> {
    // A linked list: a token that was joined to its left neighbour has no entry in `tokens` any more.
    let n = tokens.len();
    let mut tokens: Vec<Option<u32>> = tokens.into_iter().map(Some).collect();
    let mut next: Vec<usize> = (1..=n).collect();
    let mut previous: Vec<Option<usize>> = (0..n).map(|i| i.checked_sub(1)).collect();
    let mut heap = BinaryHeap::new();
    let mut offer = |tokens: &[Option<u32>], heap: &mut BinaryHeap<Pair>, left: usize, right: usize| {
        let pair = tokens[left].zip(tokens.get(right).copied().flatten());
        if let Some((a, b)) = pair
            && let Some((joined, score)) = union(a, b)
        {
            heap.push(Pair {
                score,
                left,
                tokens: [a, b],
                joined,
            });
        }
    };
    for left in 0..n {
        offer(&tokens, &mut heap, left, left + 1);
    }
    while let Some(pair) = heap.pop() {
        let left = pair.left;
        let right = next[left];
        let now = [tokens[left], tokens.get(right).copied().flatten()];
        if now != pair.tokens.map(Some) {
            continue; // One of them has been joined to another since.
        }
        tokens[left] = Some(pair.joined);
        tokens[right] = None;
        next[left] = next[right];
        if let Some(previous) = previous.get_mut(next[left]) {
            *previous = Some(left);
        }
        if let Some(before) = previous[left] {
            offer(&tokens, &mut heap, before, left);
        }
        offer(&tokens, &mut heap, left, next[left]);
    }
    tokens.into_iter().flatten().collect()
}

/// Two neighbours that can be joined.
struct Pair {
    score: f32,
    left: usize,
    tokens: [u32; 2],
    joined: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The definition: looks at all pairs each time.
    fn merge_slowly(mut tokens: Vec<u32>, union: impl Fn(u32, u32) -> Option<(u32, f32)>) -> Vec<u32> {
        loop {
            let mut best: Option<(f32, usize, u32)> = None;
            for (i, pair) in tokens.windows(2).enumerate() {
                if let Some((joined, score)) = union(pair[0], pair[1])
                    && best.is_none_or(|(highest, ..)| score > highest)
                {
                    best = Some((score, i, joined));
                }
            }
            let Some((_, i, joined)) = best else {
                return tokens;
            };
            tokens[i] = joined;
            tokens.remove(i + 1);
        }
    }

    #[test]
    fn the_same_pairs_are_joined_as_by_looking_at_all_of_them() {
        let mut random = Random::new(1);
        for round in 0..300 {
            // Few tokens and few scores, so that ties and overlaps abound.
            let table: Vec<_> = (0..64)
                .map(|_| {
                    random
                        .chance(0.4)
                        .then(|| (random.below(8) as u32, random.below(3) as f32))
                })
                .collect();
            let union = |a: u32, b: u32| table[(a * 8 + b) as usize];
            let tokens: Vec<u32> = (0..random.below(60)).map(|_| random.below(8) as u32).collect();
            assert_eq!(
                merge(tokens.clone(), union),
                merge_slowly(tokens, union),
                "round {round}"
            );
        }
    }
}

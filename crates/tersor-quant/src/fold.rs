//! Parallel sums that do not depend on the number of threads.
//!
//! The weights are cut into at most [`GROUPS`] groups by length alone, each group is added up in order by one
//! thread, and the groups are merged in order.

use rayon::prelude::*;

use crate::source::Source;

/// Most groups of a reduction. Bounds the memory of its accumulators.
pub(crate) const GROUPS: usize = 64;

/// Fewest weights of a group, but for the last.
const MIN_GROUP: usize = 1 << 15;

/// Length of a group of `n` weights.
pub(crate) fn group_len(n: usize, groups: usize) -> usize {
    n.div_ceil(groups).max(MIN_GROUP)
}

/// Folds all weights: `add` gets an accumulator, the index of the part, and consecutive weights of that part.
pub(crate) fn fold<A: Send>(
    parts: &[Source],
    groups: usize,
    new: impl Fn() -> A + Sync,
    add: impl Fn(&mut A, usize, &Source) + Sync,
    merge: impl Fn(&mut A, A),
) -> A {
    let sums: Vec<A> = cut(parts, groups)
        .into_par_iter()
        .map(|group| {
            let mut sum = new();
            for (part, chunk) in group {
                add(&mut sum, part, &chunk);
            }
            sum
        })
        .collect();
    let mut sums = sums.into_iter();
    let mut total = sums.next().unwrap_or_else(&new);
    sums.for_each(|sum| merge(&mut total, sum));
    total
}

/// Runs of consecutive weights, each with the index of its part.
fn cut<'a>(parts: &[Source<'a>], groups: usize) -> Vec<Vec<(usize, Source<'a>)>> {
    let len = group_len(parts.iter().map(Source::len).sum(), groups);
    let mut cuts = vec![Vec::new()];
    let mut room = len;
    for (i, part) in parts.iter().enumerate() {
        part.check();
        let mut start = 0;
        while start < part.len() {
            if room == 0 {
                cuts.push(Vec::new());
                room = len;
            }
            let end = part.len().min(start + room);
            if let Some(group) = cuts.last_mut() {
                group.push((i, part.slice(start..end)));
            }
            room -= end - start;
            start = end;
        }
    }
    cuts
}

/// Maps one source and its output slice chunk by chunk; results in order.
///
/// # Panics
/// If `out` is not as long as the source.
pub(crate) fn map_out<A: Send>(
    source: &Source,
    out: &mut [u16],
    f: impl Fn(&Source, &mut [u16]) -> A + Sync,
) -> Vec<A> {
    source.check();
    assert_eq!(out.len(), source.len(), "one symbol per weight");
    let len = group_len(source.len(), GROUPS);
    out.par_chunks_mut(len)
        .enumerate()
        .map(|(i, out)| f(&source.slice(i * len..i * len + out.len()), out))
        .collect()
}

/// Sum of `f` over a slice.
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f64 + Sync) -> f64 {
    let sums: Vec<f64> = values
        .par_chunks(group_len(values.len(), GROUPS))
        .map(|chunk| {
            const LANES: usize = 4;
            let mut lanes = [0.0; LANES];
            let mut rows = chunk.chunks_exact(LANES);
            for row in &mut rows {
                for (lane, &v) in lanes.iter_mut().zip(row) {
                    *lane += f(v);
                }
            }
            lanes.iter().sum::<f64>() + rows.remainder().iter().map(|&v| f(v)).sum::<f64>()
        })
        .collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_all_weights_in_order() {
        let w: Vec<f32> = (0..200_000u32).map(|i| i as f32).collect();
        let parts = [
            Source::constant(&w[..70_000], 1.0),
            Source::constant(&[], 1.0),
            Source::constant(&w[70_000..], 2.0),
        ];
        let cuts = cut(&parts, 3);
        assert_eq!(cuts.len(), 3);
        let all: Vec<f32> = cuts
            .iter()
            .flatten()
            .flat_map(|(_, s)| s.weights.iter().copied())
            .collect();
        assert_eq!(all, w);
        assert!(
            cuts.iter()
                .flatten()
                .all(|(i, s)| (*i == 0) == (s.weights[0] < 70_000.0)),
            "parts are not mixed"
        );
    }

    #[test]
    fn a_fold_of_nothing_is_the_empty_accumulator() {
        assert_eq!(fold(&[], GROUPS, || 7, |_, _, _| (), |_, _| ()), 7);
    }
}

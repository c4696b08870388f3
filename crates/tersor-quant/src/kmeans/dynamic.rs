//! Optimal clustering of sorted points by dynamic programming.

use crate::atoms::Atoms;

/// Below this many points a half is not worth a task of its own.
const PARALLEL: usize = 1 << 12;

/// Edges of the `k` runs of points of least total cost: `k + 1` of them, one per point and end if `k` are too
/// many, and no run is empty.
pub(super) fn best_edges(atoms: &Atoms, k: usize) -> Vec<usize> {
    let mut edges = vec![0];
    if atoms.len() > 0 {
        edges.extend(split(atoms, 0, atoms.len(), k));
    }
    edges
}

/// Ends of the best `k` runs of points `lo..hi`: finds where the first half of the runs ends, then splits both sides.
fn split(atoms: &Atoms, lo: usize, hi: usize, k: usize) -> Vec<usize> {
    let n = hi - lo;
    if k <= 1 {
        return vec![hi];
    }
    if n <= k {
        return (lo + 1..=hi).collect();
    }
    let (left, right) = (k / 2, k - k / 2);
    let (head, tail) = join(
        n,
        || prefix_costs(n, left, &|i, j| atoms.cost(lo + i, lo + j)),
        || prefix_costs(n, right, &|i, j| atoms.cost(hi - j, hi - i)),
    );
    let total = |m: usize| head[m] + tail[n - m];
    let middle = (left..=n - right).fold(left, |best, m| if total(m) < total(best) { m } else { best });
    drop((head, tail));
    let (mut ends, rest) = join(
        n,
        || split(atoms, lo, lo + middle, left),
        || split(atoms, lo + middle, hi, right),
    );
    ends.extend(rest);
    ends
}

fn join<A: Send, B: Send>(n: usize, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if n < PARALLEL {
        (a(), b())
    } else {
        rayon::join(a, b)
    }
}

/// For every `m` in `0..=n`: the least cost of points `0..m` in at most `k` runs.
fn prefix_costs(n: usize, k: usize, cost: &(impl Fn(usize, usize) -> f64 + Sync)) -> Vec<f64> {
    let mut last: Vec<f64> = (0..=n).map(|m| cost(0, m)).collect();
    let mut next = vec![0.0; n + 1];
    for _ in 1..k {
        row(&last, cost, &mut next, 0, 0, n);
        std::mem::swap(&mut last, &mut next);
    }
    last
}

/// Fills `next[m - first]`, for `m` in a range from `first`, with the least `last[i] + cost(i, m)`.
///
/// The best `i` does not fall as `m` grows (the cost satisfies the quadrangle inequality), so the best one of the
/// middle bounds those on either side: `O(log n)` evaluations per entry. Ties go to the lower `i`.
fn row(
    last: &[f64],
    cost: &(impl Fn(usize, usize) -> f64 + Sync),
    next: &mut [f64],
    first: usize,
    low: usize,
    high: usize,
) {
    if next.is_empty() {
        return;
    }
    let half = next.len() / 2;
    let m = first + half;
    let (mut best, mut at) = (f64::INFINITY, low);
    for (i, before) in last.iter().enumerate().take(high.min(m) + 1).skip(low) {
        let total = before + cost(i, m);
        if total < best {
            (best, at) = (total, i);
        }
    }
    let (left, right) = next.split_at_mut(half);
    right[0] = best;
    let right = &mut right[1..];
    let n = left.len();
    join(
        n,
        || row(last, cost, left, first, low, at),
        || row(last, cost, right, m + 1, at, high),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn every_number_of_runs_is_reached() {
        let w: Vec<f32> = (1..40u16).map(|i| f32::from(i * i)).collect();
        let atoms = Atoms::of(&[Source::constant(&w, 1.0)], true);
        let mut last = f64::INFINITY;
        for k in 1..=39 {
            let edges = best_edges(&atoms, k);
            assert_eq!(edges.len(), k + 1);
            assert!(edges.windows(2).all(|e| e[0] < e[1]), "no empty run");
            let cost: f64 = edges.windows(2).map(|e| atoms.cost(e[0], e[1])).sum();
            assert!(cost < last, "a further level lowers the cost");
            last = cost;
        }
        assert!(last < 1e-6);
    }
}

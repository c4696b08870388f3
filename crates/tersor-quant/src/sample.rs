//! Deterministic subsamples.

use crate::balance::Balance;
use crate::source::{Sensitivity, Source};

/// Consecutive weights taken together: four cache lines.
const BLOCK: usize = 64;

/// Weights of a part of a row, about.
const PART_OF_ROW: usize = 256;

/// Some of the weights, owned.
#[derive(Clone, Debug)]
pub struct Sample {
    weights: Vec<f32>,
    /// One per weight, unless all have the same.
    h: Result<Vec<f32>, f32>,
    /// How errors add up, if they are taken in parts of rows.
    balance: Option<Balance>,
}

impl Sample {
    /// The sample as a source.
    pub fn source(&self) -> Source<'_> {
        let source = match &self.h {
            Ok(h) => Source::per_weight(&self.weights, h),
            Err(h) => Source::constant(&self.weights, *h),
        };
        match &self.balance {
            Some(balance) => source.balanced(balance),
            None => source,
        }
    }

    /// None yet; with room for some weights of one sensitivity each, or of one for all.
    fn empty(common: Option<f32>, balance: Option<Balance>, capacity: usize) -> Self {
        Self {
            weights: Vec::with_capacity(capacity),
            h: common.map_or_else(|| Ok(Vec::with_capacity(capacity)), Err),
            balance,
        }
    }

    fn push(&mut self, part: &Source) {
        self.weights.extend_from_slice(part.weights);
        if let Ok(h) = &mut self.h {
            h.extend((0..part.len()).map(|i| part.h.at(i)));
        }
    }
}

/// The one sensitivity of all weights, if each has not its own.
fn common_h(source: &Source) -> Option<f32> {
    match source.h {
        Sensitivity::Constant(h) => Some(h),
        Sensitivity::PerWeight(..) => None,
    }
}

/// One of `n`, pseudo-random. Places are random, not periodic, because rows of tensors are periodic.
fn place(stretch: usize, n: usize) -> usize {
    match n {
        0 | 1 => 0,
        n => splitmix(stretch as u64) as usize % n,
    }
}

/// Takes about `target` weights in blocks of 64, one block at a pseudo-random place of every stretch of equal
/// length; all weights if there are no more than `target`.
///
/// Depends on the lengths of the parts and on `target` only.
pub fn sample(parts: &[Source], target: usize) -> Sample {
    let n: usize = parts.iter().map(Source::len).sum();
    let stride = n.div_ceil(target.max(1)).max(1);
    let common = match parts {
        [part] => common_h(part),
        _ => None,
    };
    let mut sample = Sample::empty(common, None, n.div_ceil(stride) + BLOCK * parts.len());
    let mut stretch = 0;
    for part in parts {
        part.check();
        let mut start = 0;
        while start < part.len() {
            let from = (start + place(stretch, stride) * BLOCK).min(part.len());
            sample.push(&part.slice(from..(from + BLOCK).min(part.len())));
            start += stride * BLOCK;
            stretch += 1;
        }
    }
    sample
}

/// As [`sample`], of one tensor from its start; where errors of its rows add up, in parts of rows, each of which is taken for a row: no
/// more of the errors before it is known.
pub fn sample_rows(source: &Source, target: usize) -> Sample {
    let Some(balance) = source.balance() else {
        return sample(&[*source], target);
    };
    let part = balance.shortened(PART_OF_ROW);
    let (row, columns) = (balance.n_columns(), part.n_columns());
    let per_row = row / columns;
    let n_parts = source.len() / row * per_row;
    let stride = (n_parts * columns).div_ceil(target.max(1)).max(1);
    let capacity = n_parts.div_ceil(stride) * columns;
    let mut sample = Sample::empty(common_h(source), Some(part), capacity);
    for (stretch, first) in (0..n_parts).step_by(stride).enumerate() {
        let at = first + place(stretch, stride.min(n_parts - first));
        let from = at / per_row * row + at % per_row * columns;
        sample.push(&source.slice(from..from + columns));
    }
    sample
}

/// Output function of the `SplitMix64` generator (Steele, Lea, Flood 2014) at position `i`.
fn splitmix(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_source_is_taken_whole() {
        let w: Vec<f32> = (0..1000u16).map(f32::from).collect();
        assert_eq!(sample(&[Source::constant(&w, 2.0)], 1000).source().weights, w);
    }

    #[test]
    fn a_sample_has_about_the_size_asked_for_and_spreads_over_the_source() {
        let w: Vec<f32> = (0..1_000_000u32).map(|i| i as f32).collect();
        let taken = sample(&[Source::constant(&w, 2.0)], 10_000);
        let source = taken.source();
        assert!(
            (9_000..11_000).contains(&source.len()),
            "{} weights",
            source.len()
        );
        let mean = source.weights.iter().map(|&w| f64::from(w)).sum::<f64>() / source.len() as f64;
        assert!((mean - 5e5).abs() < 2e4, "mean {mean}");
        assert_eq!(source.mean_h(), 2.0);
    }

    #[test]
    fn parts_of_rows_are_whole_kernels() {
        const TAPS: usize = 9;
        const ROW: usize = 50 * TAPS;
        let w: Vec<f32> = (0..1000 * ROW as u32).map(|i| i as f32).collect();
        let h: Vec<f32> = w.iter().map(|w| 2.0 * w).collect();
        let balance = Balance::new((ROW, TAPS), 1.0, 0.5);
        let taken = sample_rows(&Source::per_weight(&w, &h).balanced(&balance), 20_000);
        let source = taken.source();
        assert!(
            (19_000..21_000).contains(&source.len()),
            "{} weights",
            source.len()
        );
        let columns = source.balance().unwrap().n_columns();
        assert_eq!(columns, 28 * TAPS);
        for part in source.weights.chunks(columns) {
            let first = part[0] as usize;
            assert_eq!(first % ROW, 0, "the only part of its row begins with it");
            let whole = part.iter().enumerate().all(|(i, &w)| w as usize == first + i);
            assert!(whole && part.len() == columns);
        }
        assert!((0..source.len()).all(|i| source.h.at(i) == 2.0 * source.weights[i]));
        // All rows, if they are short and few.
        let few = sample_rows(&Source::constant(&w[..9 * ROW], 1.0).balanced(&balance), 9 * ROW);
        assert_eq!(few.source().len(), 9 * columns);
    }
}

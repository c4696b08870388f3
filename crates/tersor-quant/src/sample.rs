//! Deterministic subsamples.

use crate::source::{Sensitivity, Source};

/// Consecutive weights taken together: four cache lines.
const BLOCK: usize = 64;

/// Some of the weights, owned.
#[derive(Clone, Debug)]
pub struct Sample {
    weights: Vec<f32>,
    /// One per weight, unless all have the same.
    h: Result<Vec<f32>, f32>,
}

impl Sample {
    /// The sample as a source.
    pub fn source(&self) -> Source<'_> {
        match &self.h {
            Ok(h) => Source::per_weight(&self.weights, h),
            Err(h) => Source::constant(&self.weights, *h),
        }
    }
}

/// Takes about `target` weights in blocks of 64, one block at a pseudo-random place of every stretch of equal
/// length; all weights if there are no more than `target`.
///
/// Depends on the lengths of the parts and on `target` only. The places are random, not periodic, because
/// rows of tensors are periodic.
pub fn sample(parts: &[Source], target: usize) -> Sample {
    let n: usize = parts.iter().map(Source::len).sum();
    let stride = n.div_ceil(target.max(1)).max(1);
    let capacity = n.div_ceil(stride) + BLOCK * parts.len();
    let common = match parts {
        [
            Source {
                h: Sensitivity::Constant(h),
                ..
            },
        ] => Some(*h),
        _ => None,
    };
    let mut weights = Vec::with_capacity(capacity);
    let mut h = Vec::with_capacity(if common.is_none() { capacity } else { 0 });
    let mut stretch = 0u64;
    for part in parts {
        part.check();
        let mut start = 0;
        while start < part.len() {
            let place = if stride == 1 {
                0
            } else {
                splitmix(stretch) as usize % stride
            };
            let from = (start + place * BLOCK).min(part.len());
            let to = (from + BLOCK).min(part.len());
            weights.extend_from_slice(&part.weights[from..to]);
            if common.is_none() {
                h.extend((from..to).map(|i| part.h.at(i)));
            }
            start += stride * BLOCK;
            stretch += 1;
        }
    }
    Sample {
        weights,
        h: common.map_or(Ok(h), Err),
    }
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
}

//! Positions of the survivors of a pruned tensor, as differences between successive indices.
//!
//! With an alphabet of 2^b symbols, symbol g < 2^b - 1 means: skip g zeros, then comes a survivor. Symbol 2^b - 1 means:
//! skip that many zeros, no survivor yet. Zeros after the last survivor are not written.
//!
//! # Source
//! S. Han, H. Mao, W. J. Dally, "Deep compression", 2016, section 3, with the filler of its figure 2; Huffman coded as
//! in Y. Choi, M. El-Khamy, J. Lee, "Towards the limit of network quantization", 2017, section 6.

use crate::{Error, Result};

/// Fewest and most bits of the alphabet of gaps.
pub(crate) const GAP_BITS: std::ops::RangeInclusive<u32> = 1..=12;

/// Gap symbols and survivors of a tensor.
pub(crate) struct Gaps {
    pub(crate) gaps: Vec<u16>,
    /// Symbols of the survivors, those above the zero symbol lowered by one.
    pub(crate) survivors: Vec<u16>,
}

/// Longest distance that is counted apart from longer ones.
const LONGEST: usize = (1 << 16) - 1;

/// How often each distance between survivors occurs, as far as there are any; the entry of [`LONGEST`] stands for itself and all above.
pub(crate) fn distances(symbols: &[u16], zero: u16) -> Vec<u64> {
    let mut counts = Vec::new();
    let mut gap = 0usize;
    for &symbol in symbols {
        // Whether a symbol is zero is hard to predict: every symbol adds to a count, a zero nothing.
        let is_zero = symbol == zero;
        let at = gap.min(LONGEST);
        if at >= counts.len() {
            counts.resize(2 * at + 1, 0);
        }
        if let Some(count) = counts.get_mut(at) {
            *count += u64::from(!is_zero);
        }
        gap = if is_zero { gap + 1 } else { 0 };
    }
    let longest = counts.iter().rposition(|&count| count > 0);
    counts.truncate(longest.map_or(0, |longest| longest + 1));
    counts
}

/// Counts of gap symbols over an alphabet of 2^`gap_bits`, from the [`distances`].
pub(crate) fn gap_counts(distances: &[u64], gap_bits: u32) -> Vec<u64> {
    let filler = (1usize << gap_bits) - 1;
    let mut counts = vec![0u64; filler + 1];
    for (gap, &count) in distances.iter().enumerate().filter(|&(_, &c)| c > 0) {
        if let Some(c) = counts.get_mut(gap % filler) {
            *c += count;
        }
        if let Some(c) = counts.get_mut(filler) {
            *c += count * (gap / filler) as u64;
        }
    }
    counts
}

/// Splits symbols into gaps and survivors.
pub(crate) fn split(symbols: &[u16], zero: u16, gap_bits: u32) -> Gaps {
    let filler = (1u16 << gap_bits) - 1;
    let (mut gaps, mut survivors, mut gap) = (Vec::new(), Vec::new(), 0);
    // Fillers after the last survivor are dropped again.
    let mut n_kept = 0;
    for &symbol in symbols {
        if symbol == zero {
            gap += 1;
            if gap == filler {
                gaps.push(filler);
                gap = 0;
            }
        } else {
            gaps.push(gap);
            n_kept = gaps.len();
            gap = 0;
            survivors.push(symbol - u16::from(symbol > zero));
        }
    }
    gaps.truncate(n_kept);
    Gaps { gaps, survivors }
}

/// The symbol that a survivor stands for.
pub(crate) fn restore(survivor: u16, zero: u16) -> u16 {
    survivor + u16::from(survivor >= zero)
}

/// Positions of the survivors, strictly increasing, below `n`.
pub(crate) fn positions(gaps: &[u16], gap_bits: u32, n: usize, n_survivors: usize) -> Result<Vec<u32>> {
    let filler = (1u16 << gap_bits) - 1;
    let mut positions = Vec::with_capacity(n_survivors.min(n));
    let mut next = 0usize;
    for &gap in gaps {
        next += usize::from(gap);
        if gap != filler {
            positions.push(next as u32);
            next += 1;
        }
    }
    if positions.len() != n_survivors || next > n || gaps.last() == Some(&filler) {
        let what = format!(
            "{} gaps place {} of {n_survivors} survivors in {n} elements",
            gaps.len(),
            positions.len()
        );
        return Err(Error::corrupt("group", what));
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn symbols_come_back_from_gaps(
            symbols in proptest::collection::vec(prop_oneof![6 => Just(3u16), 1 => 0u16..8], 0..500),
            gap_bits in GAP_BITS,
        ) {
            let Gaps { gaps, survivors } = split(&symbols, 3, gap_bits);
            let mut counts = vec![0u64; 1 << gap_bits];
            for &g in &gaps {
            counts[usize::from(g)] += 1;
        }
            prop_assert_eq!(counts, gap_counts(&distances(&symbols, 3), gap_bits));
            let positions = positions(&gaps, gap_bits, symbols.len(), survivors.len()).unwrap();
            let mut back = vec![3u16; symbols.len()];
            for (p, s) in positions.into_iter().zip(survivors) {
                back[p as usize] = restore(s, 3);
            }
            prop_assert_eq!(back, symbols);
        }
    }

    #[test]
    fn gaps_beyond_the_tensor_are_refused() {
        assert!(positions(&[2, 0], 2, 4, 2).is_ok());
        assert!(positions(&[2, 1], 2, 4, 2).is_err()); // the second survivor would be element 4 of 4
        assert!(positions(&[2, 3], 2, 9, 1).is_err()); // ends with a filler
    }
}

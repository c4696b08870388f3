//! Sizes beside theory and beside another entropy coder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use constriction::stream::{model::SmallContiguousCategoricalEntropyModel, stack::SmallAnsCoder};
use proptest::prelude::*;
use tersor_codec::{
    Coder, SegmentInput, encode_group, encoded_len_bytes, estimate_bits, estimate_gap_saving,
};

const N: usize = 200_000;

/// Symbols of an alphabet of 64 with probabilities that fall by `ratio` on both sides of the middle.
fn symbols(ratio: f64) -> Vec<u16> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..N)
        .map(|_| {
            let distance = (unit().max(1e-12).ln() / ratio.ln()).floor().min(31.0);
            if unit() < 0.5 {
                (32.0 + distance).min(63.0) as u16
            } else {
                (32.0 - distance) as u16
            }
        })
        .collect()
}

fn counts(symbols: &[u16]) -> Vec<u64> {
    let mut counts = vec![0u64; 64];
    for &s in symbols {
        counts[usize::from(s)] += 1;
    }
    counts
}

fn entropy_bytes(counts: &[u64]) -> f64 {
    let n = counts.iter().sum::<u64>() as f64;
    counts
        .iter()
        .filter(|&&c| c > 0)
        .map(|&c| c as f64 * (n / c as f64).log2())
        .sum::<f64>()
        / 8.0
}

fn size(symbols: &[u16], coder: Coder, zero: Option<u16>) -> usize {
    encode_group(
        &[SegmentInput::Symbols {
            symbols,
            n_levels: 64,
            zero,
            shape: &[symbols.len() as u64],
            first: 0,
        }],
        coder,
    )
    .unwrap()
    .len()
}

#[test]
fn ans_is_within_a_thousandth_of_the_entropy_and_of_constriction() {
    for ratio in [0.2, 0.5, 0.8, 0.9] {
        let symbols = symbols(ratio);
        let counts = counts(&symbols);
        let (ours, entropy) = (size(&symbols, Coder::Ans, None) as f64, entropy_bytes(&counts));
        // 8 lanes of 4 bytes, and a table of at most 64 frequencies.
        assert!(
            ours > entropy && ours < 1.001 * entropy + 132.0,
            "{ours} bytes for an entropy of {entropy}"
        );

        let weights: Vec<f64> = counts.iter().map(|&c| c as f64).collect();
        let model =
            SmallContiguousCategoricalEntropyModel::from_floating_point_probabilities_fast(&weights, None)
                .unwrap();
        let mut coder = SmallAnsCoder::new();
        coder
            .encode_iid_symbols_reverse(symbols.iter().map(|&s| usize::from(s)), &model)
            .unwrap();
        // Its table is not in its bytes.
        let theirs = coder.into_compressed().unwrap().len() as f64 * 2.0;
        assert!(
            ours < 1.001 * theirs + 132.0,
            "{ours} bytes, constriction takes {theirs}"
        );
    }
}

#[test]
fn huffman_is_optimal_among_prefix_codes() {
    for ratio in [0.2, 0.5, 0.8, 0.9] {
        let symbols = symbols(ratio);
        let counts = counts(&symbols);
        // Merging the two rarest until one is left: the sum of all merged counts is the length of an optimal code.
        let mut heap: Vec<u64> = counts.iter().copied().filter(|&c| c > 0).collect();
        let mut optimal_bits = 0;
        while heap.len() > 1 {
            heap.sort_unstable_by(|a, b| b.cmp(a));
            let merged = heap.pop().unwrap() + heap.pop().unwrap();
            optimal_bits += merged;
            heap.push(merged);
        }
        let (ours, optimal) = (
            size(&symbols, Coder::Huffman, None) as f64,
            optimal_bits as f64 / 8.0,
        );
        // Codes are at most 12 bits unless longer ones pay 0.2 %.
        assert!(
            ours >= optimal && ours < 1.002 * optimal + 100.0,
            "{ours} bytes, the optimum is {optimal}"
        );
    }
}

#[test]
fn a_fixed_code_takes_whole_bits() {
    let symbols = symbols(0.5);
    assert_eq!(size(&symbols, Coder::Fixed, None), N * 6 / 8 + 2); // 64 symbols: 6 bits each; a header of one byte, and its length
}

#[test]
fn gaps_pay_where_few_survive() {
    // One survivor in fifty: with Huffman, zero as a symbol costs a whole bit.
    let sparse: Vec<u16> = (0..N)
        .map(|i| if (i * 7919) % 50 == 0 { 33 } else { 32 })
        .collect();
    let (with, without) = (
        size(&sparse, Coder::Huffman, Some(32)),
        size(&sparse, Coder::Huffman, None),
    );
    assert!(with * 2 < without, "{with} bytes with gaps, {without} without");
}

#[test]
fn what_gaps_save_is_known_from_a_part() {
    // Rows of different density: distances are not geometric.
    let noise = symbols(0.9);
    let mut random = 1u64;
    let mut one_in = |n: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33).is_multiple_of(n)
    };
    let sparse: Vec<u16> = (0..200_000)
        .map(|i| {
            if one_in([2, 30, 30][i / 500 % 3]) {
                noise[i % N]
            } else {
                32
            }
        })
        .collect();
    // One stretch of 64 in four.
    let part: Vec<u16> = sparse.chunks(64).step_by(4).flatten().copied().collect();
    for coder in [Coder::Huffman, Coder::Ans] {
        let saved = size(&sparse, coder, None) as f64 - size(&sparse, coder, Some(32)) as f64;
        let estimate = estimate_gap_saving(&counts(&sparse), &part, 32, coder) / 8.0;
        assert!(saved > 1000.0, "{coder}: gaps save {saved} bytes");
        assert!(
            (estimate / saved - 1.0).abs() < 0.1,
            "{coder}: {estimate:.0} bytes are estimated, {saved} saved"
        );
    }
    // Nothing where zeros are few, or the coder has no gaps.
    assert_eq!(estimate_gap_saving(&counts(&noise), &noise, 32, Coder::Ans), 0.0);
    assert_eq!(
        estimate_gap_saving(&counts(&sparse), &part, 32, Coder::Context),
        0.0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn sizes_are_known_before_encoding(ratio in 0.1f64..0.95, n in 1usize..20_000) {
        let symbols = &symbols(ratio)[..n];
        for coder in Coder::ENTROPY {
            let shape = [n as u64];
            let segment = [SegmentInput::Symbols { symbols, n_levels: 64, zero: None, shape: &shape, first: 0 }];
            let size = encode_group(&segment, coder).unwrap().len();
            prop_assert_eq!(encoded_len_bytes(&segment, coder).unwrap(), size);
            let estimate = estimate_bits(&counts(symbols), coder) / 8.0;
            // An adaptive coder has no table, but learns.
            let tolerance = if coder == Coder::Context { 40.0 + 0.1 * estimate } else { 40.0 };
            prop_assert!((size as f64 - estimate).abs() < tolerance, "{} bytes, estimated {}", size, estimate);
        }
    }
}

//! Which distribution a run of symbols is coded with: whatever makes table and symbols together smallest.

use super::family;
use crate::distribution::{
    Distribution, DistributionCoder, Family, fixed_len_bits, normalize, uniform_frequency, uniform_scale_bits,
};
use crate::{Coder, gaps, huffman};
use std::sync::Arc;

/// Earlier tables that are tried before a new one is written.
const TABLES_TRIED: usize = 16;
/// About what a table takes per symbol in use.
const TABLE_ENTRY_BITS: f64 = 6.0;
/// What the header says about survivors and gaps.
const GAP_HEADER_BITS: f64 = 30.0;
/// Gaps decode at half the speed: they must pay this much.
const GAPS_HANDICAP: f64 = 0.03;

/// Bits of a run with these counts under a distribution; infinite if it cannot code them.
fn payload_bits(counts: &[u64], distribution: &Distribution, family: Family) -> f64 {
    let used = || counts.iter().enumerate().filter(|&(_, &c)| c > 0);
    match distribution {
        Distribution::Constant { symbol, .. } => {
            if used().all(|(s, _)| s == *symbol as usize) {
                0.0
            } else {
                f64::INFINITY
            }
        }
        Distribution::Uniform { n } if family == Family::Ans => {
            let scale_bits = uniform_scale_bits(*n);
            let bits = |s: usize| {
                f64::from(scale_bits) - f64::from(uniform_frequency(*n, s as u32, scale_bits).0).log2()
            };
            used().map(|(s, &c)| c as f64 * bits(s)).sum()
        }
        Distribution::Uniform { n } => counts.iter().sum::<u64>() as f64 * f64::from(fixed_len_bits(*n)),
        Distribution::Frequencies {
            scale_bits,
            frequencies,
        } => used()
            .map(|(s, &c)| {
                let frequency = frequencies.get(s).copied().unwrap_or(0);
                c as f64 * (f64::from(*scale_bits) - f64::from(frequency).log2())
            })
            .sum(),
        Distribution::Lengths(lengths) => used()
            .map(|(s, &c)| match lengths.get(s) {
                Some(&length) if length > 0 => c as f64 * f64::from(length),
                _ => f64::INFINITY,
            })
            .sum(),
    }
}

/// A new table that a run may be coded with, and the share of its bits that it must save besides.
type Candidate = (Arc<Distribution>, f64);

/// The tables of every size that a run with these counts may have.
fn new_tables(counts: &[u64], family: Family) -> impl Iterator<Item = Candidate> {
    // Codes above 12 bits need larger tables in decoders: they must pay.
    let sizes: &[(u32, f64)] = match family {
        Family::Fixed => &[],
        Family::Huffman => &[(12, 0.0), (16, 0.002)],
        Family::Ans => &[(12, 0.0), (10, 0.0), (8, 0.0), (14, 0.002), (16, 0.002)],
    };
    sizes.iter().filter_map(move |&(size, handicap)| {
        let distribution = if family == Family::Huffman {
            huffman::code_lengths(counts, size).map(Distribution::Lengths)
        } else {
            normalize(counts, size).map(|frequencies| Distribution::Frequencies {
                scale_bits: size,
                frequencies,
            })
        };
        distribution.map(|distribution| (Arc::new(distribution), handicap))
    })
}

/// Runs that may share a table.
pub(super) struct Pool {
    n_symbols: u64,
    tables: Vec<Candidate>,
}

impl Pool {
    /// Of runs with these counts together.
    pub(super) fn new(counts: &[u64], family: Family) -> Self {
        Self {
            n_symbols: counts.iter().sum(),
            tables: new_tables(counts, family).collect(),
        }
    }
}

/// The distribution for a run with these counts, and its cost in bits with all that is written about it.
///
/// Tries uniform, the tables written before and new ones: for this run, and for the `pool` of runs it belongs to.
pub(super) fn choose(
    counts: &[u64],
    header: &DistributionCoder,
    family: Family,
    pool: Option<&Pool>,
) -> (Arc<Distribution>, f64) {
    let n = counts.len() as u32;
    let uniform = Distribution::Uniform { n };
    let mut used = counts
        .iter()
        .enumerate()
        .filter(|&(_, &c)| c > 0)
        .map(|(s, _)| s as u32);
    match (used.next(), used.next()) {
        (None, _) => return (Arc::new(uniform), 1.0),
        (Some(symbol), None) => return (Arc::new(Distribution::Constant { n, symbol }), 8.0),
        _ => {}
    }
    let bits = payload_bits(counts, &uniform, family) + 1.0;
    let mut best = (Arc::new(uniform), bits);
    let n_symbols = counts.iter().sum();
    let mut consider = |distribution: &Arc<Distribution>, table_bits: &dyn Fn() -> f64, handicap: f64| {
        if !distribution.suits(n_symbols) {
            return;
        }
        let pays = |bits: f64, best: f64| bits * (1.0 + handicap) < best;
        let payload_bits = payload_bits(counts, distribution, family);
        // What a table takes is found out only where it could pay.
        if pays(payload_bits, best.1) {
            let bits = payload_bits + table_bits();
            if pays(bits, best.1) {
                best = (Arc::clone(distribution), bits);
            }
        }
    };
    for (back, table) in header.seen().iter().rev().take(TABLES_TRIED).enumerate() {
        if table.alphabet() == counts.len() {
            consider(table, &|| 3.0 + ((back + 1) as f64).log2(), 0.0);
        }
    }
    if let Some(pool) = pool {
        // Its table serves the other runs of the pool, too: this one bears its share.
        let share = n_symbols as f64 / pool.n_symbols.max(1) as f64;
        for (table, handicap) in &pool.tables {
            consider(table, &|| share * header.cost_bits(table), *handicap);
        }
    }
    for (table, handicap) in new_tables(counts, family) {
        consider(&table, &|| header.cost_bits(&table), handicap);
    }
    best
}

pub(super) fn count(symbols: &[u16], n: usize) -> Vec<u64> {
    // Four tables, since equal neighbours would wait for each other.
    let mut tables = vec![[0u64; 4]; n];
    for chunk in symbols.chunks(4) {
        for (lane, &symbol) in chunk.iter().enumerate() {
            if let Some(count) = tables.get_mut(usize::from(symbol)).and_then(|t| t.get_mut(lane)) {
                *count += 1;
            }
        }
    }
    tables.iter().map(|t| t.iter().sum()).collect()
}

/// About what a run with these counts takes, with the table that describes it.
fn rough_bits(counts: &[u64], family: Family) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    if family == Family::Fixed {
        return total * f64::from(fixed_len_bits(counts.len() as u32));
    }
    let used = || counts.iter().filter(|&&c| c > 0).map(|&c| c as f64);
    used().map(|c| c * (total / c).log2()).sum::<f64>() + TABLE_ENTRY_BITS * used().count() as f64
}

/// Plans how the zeros of a segment are coded: bits of the gap alphabet if gaps take clearly less than `plain` bits,
/// what the segment takes with zero as a symbol.
pub(super) fn choose_gaps(
    symbols: &[u16],
    counts: &[u64],
    zero: u16,
    plain: f64,
    header: &DistributionCoder,
    family: Family,
) -> Option<u32> {
    let bits = |counts: &[u64]| choose(counts, header, family, None).1;
    let found = gaps_that_pay(symbols, 1.0, (counts, zero), plain, family, bits);
    found.map(|(gap_bits, _)| gap_bits)
}

/// About how many bits fewer a run takes under `coder` because the positions of its zeros are coded as gaps; 0 if they are not.
///
/// `counts` are those of the run; `part` is a part of it in its order, or some stretches of it.
pub fn estimate_gap_saving(counts: &[u64], part: &[u16], zero: u16, coder: Coder) -> f64 {
    let Some(family) = family(coder) else {
        return 0.0;
    };
    let header = DistributionCoder::new(family);
    // What codes of whole bits lose depends on the counts; an ideal coder loses next to nothing.
    let bits = |counts: &[u64]| match family {
        Family::Ans => rough_bits(counts, family),
        Family::Huffman | Family::Fixed => choose(counts, &header, family, None).1,
    };
    let factor = counts.iter().sum::<u64>() as f64 / part.len().max(1) as f64;
    let plain = bits(counts);
    let found = gaps_that_pay(part, factor, (counts, zero), plain, family, bits);
    found.map_or(0.0, |(_, bits)| plain - bits)
}

/// Bits of the gap alphabet, and what survivors and gaps take with it, if that is clearly less than `plain` bits. The symbols are one
/// part in `factor` of those counted; `bits` says what a run with some counts takes.
///
/// Alphabets are ranked by their entropy, or by their length where codes have a fixed one; tables are made for the best one only.
fn gaps_that_pay(
    symbols: &[u16],
    factor: f64,
    (counts, zero): (&[u64], u16),
    plain: f64,
    family: Family,
    bits: impl Fn(&[u64]) -> f64,
) -> Option<(u32, f64)> {
    let n_zeros = counts.get(usize::from(zero)).copied().unwrap_or(0);
    if counts.len() < 2 || n_zeros == 0 || n_zeros * 2 < counts.iter().sum() {
        return None;
    }
    let mut survivors = counts.to_vec();
    survivors.remove(usize::from(zero));
    let mut distances = gaps::distances(symbols, zero);
    if factor > 1.0 {
        for count in &mut distances {
            *count = (*count as f64 * factor).round() as u64;
        }
    }
    let (rough, gap_bits) = gaps::GAP_BITS
        .filter(|&b| b >= 2)
        .map(|b| (rough_bits(&gaps::gap_counts(&distances, b), family), b))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    let pays = |bits: f64| bits * (1.0 + GAPS_HANDICAP) + GAP_HEADER_BITS < plain;
    if !pays(rough + rough_bits(&survivors, family)) {
        return None;
    }
    let bits = bits(&gaps::gap_counts(&distances, gap_bits)) + bits(&survivors);
    pays(bits).then_some((gap_bits, bits + GAP_HEADER_BITS))
}

/// Bits that symbols with these counts take under `coder`, with the table that describes them; an estimate from the
/// counts alone, good to a few bytes for static distributions. Zeros are counted as ordinary symbols. For
/// [`Coder::Context`] it is what the symbols take without any context.
pub fn estimate_bits(counts: &[u64], coder: Coder) -> f64 {
    match (family(coder), coder) {
        (Some(family), _) => choose(counts, &DistributionCoder::new(family), family, None).1,
        (None, Coder::Context) => {
            let total = counts.iter().sum::<u64>() as f64;
            let used = counts.iter().filter(|&&c| c > 0).map(|&c| c as f64);
            // Besides the entropy, a counter takes about half the logarithm of what it has seen to learn.
            used.map(|c| c * (total / c).log2() + 0.5 * c.log2()).sum()
        }
        (None, _) => 0.0,
    }
}

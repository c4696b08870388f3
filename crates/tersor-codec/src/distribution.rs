//! Static distributions of symbols, how an encoder chooses them, and how they are written in a group's header.

use crate::cost::CostCounter;
use crate::range::{Bit, BitCoder, TreeModel, UintModel};
use crate::{Error, Result, huffman};
use std::sync::Arc;

/// Largest alphabet of a run.
pub(crate) const MAX_ALPHABET: usize = 1 << 16;
/// Fewest and most bits of the frequencies' sum.
pub(crate) const SCALE_BITS: std::ops::RangeInclusive<u32> = 8..=16;

/// Most symbols that the alphabets of a group's explicit distributions may have together: a table of 65536 symbols takes
/// a few bits when most are absent, and a decoder keeps all tables of a group for reuse.
pub(crate) const MAX_TABLE_SYMBOLS: usize = 1 << 22;

/// Entries of a table that a decoder may make for each symbol of a run with an explicit distribution: what bounds its
/// time.
pub(crate) const MAX_TABLE_PER_SYMBOL: usize = 256;

/// How the symbols of a run are distributed, as both encoder and decoder know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// All symbols of the alphabet equally likely.
    Uniform {
        /// Size of the alphabet, at least 1.
        n: u32,
    },
    /// One symbol only: it costs nothing.
    Constant {
        /// Size of the alphabet.
        n: u32,
        /// The symbol.
        symbol: u32,
    },
    /// Frequencies that sum to 2^`scale_bits`, for range asymmetric numeral systems.
    Frequencies {
        /// Logarithm of the sum.
        scale_bits: u32,
        /// One per symbol.
        frequencies: Vec<u32>,
    },
    /// Lengths of a complete prefix code, 0 for a symbol that does not occur.
    Lengths(Vec<u8>),
}

impl Distribution {
    /// Whether a run of so many symbols is long enough for the table that a decoder makes.
    pub(crate) fn suits(&self, n_symbols: u64) -> bool {
        self.table_entries() as u64 <= n_symbols.saturating_mul(MAX_TABLE_PER_SYMBOL as u64)
    }

    /// Entries of a table by which symbols are looked up; without tables 0.
    fn table_entries(&self) -> usize {
        match self {
            Self::Uniform { .. } | Self::Constant { .. } => 0,
            Self::Frequencies {
                scale_bits,
                frequencies,
            } => frequencies.len().max(1 << scale_bits),
            Self::Lengths(lengths) => {
                let longest = lengths.iter().copied().max().unwrap_or(0);
                lengths.len().max(1 << longest)
            }
        }
    }

    /// Size of the alphabet.
    pub(crate) fn alphabet(&self) -> usize {
        match self {
            Self::Uniform { n } | Self::Constant { n, .. } => *n as usize,
            Self::Frequencies { frequencies, .. } => frequencies.len(),
            Self::Lengths(lengths) => lengths.len(),
        }
    }
}

/// Logarithm of the frequencies' sum with which a uniform distribution over `n` symbols is coded.
pub(crate) fn uniform_scale_bits(n: u32) -> u32 {
    if n.is_power_of_two() {
        n.ilog2().max(8)
    } else if n <= 1 << 10 {
        14
    } else {
        16
    }
}

/// Frequency and cumulative frequency of `symbol` under a uniform distribution: as even as integers allow.
pub(crate) fn uniform_frequency(n: u32, symbol: u32, scale_bits: u32) -> (u32, u32) {
    let at = |i: u32| ((u64::from(i) << scale_bits) / u64::from(n)) as u32;
    (at(symbol + 1) - at(symbol), at(symbol))
}

/// Bits of the fixed-length code of an alphabet of `n` symbols: ceil(log2 n).
pub(crate) fn fixed_len_bits(n: u32) -> u32 {
    n.max(1).next_power_of_two().ilog2()
}

/// Scales `counts` to frequencies that sum to 2^`scale_bits`, at least 1 where a symbol occurs. `None` if more symbols
/// occur than that.
///
/// Starts from rounding and then spends or takes back single units where the coded length changes least.
pub(crate) fn normalize(counts: &[u64], scale_bits: u32) -> Option<Vec<u32>> {
    let total: u64 = counts.iter().sum();
    let target = 1u64 << scale_bits;
    let n_used = counts.iter().filter(|&&c| c > 0).count() as u64;
    if n_used > target || total == 0 {
        return None;
    }
    let mut frequencies: Vec<u32> = counts
        .iter()
        .map(|&c| {
            if c == 0 {
                0
            } else {
                ((c as u128 * u128::from(target) + u128::from(total / 2)) / u128::from(total)).max(1) as u32
            }
        })
        .collect();
    let mut sum: i64 = frequencies.iter().map(|&f| i64::from(f)).sum();
    // Bits gained by one unit more of frequency f for a count c: c log2((f + 1) / f).
    let mut heap: std::collections::BinaryHeap<(u64, std::cmp::Reverse<usize>, u32)> =
        std::collections::BinaryHeap::new();
    let spend = sum < target as i64;
    let key = |c: u64, f: u32| {
        let gain = if spend {
            c as f64 * (1.0 / f64::from(f)).ln_1p()
        } else {
            c as f64 * (1.0 / f64::from(f - 1)).ln_1p()
        };
        // Non-negative floats order as their bits.
        if spend {
            gain.to_bits()
        } else {
            u64::MAX - gain.to_bits()
        }
    };
    for (i, (&c, &f)) in counts.iter().zip(&frequencies).enumerate() {
        if c > 0 && (spend || f > 1) {
            heap.push((key(c, f), std::cmp::Reverse(i), f));
        }
    }
    while sum != target as i64 {
        let (_, std::cmp::Reverse(i), _) = heap.pop()?;
        let (count, frequency) = (*counts.get(i)?, frequencies.get_mut(i)?);
        if spend {
            *frequency += 1;
            sum += 1;
        } else {
            *frequency -= 1;
            sum -= 1;
        }
        if spend || *frequency > 1 {
            heap.push((key(count, *frequency), std::cmp::Reverse(i), *frequency));
        }
    }
    Some(frequencies)
}

/// Which entropy coder a group uses; part of how its distributions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Only uniform and constant distributions.
    Fixed,
    /// Prefix codes.
    Huffman,
    /// Frequencies.
    Ans,
}

/// Codes the distributions of a group, each with the help of those before it.
#[derive(Debug)]
pub(crate) struct DistributionCoder {
    family: Family,
    kind: TreeModel,
    reuse: UintModel,
    constant: UintModel,
    scale: TreeModel,
    /// Frequencies, by the bit length of the frequency before.
    frequency: Vec<UintModel>,
    /// Code lengths, by the length before.
    length: Vec<TreeModel>,
    /// Symbols that do not occur.
    absent: SparseCoder,
    seen: Vec<Arc<Distribution>>,
    /// Entries of their tables.
    entries: Vec<usize>,
    /// Alphabets of all explicit distributions together.
    n_table_symbols: usize,
}

/// Checks that a run is long enough for a table.
fn check_work(entries: usize, n_symbols: u64) -> Result<()> {
    if entries as u64 > n_symbols.saturating_mul(MAX_TABLE_PER_SYMBOL as u64) {
        let what = format!("a table of {entries} entries for {n_symbols} symbols");
        return Err(Error::corrupt("group header", what));
    }
    Ok(())
}

const KIND_UNIFORM: u32 = 0;
const KIND_CONSTANT: u32 = 1;
const KIND_EXPLICIT: u32 = 2;
const KIND_REUSE: u32 = 3;

impl DistributionCoder {
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            kind: TreeModel::new(2),
            reuse: UintModel::default(),
            constant: UintModel::default(),
            scale: TreeModel::new(4),
            frequency: vec![UintModel::default(); 18],
            length: vec![TreeModel::new(4); 17],
            absent: SparseCoder::default(),
            seen: Vec::new(),
            entries: Vec::new(),
            n_table_symbols: 0,
        }
    }

    /// Whether one more explicit distribution over `n` symbols fits into the group.
    pub(crate) fn has_room(&self, n: usize) -> bool {
        self.n_table_symbols + n <= MAX_TABLE_SYMBOLS
    }

    /// Bits that an explicit distribution would take if it were coded next.
    pub(crate) fn cost_bits(&self, distribution: &Distribution) -> f64 {
        // As if it were the first one: none to reuse, and all the room there is.
        let mut models = Self {
            family: self.family,
            kind: self.kind.clone(),
            reuse: UintModel::default(),
            constant: UintModel::default(),
            scale: TreeModel::new(4),
            frequency: self.frequency.clone(),
            length: self.length.clone(),
            absent: self.absent.clone(),
            seen: Vec::new(),
            entries: Vec::new(),
            n_table_symbols: 0,
        };
        let mut counter = CostCounter::default();
        // A counter never fails, and neither does a distribution made by this encoder.
        let _ = models.code(
            &mut counter,
            distribution.alphabet(),
            u64::MAX,
            Some(distribution),
        );
        counter.bits()
    }

    /// The explicit distributions coded so far.
    pub(crate) fn seen(&self) -> &[Arc<Distribution>] {
        &self.seen
    }

    /// Codes the distribution of a run of `n_symbols` over an alphabet of `n`. When writing, `given` is what to write.
    pub(crate) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        n: usize,
        n_symbols: u64,
        given: Option<&Distribution>,
    ) -> Result<Arc<Distribution>> {
        let reused = given.and_then(|d| self.seen.iter().rposition(|s| **s == *d));
        let kind = match given {
            None | Some(Distribution::Uniform { .. }) => KIND_UNIFORM,
            Some(Distribution::Constant { .. }) => KIND_CONSTANT,
            Some(_) if reused.is_some() => KIND_REUSE,
            Some(_) => KIND_EXPLICIT,
        };
        match self.kind.code(coder, kind)? {
            KIND_UNIFORM => Ok(Arc::new(Distribution::Uniform { n: n as u32 })),
            KIND_CONSTANT => {
                let symbol = if let Some(Distribution::Constant { symbol, .. }) = given {
                    *symbol
                } else {
                    0
                };
                let symbol = self.constant.code(coder, u64::from(symbol))?;
                if symbol >= n as u64 {
                    return Err(Error::corrupt(
                        "group header",
                        format!("symbol {symbol} in an alphabet of {n}"),
                    ));
                }
                Ok(Arc::new(Distribution::Constant {
                    n: n as u32,
                    symbol: symbol as u32,
                }))
            }
            KIND_REUSE => {
                let back = reused.map_or(0, |i| self.seen.len() - 1 - i);
                let back = self.reuse.code(coder, back as u64)?;
                let found = usize::try_from(back)
                    .ok()
                    .and_then(|b| self.seen.iter().zip(&self.entries).rev().nth(b));
                match found {
                    Some((d, &entries)) if d.alphabet() == n => {
                        check_work(entries, n_symbols)?;
                        Ok(Arc::clone(d))
                    }
                    Some((d, _)) => {
                        let what = format!(
                            "a table of {} symbols reused for an alphabet of {n}",
                            d.alphabet()
                        );
                        Err(Error::corrupt("group header", what))
                    }
                    None => Err(Error::corrupt(
                        "group header",
                        format!("table {back} before the first one"),
                    )),
                }
            }
            _ => {
                if !self.has_room(n) {
                    return Err(Error::corrupt(
                        "group header",
                        format!("tables of more than {MAX_TABLE_SYMBOLS} symbols"),
                    ));
                }
                let distribution = match (self.family, given) {
                    (Family::Fixed, _) => {
                        return Err(Error::corrupt(
                            "group header",
                            "a table in a group of fixed-length codes",
                        ));
                    }
                    (Family::Huffman, Some(Distribution::Lengths(lengths))) => {
                        self.lengths(coder, n, lengths)?
                    }
                    (Family::Huffman, _) => self.lengths(coder, n, &[])?,
                    (
                        Family::Ans,
                        Some(Distribution::Frequencies {
                            scale_bits,
                            frequencies,
                        }),
                    ) => self.frequencies(coder, n, *scale_bits, frequencies)?,
                    (Family::Ans, _) => self.frequencies(coder, n, *SCALE_BITS.start(), &[])?,
                };
                let entries = distribution.table_entries();
                check_work(entries, n_symbols)?;
                let distribution = Arc::new(distribution);
                self.entries.push(entries);
                self.n_table_symbols += n;
                self.seen.push(Arc::clone(&distribution));
                Ok(distribution)
            }
        }
    }

    fn frequencies(
        &mut self,
        coder: &mut impl BitCoder,
        n: usize,
        scale_bits: u32,
        given: &[u32],
    ) -> Result<Distribution> {
        let scale_bits = SCALE_BITS.start() + self.scale.code(coder, scale_bits - SCALE_BITS.start())?;
        if !SCALE_BITS.contains(&scale_bits) {
            return Err(Error::corrupt(
                "group header",
                format!("frequencies of {scale_bits} bits"),
            ));
        }
        let models = &mut self.frequency;
        let frequencies = self.absent.sparse(
            coder,
            n,
            given,
            1 << scale_bits,
            u64::from,
            |coder, before, wanted| {
                let model = models.get_mut(before.checked_ilog2().map_or(0, |l| l as usize + 1));
                let model =
                    model.ok_or_else(|| Error::corrupt("group header", "a frequency out of range"))?;
                Ok(model
                    .code(coder, u64::from(wanted) - 1)?
                    .saturating_add(1)
                    .min(u64::from(u32::MAX)) as u32)
            },
        )?;
        Ok(Distribution::Frequencies {
            scale_bits,
            frequencies,
        })
    }

    fn lengths(&mut self, coder: &mut impl BitCoder, n: usize, given: &[u8]) -> Result<Distribution> {
        let whole = 1u64 << huffman::MAX_CODE_LEN;
        let given: Vec<u32> = given.iter().map(|&l| u32::from(l)).collect();
        let models = &mut self.length;
        let lengths = self.absent.sparse(
            coder,
            n,
            &given,
            whole,
            |l| whole >> l,
            |coder, before, wanted| {
                let model = models.get_mut(before as usize);
                let model =
                    model.ok_or_else(|| Error::corrupt("group header", "a code length out of range"))?;
                Ok(model.code(coder, wanted - 1)? + 1)
            },
        )?;
        Ok(Distribution::Lengths(
            lengths.into_iter().map(|l| l as u8).collect(),
        ))
    }
}

/// Codes lists of numbers of which many are zero, until the others use up a given total.
#[derive(Clone, Debug, Default)]
struct SparseCoder {
    any: Bit,
    run: UintModel,
}

impl SparseCoder {
    /// Codes `n` numbers; `value` codes one that is not zero, given the one coded before (0 at the start), and
    /// `weight` says how much of `total` it uses. What follows when the total is used up is zero.
    fn sparse<C: BitCoder>(
        &mut self,
        coder: &mut C,
        n: usize,
        given: &[u32],
        total: u64,
        weight: impl Fn(u32) -> u64,
        mut value: impl FnMut(&mut C, u32, u32) -> Result<u32>,
    ) -> Result<Vec<u32>> {
        let mut values: Vec<u32> = Vec::with_capacity(n.min(MAX_ALPHABET));
        let (mut left, mut before) = (total, 0);
        while left > 0 {
            let zeros = given.iter().skip(values.len()).take_while(|&&v| v == 0).count();
            let zeros = if coder.bit(&mut self.any, zeros > 0)? {
                self.run
                    .code(coder, (zeros as u64).saturating_sub(1))?
                    .saturating_add(1)
            } else {
                0
            };
            if zeros >= (n - values.len()) as u64 {
                return Err(Error::corrupt(
                    "group header",
                    "a table that does not use up its total",
                ));
            }
            values.resize(values.len() + zeros as usize, 0);
            before = value(
                coder,
                before,
                given.get(values.len()).copied().unwrap_or(1).max(1),
            )?;
            left = left
                .checked_sub(weight(before))
                .ok_or_else(|| Error::corrupt("group header", "a table that exceeds its total"))?;
            values.push(before);
        }
        values.resize(n, 0);
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{RangeDecoder, RangeEncoder};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frequencies_sum_to_their_scale_and_keep_every_symbol(
            counts in proptest::collection::vec(prop_oneof![Just(0u64), 1u64..20, 1u64..1_000_000], 1..300),
            scale_bits in SCALE_BITS,
        ) {
            if let Some(frequencies) = normalize(&counts, scale_bits) {
                prop_assert_eq!(frequencies.iter().map(|&f| u64::from(f)).sum::<u64>(), 1 << scale_bits);
                prop_assert!(counts.iter().zip(&frequencies).all(|(&c, &f)| (c == 0) == (f == 0)));
            } else {
                let used = counts.iter().filter(|&&c| c > 0).count();
                prop_assert!(used == 0 || used > 1 << scale_bits);
            }
        }

        #[test]
        fn tables_come_back(
            tables in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(0u64), 1u64..5000], 2..60), 1..5),
            ans in any::<bool>(),
        ) {
            let family = if ans { Family::Ans } else { Family::Huffman };
            let distributions: Vec<Distribution> = tables.iter().filter_map(|counts| {
                if counts.iter().filter(|&&c| c > 0).count() < 2 { return None; }
                Some(if ans {
                    Distribution::Frequencies { scale_bits: 10, frequencies: normalize(counts, 10)? }
                } else {
                    Distribution::Lengths(huffman::code_lengths(counts, 12)?)
                })
            }).collect();
            let mut encoder = RangeEncoder::new();
            let mut writer = DistributionCoder::new(family);
            for d in distributions.iter().chain(distributions.first()) {
                writer.code(&mut encoder, d.alphabet(), u64::MAX, Some(d)).unwrap();
            }
            let bytes = encoder.finish();
            let mut decoder = RangeDecoder::new(&bytes, "test").unwrap();
            let mut reader = DistributionCoder::new(family);
            for d in distributions.iter().chain(distributions.first()) {
                prop_assert_eq!(&*reader.code(&mut decoder, d.alphabet(), u64::MAX, None).unwrap(), d);
            }
        }
    }

    #[test]
    fn a_group_keeps_no_more_tables_than_its_bound() {
        let n = MAX_ALPHABET;
        let mut frequencies = vec![0; n];
        frequencies[n - 1] = 256;
        let table = Distribution::Frequencies {
            scale_bits: 8,
            frequencies: frequencies.clone(),
        };
        frequencies.swap(0, n - 1);
        let other = Distribution::Frequencies {
            scale_bits: 8,
            frequencies,
        };
        let mut encoder = RangeEncoder::new();
        let mut models = DistributionCoder::new(Family::Ans);
        let tables = MAX_TABLE_SYMBOLS / n;
        for i in 0..tables {
            assert!(models.has_room(n), "table {i}");
            models.seen.clear(); // so that the next one is not a reuse
            let table = if i % 2 == 0 { &table } else { &other };
            models.code(&mut encoder, n, u64::MAX, Some(table)).unwrap();
        }
        assert!(!models.has_room(1));
        models.seen.clear();
        assert!(models.code(&mut encoder, n, u64::MAX, Some(&table)).is_err());
        // What the bound is for: so few bytes describe all that.
        let size = encoder.finish().len();
        assert!(size < 200, "{size} bytes for {tables} tables of {n} symbols");
    }

    #[test]
    fn uniform_frequencies_fill_the_scale() {
        for n in [1u32, 2, 3, 255, 256, 257, 1000, 65535, 65536] {
            let scale_bits = uniform_scale_bits(n);
            let (frequency, before) = uniform_frequency(n, n - 1, scale_bits);
            assert_eq!(frequency + before, 1 << scale_bits, "{n} symbols");
            assert!(
                (0..n).all(|s| uniform_frequency(n, s, scale_bits).0 > 0),
                "{n} symbols"
            );
        }
    }
}

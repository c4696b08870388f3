//! Canonical prefix codes of limited length, and their bit stream.
//!
//! The codes of one length are consecutive numbers in the order of their symbols, shorter codes come first, bits are
//! written from the highest of the first byte on. `docs/format.md`, "Huffman".
//!
//! # Source
//! D. A. Huffman, "A method for the construction of minimum-redundancy codes", 1952; length limit by the
//! package-merge algorithm of L. L. Larmore and D. S. Hirschberg, "A fast algorithm for optimal length-limited
//! Huffman codes", 1990.

use crate::distribution::{Distribution, fixed_len_bits};
use crate::{Error, Result};

/// Longest code.
pub(crate) const MAX_CODE_LEN: u32 = 16;

/// Lengths of an optimal prefix code no longer than `limit` bits; 0 for symbols with a count of 0.
///
/// `None` if fewer than two symbols occur, or more than 2^`limit`. Time O(n (`limit` + log n)) for n symbols.
pub(crate) fn code_lengths(counts: &[u64], limit: u32) -> Option<Vec<u8>> {
    let mut leaves: Vec<(u64, usize)> = counts
        .iter()
        .enumerate()
        .filter(|&(_, &c)| c > 0)
        .map(|(s, &c)| (c, s))
        .collect();
    if leaves.len() < 2 || leaves.len() as u64 > 1 << limit {
        return None;
    }
    leaves.sort_unstable();
    // Per level, from the deepest: which items of the merged list are leaves.
    let mut levels: Vec<Vec<bool>> = Vec::with_capacity(limit as usize);
    let mut packages: Vec<u64> = Vec::new();
    for _ in 0..limit {
        let mut merged: Vec<(u64, bool)> = leaves
            .iter()
            .map(|&(c, _)| (c, true))
            .chain(packages.iter().map(|&p| (p, false)))
            .collect();
        // Stable, so leaves come before packages of the same weight.
        merged.sort_by_key(|&(weight, _)| weight);
        packages = merged
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[a, b]| a.0.saturating_add(b.0))
            .collect();
        levels.push(merged.into_iter().map(|(_, is_leaf)| is_leaf).collect());
    }
    let mut lengths = vec![0u8; counts.len()];
    let mut n_items = 2 * leaves.len() - 2;
    for level in levels.iter().rev() {
        let n_leaves = level.iter().take(n_items).filter(|&&is_leaf| is_leaf).count();
        for &(_, symbol) in leaves.iter().take(n_leaves) {
            if let Some(length) = lengths.get_mut(symbol) {
                *length += 1;
            }
        }
        n_items = 2 * (n_items - n_leaves);
    }
    Some(lengths)
}

/// Code and length of every symbol.
fn canonical_codes(lengths: &[u8]) -> Vec<(u32, u8)> {
    let mut n_of_length = [0u32; MAX_CODE_LEN as usize + 1];
    for &length in lengths.iter().filter(|&&l| l > 0) {
        if let Some(n) = n_of_length.get_mut(usize::from(length)) {
            *n += 1;
        }
    }
    let mut next = [0u32; MAX_CODE_LEN as usize + 1];
    let mut code = 0;
    for (n, next) in n_of_length.iter().zip(&mut next) {
        *next = code;
        code = (code + n) << 1;
    }
    lengths
        .iter()
        .map(|&length| match next.get_mut(usize::from(length)) {
            Some(next) if length > 0 => {
                *next += 1;
                (*next - 1, length)
            }
            _ => (0, 0),
        })
        .collect()
}

/// What an encoder writes per symbol.
pub(crate) enum Codes {
    /// The symbol itself in so many bits.
    Fixed(u32),
    /// Code and length of every symbol.
    Canonical(Vec<(u32, u8)>),
}

impl Codes {
    pub(crate) fn new(distribution: &Distribution) -> Self {
        match distribution {
            Distribution::Uniform { n } => Self::Fixed(fixed_len_bits(*n)),
            Distribution::Lengths(lengths) => Self::Canonical(canonical_codes(lengths)),
            Distribution::Constant { .. } | Distribution::Frequencies { .. } => Self::Fixed(0),
        }
    }

    /// Bits of `symbol`'s code.
    fn get(&self, symbol: u16) -> (u32, u32) {
        match self {
            Self::Fixed(0) => (0, 0),
            Self::Fixed(n_bits) => (u32::from(symbol), *n_bits),
            Self::Canonical(codes) => codes
                .get(usize::from(symbol))
                .map_or((0, 0), |&(c, l)| (c, u32::from(l))),
        }
    }
}

/// Writes codes into bytes.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    out: Vec<u8>,
    buffer: u64,
    n_bits: u32,
}

impl BitWriter {
    /// Appends the codes of `symbols`.
    pub(crate) fn run(&mut self, codes: &Codes, symbols: &[u16]) {
        for &symbol in symbols {
            let (code, length) = codes.get(symbol);
            self.buffer = self.buffer << length | u64::from(code);
            self.n_bits += length;
            if self.n_bits >= 32 {
                self.n_bits -= 32;
                self.out
                    .extend_from_slice(&((self.buffer >> self.n_bits) as u32).to_be_bytes());
            }
        }
    }

    /// Pads the last byte with zero bits.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        while self.n_bits > 0 {
            let byte = if self.n_bits >= 8 {
                self.buffer >> (self.n_bits - 8)
            } else {
                self.buffer << (8 - self.n_bits)
            };
            self.out.push(byte as u8);
            self.n_bits = self.n_bits.saturating_sub(8);
        }
        self.out
    }
}

/// What a decoder looks up: the next bits give symbol and length.
pub(crate) enum Table {
    /// The symbol itself in so many bits, below `n`.
    Fixed { n: u32, n_bits: u32 },
    /// Always the same symbol, in no bits.
    Constant(u16),
    /// Indexed by the next `n_bits` bits: length in the high, symbol in the low half.
    Lookup { n_bits: u32, entries: Vec<u32> },
}

impl Table {
    pub(crate) fn new(distribution: &Distribution) -> Result<Self> {
        match distribution {
            Distribution::Uniform { n } => Ok(Self::Fixed {
                n: *n,
                n_bits: fixed_len_bits(*n),
            }),
            Distribution::Constant { symbol, .. } => Ok(Self::Constant(*symbol as u16)),
            Distribution::Lengths(lengths) => {
                let n_bits = u32::from(lengths.iter().copied().max().unwrap_or(0)).max(1);
                let mut entries = vec![0; 1 << n_bits];
                for (symbol, (code, length)) in canonical_codes(lengths).into_iter().enumerate() {
                    if length > 0 {
                        let shift = n_bits - u32::from(length);
                        let first = (code as usize) << shift;
                        let slots = entries.get_mut(first..first + (1 << shift));
                        slots
                            .ok_or_else(|| Error::corrupt("group header", "too many codes"))?
                            .fill(u32::from(length) << 16 | symbol as u32);
                    }
                }
                Ok(Self::Lookup { n_bits, entries })
            }
            Distribution::Frequencies { .. } => {
                Err(Error::corrupt("group header", "frequencies in a Huffman group"))
            }
        }
    }
}

/// Reads codes from bytes.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position_bits: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position_bits: 0,
        }
    }

    /// The next 56 bits or more in the high bits; zeros after the end.
    #[inline]
    fn peek(&self, position_bits: usize) -> u64 {
        let tail = self.bytes.get(position_bits / 8..).unwrap_or_default();
        let word = if let Some(word) = tail.first_chunk() {
            u64::from_be_bytes(*word)
        } else {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(tail) {
                *to = *from;
            }
            u64::from_be_bytes(word)
        };
        word << (position_bits % 8)
    }

    /// Reads `out.len()` symbols.
    pub(crate) fn run(&mut self, table: &Table, out: &mut [u16]) -> Result<()> {
        match table {
            Table::Constant(symbol) => out.fill(*symbol),
            Table::Fixed { n_bits: 0, .. } => out.fill(0),
            Table::Fixed { n, n_bits } => {
                for symbol in out.iter_mut() {
                    *symbol = (self.peek(self.position_bits) >> (64 - n_bits)) as u16;
                    self.position_bits += *n_bits as usize;
                }
                if out.iter().any(|&s| u32::from(s) >= *n) {
                    return Err(Error::corrupt(
                        "group",
                        format!("a symbol outside its alphabet of {n}"),
                    ));
                }
            }
            Table::Lookup { n_bits, entries } if *n_bits <= 14 => self.lookup::<4>(*n_bits, entries, out),
            Table::Lookup { n_bits, entries } => self.lookup::<3>(*n_bits, entries, out),
        }
        if self.position_bits > self.bytes.len() * 8 {
            return Err(Error::Truncated { part: "group" });
        }
        Ok(())
    }

    /// Reads `N` symbols per peek; `N` times `n_bits` must not exceed 56.
    fn lookup<const N: usize>(&mut self, n_bits: u32, entries: &[u32], out: &mut [u16]) {
        let mask = entries.len() - 1;
        let (blocks, tail) = out.as_chunks_mut::<N>();
        let mut position_bits = self.position_bits;
        for block in blocks.iter_mut().map(<[u16; N]>::as_mut_slice).chain([tail]) {
            let mut word = self.peek(position_bits);
            for symbol in block {
                let entry = entries
                    .get((word >> (64 - n_bits)) as usize & mask)
                    .copied()
                    .unwrap_or(0);
                *symbol = entry as u16;
                word <<= entry >> 16;
                position_bits += (entry >> 16) as usize;
            }
        }
        self.position_bits = position_bits;
    }

    /// Checks that all bytes were read and the padding is zero.
    pub(crate) fn finish(self) -> Result<()> {
        let n_bytes = self.position_bits.div_ceil(8);
        if n_bytes < self.bytes.len() {
            return Err(Error::corrupt(
                "group",
                format!("{} bytes follow its end", self.bytes.len() - n_bytes),
            ));
        }
        if self.peek(self.position_bits) != 0 {
            return Err(Error::corrupt("group", "padding bits that are not zero"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kraft(lengths: &[u8]) -> f64 {
        lengths
            .iter()
            .filter(|&&l| l > 0)
            .map(|&l| (-f64::from(l)).exp2())
            .sum()
    }

    #[test]
    fn lengths_of_a_known_code() {
        // Huffman's tree for 1, 1, 2, 4: 3, 3, 2, 1 bits; with at most 2 bits all are 2.
        assert_eq!(code_lengths(&[1, 1, 2, 0, 4], 16).unwrap(), [3, 3, 2, 0, 1]);
        assert_eq!(code_lengths(&[1, 1, 2, 0, 4], 2).unwrap(), [2, 2, 2, 0, 2]);
        assert_eq!(
            canonical_codes(&[3, 3, 2, 0, 1]),
            [(6, 3), (7, 3), (2, 2), (0, 0), (0, 1)]
        );
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_within_a_bit_of_the_entropy(
            counts in proptest::collection::vec(prop_oneof![Just(0u64), 1u64..10, 1u64..100_000], 2..200),
        ) {
            prop_assume!(counts.iter().filter(|&&c| c > 0).count() >= 2);
            let lengths = code_lengths(&counts, MAX_CODE_LEN).unwrap();
            prop_assert!((kraft(&lengths) - 1.0).abs() < 1e-12);
            let total = counts.iter().sum::<u64>() as f64;
            let bits: f64 = counts.iter().zip(&lengths).map(|(&c, &l)| c as f64 * f64::from(l)).sum();
            let entropy: f64 = counts.iter().filter(|&&c| c > 0).map(|&c| -(c as f64) * (c as f64 / total).log2()).sum();
            prop_assert!(bits >= entropy - 1e-6 && bits < entropy + total, "{} bits, entropy {}", bits, entropy);
        }

        #[test]
        fn symbols_come_back(symbols in proptest::collection::vec(0u16..50, 0..400), limit in 6u32..=16) {
            let mut counts = vec![0u64; 50];
            for &s in &symbols {
            counts[usize::from(s)] += 1;
        }
            let distribution = match code_lengths(&counts, limit) {
                Some(lengths) => Distribution::Lengths(lengths),
                None => Distribution::Uniform { n: 50 },
            };
            let mut writer = BitWriter::default();
            writer.run(&Codes::new(&distribution), &symbols);
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            let mut back = vec![u16::MAX; symbols.len()];
            reader.run(&Table::new(&distribution).unwrap(), &mut back).unwrap();
            reader.finish().unwrap();
            prop_assert_eq!(back, symbols);
        }
    }
}

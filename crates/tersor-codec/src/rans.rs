//! Interleaved range asymmetric numeral systems (rANS) with static frequencies.
//!
//! Several states ("lanes") take the symbols of a run in turn, so that a processor works on them at once; they share
//! one stream of 16-bit words. `docs/format.md`, "ANS".
//!
//! # Source
//! J. Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of
//! arithmetic coding", 2013; interleaving after F. Giesen, "Interleaved entropy coders", 2014.

use crate::distribution::{Distribution, uniform_frequency, uniform_scale_bits};
use crate::{Error, Result};

/// States stay in `[STATE_MIN, STATE_MIN << 16)`; an encoder starts and a decoder ends with this one.
const STATE_MIN: u32 = 1 << 16;
/// Lanes of a long stream; a short one has a single lane, to save the final states.
pub(crate) const MANY_LANES: usize = 8;
/// Symbols from which a stream is long.
const LONG_STREAM: u64 = 1 << 17;

/// Number of lanes of a stream of so many symbols.
pub(crate) fn n_lanes(n_symbols: u64) -> usize {
    if n_symbols >= LONG_STREAM { MANY_LANES } else { 1 }
}

/// What an encoder needs of a symbol of `frequency` and of the cumulative frequency `before`.
///
/// The step is `x -> (x / frequency << scale_bits) + x % frequency + before`, with `q = x / frequency` by
/// multiplication: `x + q (2^scale_bits - frequency) + before`.
#[derive(Clone, Copy, Default)]
struct Step {
    /// From here on a word leaves the state first.
    limit: u64,
    /// `2^64 / frequency`, rounded up: exact for a state of 32 bits. For a frequency of 1 it is `2^64 - 1`, which makes
    /// `q = x - 1`; `bias` has what is missing then.
    reciprocal: u64,
    /// `2^scale_bits - frequency`.
    complement: u32,
    bias: u32,
}

impl Step {
    fn new(scale_bits: u32, frequency: u32, before: u32) -> Self {
        let complement = (1u32 << scale_bits).wrapping_sub(frequency);
        let (reciprocal, missing) = match frequency {
            0 | 1 => (u64::MAX, complement),
            _ => (u64::MAX / u64::from(frequency) + 1, 0),
        };
        Self {
            limit: u64::from(frequency) << (32 - scale_bits),
            reciprocal,
            complement,
            bias: before + missing,
        }
    }

    fn apply(&self, state: u32) -> u32 {
        let q = (u128::from(state) * u128::from(self.reciprocal)) >> 64;
        state
            .wrapping_add((q as u32).wrapping_mul(self.complement))
            .wrapping_add(self.bias)
    }
}

/// What an encoder needs per symbol; nothing where symbols take no bits.
pub(crate) struct EncodeTable {
    symbols: Vec<Step>,
}

impl EncodeTable {
    pub(crate) fn new(distribution: &Distribution) -> Self {
        let symbols = match distribution {
            Distribution::Uniform { n } => {
                let scale_bits = uniform_scale_bits(*n);
                let step = |s| {
                    let (frequency, before) = uniform_frequency(*n, s, scale_bits);
                    Step::new(scale_bits, frequency, before)
                };
                (0..*n).map(step).collect()
            }
            Distribution::Frequencies {
                scale_bits,
                frequencies,
            } => {
                let mut before = 0;
                let step = |&frequency: &u32| {
                    let step = Step::new(*scale_bits, frequency, before);
                    before += frequency;
                    step
                };
                frequencies.iter().map(step).collect()
            }
            // Nothing is written for these.
            Distribution::Constant { .. } | Distribution::Lengths(_) => Vec::new(),
        };
        Self { symbols }
    }
}

/// Codes runs, the last run first.
pub(crate) struct Encoder {
    states: Vec<u32>,
    /// Words in reverse order of reading.
    words: Vec<u16>,
}

impl Encoder {
    pub(crate) fn new(n_lanes: usize) -> Self {
        Self {
            states: vec![STATE_MIN; n_lanes],
            words: Vec::new(),
        }
    }

    /// Codes a run that comes before all runs coded so far.
    pub(crate) fn run(&mut self, table: &EncodeTable, symbols: &[u16]) {
        let n_lanes = self.states.len();
        if table.symbols.is_empty() {
            return;
        }
        for (i, &symbol) in symbols.iter().enumerate().rev() {
            let (Some(step), Some(state)) = (
                table.symbols.get(usize::from(symbol)),
                self.states.get_mut(i % n_lanes),
            ) else {
                continue;
            };
            if u64::from(*state) >= step.limit {
                self.words.push(*state as u16);
                *state >>= 16;
            }
            *state = step.apply(*state);
        }
    }

    /// The final states, then the words, all little-endian.
    pub(crate) fn finish(self) -> Vec<u8> {
        let states = self.states.iter().flat_map(|s| s.to_le_bytes());
        states
            .chain(self.words.iter().rev().flat_map(|w| w.to_le_bytes()))
            .collect()
    }
}

/// What a decoder looks up.
pub(crate) enum Table {
    /// Always the same symbol, in no bits.
    Constant(u16),
    /// Scale of at most 12 bits and symbols below 256: (frequency - 1) << 20 | (slot - cumulative) << 8 | symbol.
    Small {
        scale_bits: u32,
        entries: Box<[u32; 1 << 12]>,
    },
    /// Frequency << 32 | (slot - cumulative) << 16 | symbol.
    Large { scale_bits: u32, entries: Vec<u64> },
    /// All of `n` symbols equally likely, in a run too short for a table.
    Uniform { scale_bits: u32, n: u32 },
}

impl Table {
    /// A table for a run of so many symbols.
    pub(crate) fn new(distribution: &Distribution, n_symbols: usize) -> Result<Self> {
        let (scale_bits, frequencies) = match distribution {
            Distribution::Constant { symbol, .. } => return Ok(Self::Constant(*symbol as u16)),
            Distribution::Uniform { n } => {
                let scale_bits = uniform_scale_bits(*n);
                if n_symbols < 1 << scale_bits >> 4 {
                    return Ok(Self::Uniform { scale_bits, n: *n });
                }
                (
                    scale_bits,
                    (0..*n).map(|s| uniform_frequency(*n, s, scale_bits).0).collect(),
                )
            }
            Distribution::Frequencies {
                scale_bits,
                frequencies,
            } => (*scale_bits, frequencies.clone()),
            Distribution::Lengths(_) => {
                return Err(Error::corrupt("group header", "code lengths in an ANS group"));
            }
        };
        let slots = frequencies.iter().enumerate().flat_map(|(symbol, &frequency)| {
            (0..frequency).map(move |offset| (symbol as u32, frequency, offset))
        });
        if scale_bits <= 12 && frequencies.len() <= 256 {
            let mut entries = Box::new([0u32; 1 << 12]);
            for (entry, (symbol, frequency, offset)) in entries.iter_mut().zip(slots) {
                *entry = (frequency - 1) << 20 | offset << 8 | symbol;
            }
            Ok(Self::Small { scale_bits, entries })
        } else {
            let entries = slots
                .map(|(symbol, frequency, offset)| {
                    u64::from(frequency) << 32 | u64::from(offset) << 16 | u64::from(symbol)
                })
                .collect();
            Ok(Self::Large { scale_bits, entries })
        }
    }
}

/// Reads runs in order.
#[derive(Debug)]
pub(crate) struct Decoder<'a, const LANES: usize> {
    states: [u32; LANES],
    words: &'a [[u8; 2]],
    /// Words read; more than there are if the stream is too short.
    position: usize,
}

impl<'a, const LANES: usize> Decoder<'a, LANES> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let (states, words) = bytes
            .split_at_checked(4 * LANES)
            .ok_or(Error::Truncated { part: "group" })?;
        let mut decoder = Self {
            states: [0; LANES],
            words: words.as_chunks().0,
            position: 0,
        };
        if words.len() % 2 != 0 {
            return Err(Error::corrupt("group", "half a word at its end"));
        }
        for (state, bytes) in decoder.states.iter_mut().zip(states.as_chunks().0) {
            *state = u32::from_le_bytes(*bytes);
            if *state < STATE_MIN {
                return Err(Error::corrupt("group", "an ANS state out of range"));
            }
        }
        Ok(decoder)
    }

    /// Reads `out.len()` symbols; of every run but the last piece, a multiple of the lanes.
    pub(crate) fn run(&mut self, table: &Table, out: &mut [u16]) -> Result<()> {
        match table {
            Table::Constant(symbol) => out.fill(*symbol),
            Table::Small { scale_bits, entries } => {
                let mask = (1u32 << scale_bits) - 1;
                self.each(out, |state| {
                    let entry = entries[(state & mask) as usize & 0xfff];
                    (
                        (entry >> 20) + 1,
                        state >> scale_bits,
                        entry >> 8 & 0xfff,
                        entry as u16 & 0xff,
                    )
                });
            }
            Table::Uniform { scale_bits, n } => {
                let mask = (1u32 << scale_bits) - 1;
                self.each(out, |state| {
                    let slot = state & mask;
                    // The last symbol whose cumulative frequency is not above the slot.
                    let symbol = ((u64::from(slot) + 1) * u64::from(*n) - 1) >> scale_bits;
                    let (frequency, before) = uniform_frequency(*n, symbol as u32, *scale_bits);
                    (frequency, state >> scale_bits, slot - before, symbol as u16)
                });
            }
            Table::Large { scale_bits, entries } => {
                let mask = (1u32 << scale_bits) - 1;
                self.each(out, |state| {
                    let entry = entries.get((state & mask) as usize).copied().unwrap_or(0);
                    (
                        (entry >> 32) as u32,
                        state >> scale_bits,
                        entry as u32 >> 16,
                        entry as u16,
                    )
                });
            }
        }
        if self.position > self.words.len() {
            return Err(Error::Truncated { part: "group" });
        }
        Ok(())
    }

    /// Steps the lanes in turn. `lookup` gives frequency, quotient, offset and symbol for a state.
    #[expect(
        clippy::inline_always,
        reason = "the lookup must become part of the loop: without it decoding is slower by half"
    )]
    #[inline(always)]
    fn each(&mut self, out: &mut [u16], lookup: impl Fn(u32) -> (u32, u32, u32, u16)) {
        let mut states = self.states;
        let mut position = self.position;
        let words = self.words;
        let mut step = |state: &mut u32, out: &mut u16| {
            let (frequency, quotient, offset, symbol) = lookup(*state);
            let mut next = frequency.wrapping_mul(quotient).wrapping_add(offset);
            let word = words
                .get(position)
                .map_or(0, |w| u32::from(u16::from_le_bytes(*w)));
            let refill = next < STATE_MIN;
            let refilled = next << 16 | word;
            if refill {
                next = refilled;
            }
            position += usize::from(refill);
            *state = next;
            *out = symbol;
        };
        let (blocks, tail) = out.as_chunks_mut::<LANES>();
        for block in blocks {
            for (state, out) in states.iter_mut().zip(block) {
                step(state, out);
            }
        }
        for (state, out) in states.iter_mut().zip(tail) {
            step(state, out);
        }
        self.states = states;
        self.position = position;
    }

    /// Checks that the states are the encoder's first and all words were read.
    pub(crate) fn finish(self) -> Result<()> {
        if self.position < self.words.len() {
            return Err(Error::corrupt(
                "group",
                format!("{} words follow its end", self.words.len() - self.position),
            ));
        }
        if self.states.iter().any(|&s| s != STATE_MIN) {
            return Err(Error::corrupt(
                "group",
                "an ANS stream that does not end where it began",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::normalize;
    use proptest::prelude::*;

    fn round_trip<const LANES: usize>(runs: &[(Distribution, Vec<u16>)]) -> Vec<u8> {
        let mut encoder = Encoder::new(LANES);
        for (distribution, symbols) in runs.iter().rev() {
            encoder.run(&EncodeTable::new(distribution), symbols);
        }
        let bytes = encoder.finish();
        // As runs too short for a table, and as long ones.
        for n_symbols in [0, usize::MAX] {
            let mut decoder = Decoder::<LANES>::new(&bytes).unwrap();
            for (distribution, symbols) in runs {
                let mut back = vec![u16::MAX; symbols.len()];
                let table = Table::new(distribution, n_symbols).unwrap();
                decoder.run(&table, &mut back).unwrap();
                assert_eq!(&back, symbols);
            }
            decoder.finish().unwrap();
        }
        bytes
    }

    fn distribution(symbols: &[u16], n: usize, scale_bits: u32) -> Distribution {
        let mut counts = vec![0u64; n];
        for &s in symbols {
            counts[usize::from(s)] += 1;
        }
        match normalize(&counts, scale_bits) {
            Some(frequencies) => Distribution::Frequencies {
                scale_bits,
                frequencies,
            },
            None => Distribution::Uniform { n: n as u32 },
        }
    }

    proptest! {
        #[test]
        fn runs_come_back_through_any_table(
            a in proptest::collection::vec(0u16..9, 0..300),
            b in proptest::collection::vec(0u16..700, 0..300),
            c in proptest::collection::vec(0u16..=65535, 0..50),
            scale_bits in 10u32..=16,
        ) {
            let runs = [
                (distribution(&a, 9, scale_bits), a),
                (distribution(&b, 700, scale_bits), b),
                (Distribution::Constant { n: 8, symbol: 5 }, vec![5; 33]),
                (Distribution::Uniform { n: 65536 }, c.clone()),
                (Distribution::Uniform { n: 1025 }, c.iter().map(|s| s % 1025).collect()),
                (Distribution::Uniform { n: 3 }, c.iter().map(|s| s % 3).collect()),
            ];
            round_trip::<1>(&runs);
            round_trip::<MANY_LANES>(&runs);
        }
    }

    #[test]
    fn a_single_symbol_with_all_the_frequency_costs_nothing() {
        let frequencies = vec![0, 1 << 16, 0];
        let bytes = round_trip::<1>(&[(
            Distribution::Frequencies {
                scale_bits: 16,
                frequencies,
            },
            vec![1; 1000],
        )]);
        assert_eq!(bytes.len(), 4); // the state alone
    }
}

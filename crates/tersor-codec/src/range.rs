//! Adaptive binary range coder, and the integers, bytes and floats written with it.
//!
//! Headers are written with it: the directory of a file and the tables of a group. It is exact integer arithmetic,
//! the same on every machine; `docs/format.md`, "Range coder", specifies it.
//!
//! # Source
//! G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised message", 1979, with the
//! carry propagation of Igor Pavlov's LZMA. Ours: 16-bit probabilities whose rate of learning falls with the number
//! of bits seen, no leading zero byte, trailing zero bytes left out.

use crate::{Error, Result};

/// Probabilities are in units of 2^-16.
const PROB_BITS: u32 = 16;
/// The range is at least this before a bit is coded.
const MIN_RANGE: u32 = 1 << 24;
/// No probability comes closer to 0 or 1 than this, in units of 2^-16.
const PROB_MARGIN: u32 = 64;
/// Observations after which the learning rate stays constant.
const MAX_COUNT: u8 = 126;
/// Zero bytes that an encoder may leave out at the end, and a decoder may read past it.
const MAX_MISSING: usize = 5;

/// Adaptive probability that a bit is 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bit {
    /// Probability of a 1, in units of 2^-16.
    p_one: u16,
    /// Bits seen, up to [`MAX_COUNT`].
    count: u8,
}

impl Default for Bit {
    fn default() -> Self {
        Self {
            p_one: 1 << 15,
            count: 0,
        }
    }
}

impl Bit {
    /// Moves the probability towards `bit` by 1 / (bits seen + 1.5).
    pub(crate) fn update(&mut self, bit: bool) {
        let divisor = 2 * i32::from(self.count) + 3;
        let target = if bit { 65535 } else { 0 };
        let step = (target - i32::from(self.p_one)) * 2 / divisor;
        let moved = (i32::from(self.p_one) + step) as u32;
        self.p_one = moved.clamp(PROB_MARGIN, (1 << PROB_BITS) - PROB_MARGIN) as u16;
        self.count = (self.count + 1).min(MAX_COUNT);
    }
}

/// Part of `range` that stands for a 1.
fn bound(range: u32, p_one: u32) -> u32 {
    (range >> PROB_BITS) * p_one
}

/// What both directions share: a coder of single bits, from which larger values are built.
///
/// When encoding, a method codes the value it is given and returns it. When decoding, it ignores the value given and
/// returns the one read. So one description of a header serves both directions.
pub(crate) trait BitCoder {
    /// Codes one bit that is 1 with probability `p_one` x 2^-16, which is neither 0 nor 1.
    ///
    /// A decoder whose bytes have ended goes on with zeros; [`check`](Self::check) tells.
    fn decide(&mut self, p_one: u32, bit: bool) -> bool;

    /// As [`decide`](Self::decide), with a branch in place of a selection: faster where a processor predicts the bit.
    #[inline]
    fn branch(&mut self, p_one: u32, bit: bool) -> bool {
        self.decide(p_one, bit)
    }

    /// Whether all bits decoded so far were there.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Codes one bit with an adaptive probability.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> Result<bool> {
        let bit = self.decide(u32::from(model.p_one), bit);
        model.update(bit);
        self.check()?;
        Ok(bit)
    }

    /// Codes the low `n_bits` (at most 32) of `value`, all equally likely, highest first.
    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32>;
}

/// Bytes or other small alphabets: a binary tree of adaptive bits.
#[derive(Clone, Debug)]
pub(crate) struct TreeModel {
    nodes: Vec<Bit>,
    n_bits: u32,
}

impl TreeModel {
    /// A model of values below 2^`n_bits`.
    pub(crate) fn new(n_bits: u32) -> Self {
        Self {
            nodes: vec![Bit::default(); 1 << n_bits],
            n_bits,
        }
    }

    /// Codes `value`, highest bit first.
    pub(crate) fn code(&mut self, coder: &mut impl BitCoder, value: u32) -> Result<u32> {
        let mut node = 1usize;
        for i in (0..self.n_bits).rev() {
            let bit = match self.nodes.get_mut(node) {
                Some(model) => coder.bit(model, value >> i & 1 == 1)?,
                None => false,
            };
            node = node << 1 | usize::from(bit);
        }
        Ok(node as u32 - (1 << self.n_bits))
    }
}

/// Unsigned integers below 2^64 - 1, small ones cheap: the bit length of value + 1 in unary, then the bits below the
/// leading one, of which the first two are adaptive.
#[derive(Clone, Debug)]
pub(crate) struct UintModel {
    length: [Bit; 64],
    /// By bit length, up to the longest that has occurred: encoders copy models often, to see what something would take.
    mantissa: Vec<[Bit; 4]>,
}

impl Default for UintModel {
    fn default() -> Self {
        Self {
            length: [Bit::default(); 64],
            mantissa: Vec::new(),
        }
    }
}

impl UintModel {
    /// Codes `value`.
    pub(crate) fn code(&mut self, coder: &mut impl BitCoder, value: u64) -> Result<u64> {
        let plus_one = value.wrapping_add(1);
        let wanted = if plus_one == 0 {
            63
        } else {
            plus_one.ilog2().min(63)
        };
        let mut n_bits = 0u32;
        for (i, model) in self.length.iter_mut().take(63).enumerate() {
            if !coder.bit(model, (i as u32) < wanted)? {
                break;
            }
            n_bits += 1;
        }
        let mut result = 1u64;
        if self.mantissa.len() <= n_bits as usize {
            self.mantissa.resize(n_bits as usize + 1, [Bit::default(); 4]);
        }
        let Some(mantissa) = self.mantissa.get_mut(n_bits as usize) else {
            return Err(Error::corrupt("header", "an integer of more than 63 bits"));
        };
        let mut node = 1usize;
        let mut left = n_bits;
        while left > 0 && n_bits - left < 2 {
            left -= 1;
            let bit = match mantissa.get_mut(node) {
                Some(model) => coder.bit(model, plus_one >> left & 1 == 1)?,
                None => false,
            };
            node = node << 1 | usize::from(bit);
            result = result << 1 | u64::from(bit);
        }
        while left > 0 {
            let n = left.min(16);
            left -= n;
            result = result << n | u64::from(coder.direct(n, (plus_one >> left) as u32 & ((1 << n) - 1))?);
        }
        Ok(result - 1)
    }
}

/// Writes bits.
#[derive(Debug)]
pub(crate) struct RangeEncoder {
    low: u64,
    range: u32,
    cache: u8,
    /// Bytes not yet written because a carry may change them: the cache and 0xff bytes after it.
    pending: u64,
    started: bool,
    out: Vec<u8>,
}

impl RangeEncoder {
    pub(crate) fn new() -> Self {
        Self {
            low: 0,
            range: u32::MAX,
            cache: 0,
            pending: 0,
            started: false,
            out: Vec::new(),
        }
    }

    fn shift_low(&mut self) {
        if self.low < 0xff00_0000 || self.low > 0xffff_ffff {
            let carry = (self.low >> 32) as u8;
            // The first cached byte is the zero above the code value: a carry never reaches it.
            if self.started {
                self.out.push(self.cache.wrapping_add(carry));
            }
            for _ in 0..self.pending {
                self.out.push(0xffu8.wrapping_add(carry));
            }
            self.pending = 0;
            self.cache = (self.low >> 24) as u8;
            self.started = true;
        } else {
            self.pending += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalize(&mut self) {
        while self.range < MIN_RANGE {
            self.range <<= 8;
            self.shift_low();
        }
    }

    /// Writes what is pending and returns all bytes, without up to [`MAX_MISSING`] zero bytes at their end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The value in [low, low + range) with the most trailing zeros.
        let high = self.low + u64::from(self.range) - 1;
        for n_zeros in (0..32).rev() {
            let value = high >> n_zeros << n_zeros;
            if value >= self.low {
                self.low = value;
                break;
            }
        }
        for _ in 0..5 {
            self.shift_low();
        }
        // A decoder reads exactly these bytes, and no more than MAX_MISSING beyond the end.
        let n_min = self.out.len().saturating_sub(MAX_MISSING);
        while self.out.len() > n_min && self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl BitCoder for RangeEncoder {
    #[inline]
    fn decide(&mut self, p_one: u32, bit: bool) -> bool {
        let bound = bound(self.range, p_one);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        self.normalize();
        bit
    }

    fn direct(&mut self, n_bits: u32, value: u32) -> Result<u32> {
        for i in (0..n_bits).rev() {
            self.range >>= 1;
            if value >> i & 1 == 1 {
                self.low += u64::from(self.range);
            }
            self.normalize();
        }
        Ok(value)
    }
}

/// Reads bits. Reading on after the end is [`Error::Truncated`].
#[derive(Debug)]
pub(crate) struct RangeDecoder<'a> {
    bytes: &'a [u8],
    /// Bytes taken into `window`, with the zeros after the end.
    position: usize,
    /// The code value in the high 32 bits, and below them the bytes that come next.
    window: u64,
    /// How many bits of it come next: from [`MIN_AHEAD`] to 32.
    n_ahead: u32,
    range: u32,
    part: &'static str,
}

/// Most bits that one decision takes in: it leaves at least 2^8 of a range of at least 2^24.
const MIN_AHEAD: u32 = 16;
// With fewer than these there is room for two bytes more, and then there are enough.
const _: () = assert!(MIN_AHEAD <= u16::BITS && MIN_AHEAD - 1 + u16::BITS <= 32);

impl<'a> RangeDecoder<'a> {
    /// A decoder of all of `bytes`; `part` names them in errors.
    pub(crate) fn new(bytes: &'a [u8], part: &'static str) -> Result<Self> {
        let byte = |i: usize| bytes.get(i).copied().unwrap_or(0);
        let decoder = Self {
            bytes,
            position: 8,
            window: u64::from_be_bytes(std::array::from_fn(byte)),
            n_ahead: 32,
            range: u32::MAX,
            part,
        };
        decoder.check()?;
        Ok(decoder)
    }

    #[inline]
    fn normalize(&mut self) {
        // Whole bytes, as many as make the range at least MIN_RANGE.
        let n = self.range.leading_zeros() & 0b1_1000;
        self.range <<= n;
        self.window <<= n;
        self.n_ahead -= n;
        if self.n_ahead < MIN_AHEAD {
            let next = two_bytes(self.bytes, self.position);
            self.window |= u64::from(next) << (32 - u16::BITS - self.n_ahead);
            self.position += 2;
            self.n_ahead += u16::BITS;
        }
    }

    /// Bytes that the bits decoded so far have needed.
    fn n_needed(&self) -> usize {
        self.position - (self.n_ahead / 8) as usize
    }

    /// Checks that every byte was needed.
    pub(crate) fn finish(self) -> Result<()> {
        let needed = self.n_needed();
        if needed < self.bytes.len() {
            let extra = self.bytes.len() - needed;
            return Err(Error::corrupt(self.part, format!("{extra} bytes follow its end")));
        }
        Ok(())
    }
}

/// The bytes at a position, zeros after the end: needed for few decisions, and out of the way of the rest.
#[cold]
#[inline(never)]
fn two_bytes(bytes: &[u8], position: usize) -> u16 {
    let byte = |i: usize| bytes.get(i).copied().unwrap_or(0);
    u16::from_be_bytes([byte(position), byte(position.wrapping_add(1))])
}

impl BitCoder for RangeDecoder<'_> {
    #[inline]
    fn decide(&mut self, p_one: u32, _: bool) -> bool {
        let bound = bound(self.range, p_one);
        let high = u64::from(bound) << 32;
        let bit = self.window < high;
        if bit {
            self.range = bound;
        } else {
            self.window -= high;
            self.range -= bound;
        }
        self.normalize();
        bit
    }

    #[inline]
    fn branch(&mut self, p_one: u32, _: bool) -> bool {
        let bound = bound(self.range, p_one);
        let high = u64::from(bound) << 32;
        if self.window < high {
            self.range = bound;
            self.normalize();
            true
        } else {
            self.window -= high;
            self.range -= bound;
            self.normalize();
            false
        }
    }

    fn check(&self) -> Result<()> {
        if self.n_needed() > self.bytes.len() + MAX_MISSING {
            return Err(Error::Truncated { part: self.part });
        }
        Ok(())
    }

    fn direct(&mut self, n_bits: u32, _: u32) -> Result<u32> {
        let mut value = 0;
        for _ in 0..n_bits {
            self.range >>= 1;
            let high = u64::from(self.range) << 32;
            let bit = self.window >= high;
            if bit {
                self.window -= high;
            }
            value = value << 1 | u32::from(bit);
            self.normalize();
        }
        self.check()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Bit(bool),
        Decide(u32, bool),
        Branch(u32, bool),
        Direct(u32, u32),
        Uint(u64),
        Byte(u8),
    }

    /// Any that is neither 0 nor 1, the extremes often.
    fn probability() -> impl Strategy<Value = u32> {
        prop_oneof![Just(1), Just(65_535), 1u32..65_536]
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            any::<bool>().prop_map(Op::Bit),
            (probability(), any::<bool>()).prop_map(|(p, b)| Op::Decide(p, b)),
            (probability(), any::<bool>()).prop_map(|(p, b)| Op::Branch(p, b)),
            (1u32..=32, any::<u32>()).prop_map(|(n, v)| Op::Direct(n, v & (u32::MAX >> (32 - n)))),
            any::<u64>().prop_map(|v| Op::Uint(v >> 1)),
            (0u64..40).prop_map(Op::Uint),
            any::<u8>().prop_map(Op::Byte),
        ];
        proptest::collection::vec(op, 0..300)
    }

    fn run(coder: &mut impl BitCoder, ops: &[Op]) -> Result<Vec<Op>> {
        let (mut bit, mut uint, mut byte) = (Bit::default(), UintModel::default(), TreeModel::new(8));
        ops.iter()
            .map(|op| {
                Ok(match *op {
                    Op::Bit(b) => Op::Bit(coder.bit(&mut bit, b)?),
                    Op::Decide(p, b) => Op::Decide(p, coder.decide(p, b)),
                    Op::Branch(p, b) => Op::Branch(p, coder.branch(p, b)),
                    Op::Direct(n, v) => Op::Direct(n, coder.direct(n, v)?),
                    Op::Uint(v) => Op::Uint(uint.code(coder, v)?),
                    Op::Byte(v) => Op::Byte(byte.code(coder, u32::from(v))? as u8),
                })
            })
            .collect()
    }

    fn blank(op: &Op) -> Op {
        match *op {
            Op::Bit(_) => Op::Bit(false),
            Op::Decide(p, _) => Op::Decide(p, false),
            Op::Branch(p, _) => Op::Branch(p, false),
            Op::Direct(n, _) => Op::Direct(n, 0),
            Op::Uint(_) => Op::Uint(0),
            Op::Byte(_) => Op::Byte(0),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_coded_comes_back(ops in ops()) {
            let mut encoder = RangeEncoder::new();
            run(&mut encoder, &ops).unwrap();
            let bytes = encoder.finish();
            let mut decoder = RangeDecoder::new(&bytes, "test").unwrap();
            let blanks: Vec<Op> = ops.iter().map(blank).collect();
            let back = run(&mut decoder, &blanks).unwrap();
            prop_assert_eq!(format!("{:?}", ops), format!("{:?}", back));
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn a_rare_bit_costs_about_its_information() {
        let mut encoder = RangeEncoder::new();
        let mut model = Bit::default();
        for i in 0..32_000 {
            encoder.bit(&mut model, i % 32 == 0).unwrap();
        }
        let bits = encoder.finish().len() as f64 * 8.0;
        let entropy = 1000.0 * 32f64.log2() + 31_000.0 * (32.0f64 / 31.0).log2();
        // Learning at a rate of 1 / 127.5 costs about 1 / (255 ln 4) bit each time.
        assert!(bits < 1.04 * entropy, "{bits} bits for an entropy of {entropy}");
    }

    #[test]
    fn a_stream_that_ends_in_many_zeros_comes_back() {
        for n in 0..200 {
            let mut encoder = RangeEncoder::new();
            encoder.direct(8, 255).unwrap();
            (0..n).for_each(|_| drop(encoder.direct(1, 0)));
            let bytes = encoder.finish();
            let mut decoder = RangeDecoder::new(&bytes, "test").unwrap();
            assert_eq!(decoder.direct(8, 0), Ok(255));
            for i in 0..n {
                assert_eq!(decoder.direct(1, 0), Ok(0), "bit {i} of {n}");
            }
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn reading_on_after_the_end_is_truncation() {
        let mut decoder = RangeDecoder::new(&[], "test").unwrap();
        let mut model = UintModel::default();
        let error = (0..1000).find_map(|_| model.code(&mut decoder, 0).err());
        assert_eq!(error, Some(Error::Truncated { part: "test" }));
    }
}

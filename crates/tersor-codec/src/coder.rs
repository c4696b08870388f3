//! The coders a file can name.

use crate::{Error, Result};

/// How the symbols of a group become bits.
///
/// The discriminant is the coder's number in a file, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Coder {
    /// ceil(log2 n) bits per symbol of an alphabet of n.
    Fixed = 0,
    /// Canonical prefix codes of at most 16 bits.
    Huffman = 1,
    /// Interleaved range asymmetric numeral systems with static frequencies.
    Ans = 2,
    /// Adaptive binary arithmetic coding with mixed contexts: the smallest.
    Context = 3,
    /// A DEFLATE stream (RFC 1951): only for bytes stored losslessly.
    Deflate = 4,
}

impl Coder {
    /// Coders of quantized tensors.
    pub const ENTROPY: [Self; 4] = [Self::Fixed, Self::Huffman, Self::Ans, Self::Context];

    /// The coder with this number in a file.
    pub fn from_code(code: u64) -> Result<Self> {
        let known = [
            Self::Fixed,
            Self::Huffman,
            Self::Ans,
            Self::Context,
            Self::Deflate,
        ];
        known
            .into_iter()
            .find(|&c| c as u64 == code)
            .ok_or(Error::UnknownCoder { code })
    }

    /// The name used on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Huffman => "huffman",
            Self::Ans => "ans",
            Self::Context => "context",
            Self::Deflate => "deflate",
        }
    }
}

impl std::fmt::Display for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

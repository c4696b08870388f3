//! A group: tensors, or a chunk of one, coded together; the unit of coding, random access and checksum.
//!
//! Its bytes are a header (which distribution each run of symbols has, range coded) and one stream of symbols; with the
//! coder `context` one range coded stream, see [`crate::context`]. `docs/format.md`, "Groups".

mod choose;
mod decode;
mod encode;

pub use choose::{estimate_bits, estimate_gap_saving};
pub use decode::decode_group;
pub(crate) use decode::measure_group;
#[cfg(test)]
pub(crate) use decode::{Layout, read_layout};
pub use encode::{encode_group, encoded_len_bytes};

use crate::Coder;
use crate::codebook::Dequantizer;
use crate::distribution::{DistributionCoder, Family};
use crate::range::{Bit, UintModel};

/// Most elements of one group: what bounds a decoder's memory.
pub const MAX_GROUP_ELEMENTS: u64 = 1 << 24;

/// Symbols decoded before they are turned into values: few enough for the fastest cache.
pub(crate) const BLOCK: usize = 1 << 12;

/// What one tensor, or a chunk of one, contributes to a group.
#[derive(Clone, Copy, Debug)]
pub enum SegmentInput<'a> {
    /// Symbols of a quantized tensor.
    Symbols {
        /// The symbols, below `n_levels`.
        symbols: &'a [u16],
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero: its positions may be coded as gaps.
        zero: Option<u16>,
        /// Shape of the tensor.
        shape: &'a [u64],
        /// Index in the tensor of the first element.
        first: u64,
    },
    /// Bytes to be stored losslessly.
    Raw {
        /// The bytes.
        bytes: &'a [u8],
        /// Bytes of one element: bytes of equal significance are coded together.
        item_bytes: usize,
    },
}

/// What a decoder knows of a segment, and where it goes.
#[derive(Debug)]
pub enum SegmentOutput<'a> {
    /// Symbols.
    Symbols {
        /// Where they go; the length is the number of elements.
        out: &'a mut [u16],
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero.
        zero: Option<u16>,
        /// Shape of the tensor.
        shape: &'a [u64],
        /// Index in the tensor of the first element.
        first: u64,
    },
    /// Values of a quantized tensor.
    Values {
        /// Where their bytes go.
        out: &'a mut [u8],
        /// From symbols to bytes.
        dequantizer: &'a Dequantizer<'a>,
        /// Index in the tensor of the first element.
        first: u64,
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero.
        zero: Option<u16>,
    },
    /// Bytes stored losslessly.
    Raw {
        /// Where they go.
        out: &'a mut [u8],
        /// Bytes of one element.
        item_bytes: usize,
    },
}

/// Models of a group's header.
pub(crate) struct Header {
    pub(crate) use_gaps: Bit,
    pub(crate) gap_bits: UintModel,
    pub(crate) n_survivors: UintModel,
    pub(crate) n_gaps: UintModel,
    pub(crate) distributions: DistributionCoder,
}

impl Header {
    pub(crate) fn new(family: Family) -> Self {
        Self {
            use_gaps: Bit::default(),
            gap_bits: UintModel::default(),
            n_survivors: UintModel::default(),
            n_gaps: UintModel::default(),
            distributions: DistributionCoder::new(family),
        }
    }
}

/// How a coder with static distributions writes them.
pub(crate) fn family(coder: Coder) -> Option<Family> {
    match coder {
        Coder::Fixed => Some(Family::Fixed),
        Coder::Huffman => Some(Family::Huffman),
        Coder::Ans => Some(Family::Ans),
        Coder::Context | Coder::Deflate => None,
    }
}

//! Symbols to bits and back, and the `.tersor` container: all that a decoder needs, nothing more.
//!
//! A [`QuantizedCheckpoint`] holds symbols and codebooks; [`QuantizedCheckpoint::encode`] writes it as a file and
//! [`FileReader`] reads one: the whole, one group or one tensor. The format is specified in `docs/format.md`.
//!
//! No floating-point arithmetic decides what is decoded but one multiply per level (and per scale), there is no access to
//! a file system and no `unsafe`: the crate builds for any target, and every machine decodes the same bytes.

mod assemble;
mod codebook;
mod coder;
mod context;
mod cost;
mod directory;
mod distribution;
mod dtype;
mod error;
mod file;
mod gaps;
#[cfg(test)]
mod golden;
mod group;
mod huffman;
mod info;
mod limits;
mod quantized;
mod range;
mod rans;
mod text;
pub mod trellis;
mod varint;

pub use assemble::{EncodedGroup, assemble, plan_groups};
pub use codebook::{Codebook, Dequantizer, MAX_LEVELS, Scales};
pub use coder::Coder;
pub use context::ContextPrices;
pub use directory::{BlobEntry, Directory, Entry, GroupEntry, MAX_AXES, Segment, Storage};
pub use dtype::{Dtype, decode_to_f32, encode_f32};
pub use error::{Error, Result};
pub use file::{FileReader, MAGIC, VERSION, encode_header, file_digest, group_crc, group_digest};
pub use group::{
    MAX_GROUP_ELEMENTS, SegmentInput, SegmentOutput, decode_group, encode_group, encoded_len_bytes,
    estimate_bits, estimate_gap_saving,
};
pub use info::{Blob, Shard, TensorInfo};
pub use limits::Limits;
pub use quantized::{
    DEFAULT_GROUP_ELEMENTS, EncodeOptions, QuantizedCheckpoint, QuantizedTensor, TensorData,
};

//! Symbols to bits and back, and the `.tersor` container: all that a decoder needs, nothing more.

mod dtype;
mod info;

pub use dtype::{Dtype, decode_to_f32, encode_f32};
pub use info::{Blob, Shard, TensorInfo};

//! NumPy's `.npz`: a zip archive of `.npy` arrays.

mod header;
mod read;
mod write;

pub(super) use read::{is_array_name, read};
pub(super) use write::NpzWriter;

/// Ending of the names of members.
const SUFFIX: &str = ".npy";
/// First bytes of an array.
const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest array header that is read. NumPy itself warns beyond 10,000 bytes.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// The writer pads the magic, length and header to a multiple of this, as NumPy does.
const HEADER_ALIGNMENT: usize = 64;
